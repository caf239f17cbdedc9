"""File names of all kinds in the commands, in UTF-8 and other locales."""

import json
import os
import subprocess
import sys

import call_trace
import pytest
import soundfile

from irec_jax import cli
from irec_jax.cli.console import run_command


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    """Workdir of an untrained recogniser."""
    return call_trace.write_recogniser(tmp_path_factory.mktemp("ü") / "recogniser")


def call(*words):
    """Run `irec` in this process and return its exit code."""
    return run_command(lambda: cli.run(words))


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1"])
def test_names_in_locales_without_utf8(recogniser, tmp_path, encoding):
    call_trace.write_song(tmp_path / "söng.wav")
    environment = dict(
        os.environ, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING=encoding
    )
    words = [sys.executable, "-m", "irec_jax.cli", "recognize", "söng.wav", "--json", "ö.json"]
    ran = subprocess.run(
        [*words, "--plot", "ö.png", "--workdir", str(recogniser)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding=encoding,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("s?ng.wav" if encoding == "ascii" else "söng.wav")
    content = json.loads((tmp_path / "ö.json").read_text(encoding="utf-8"))
    assert content["workdir"] == str(recogniser) and content["files"][0]["file"] == "söng.wav"
    assert sorted(os.listdir(tmp_path)) == sorted(["söng.wav", "ö.json", "ö.png"])


def test_names_are_printed_in_one_line_and_json_is_valid(recogniser, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [b"a\nb.wav", b"\x1b[31m.wav", b"\xff.wav", b"cut\r\n\xff.wav"]
    for name in names:
        soundfile.write(name, [0.1, -0.1] * 8000, 16_000)
    os.truncate(names[-1], 1000)
    words = [os.fsdecode(name) for name in names]
    assert call("recognize", *words, "--workdir", recogniser, "--json", "a.json") == 0
    printed = capsys.readouterr()
    lines = [line.split("  ")[0] for line in printed.out.splitlines()]
    assert lines == ["a�b.wav", "�[31m.wav", "�.wav"]
    assert printed.err.splitlines()[0].startswith("error: cut �.wav: truncated")
    files = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["files"]
    expected = ["a\nb.wav", "\x1b[31m.wav", "�.wav", "cut\r\n�.wav"]
    assert [record["file"] for record in files] == expected


def test_workdirs_that_are_not_utf8_are_rejected(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 8000, 16_000)
    folder = os.path.join(os.fsencode(tmp_path), b"run\xff")
    os.mkdir(folder)
    assert call("recognize", tmp_path / "a.wav", "--workdir", os.fsdecode(folder)) == 1
    error = capsys.readouterr().err
    assert "run�: the name or the locale is not UTF-8" in error and error.count("\n") == 1
