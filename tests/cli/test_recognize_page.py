"""The HTML page, the timelines and the progress of `irec recognize`."""

import base64
import csv
import dataclasses
import io
import json
import os
import re
import shutil
import sys
import urllib.parse

import call_trace
import numpy as np
import pytest
import report_pages
import soundfile

from irec_jax import audio, cli
from irec_jax.cli import recognized_page
from irec_jax.cli.console import run_command
from irec_jax.files import read_json, write_json
from irec_jax.inference import segments
from irec_jax.reports.recognized_page import RecognizedPage, System
from irec_jax.systems import recogniser as recogniser_module

NAMES = [
    "a.wav",
    "b \"<b>&amp;'.wav",
    "<script>alert(1)<script>.flac",
    "100% 🎻 #1?.ogg",
    "_x_*y*.wav",
]
RATE_HZ = 22_050


class Page(report_pages.Page):
    """A page with all its elements, as pairs of tag and attributes, and its scripts."""

    def __init__(self, path):
        self.elements = []
        super().__init__(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        super().handle_starttag(tag, attrs)

    def find(self, tag, **attributes):
        """Return the attributes of the elements with a tag that have these."""
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    def downloads(self, media_type):
        """Return name and text of the downloads of a type."""
        start = f"data:{media_type};charset=utf-8;base64,"
        return {
            link["download"]: base64.b64decode(link["href"].removeprefix(start)).decode()
            for link in self.find("a")
            if link["href"].startswith(start)
        }


def check(path):
    """Check that a page is valid and complete in itself, and return it."""
    page = Page(path)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.links:
        assert link.startswith("data:") or link.startswith("#") and link[1:] in ids, link[:80]
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", ids[0] if ids else "") in [*ids, ""]
        assert not any(name.startswith("on") for name in attributes)
    text = path.read_text(encoding="utf-8")
    assert "://" not in text and "url(" not in text and "@import" not in text
    assert len(page.find("script")) == len(page.find("style")) == 1
    return page


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))
    system = read_json(workdir / "system.json")
    dataset = dict(name="gm_irmas", version="1.0.0", config="tiny", rendered=True)
    write_json(workdir / "system.json", system | {"dataset": dataset})
    return workdir


@pytest.fixture(scope="module")
def recogniser(workdir):
    return recogniser_module.load_recogniser(workdir)


@pytest.fixture
def work(recogniser, tmp_path, monkeypatch):
    """Change to a folder with an album of clips of odd names and a damaged file."""
    monkeypatch.setattr(recogniser_module, "load_recogniser", lambda *_, **__: recogniser)
    monkeypatch.chdir(tmp_path)
    os.mkdir("album")
    rng = np.random.default_rng(0)
    for seconds, name in enumerate(NAMES, 1):
        samples = 0.3 * rng.uniform(-1, 1, (round(0.7 * seconds * RATE_HZ), 2))
        soundfile.write(f"album/{name}", samples, RATE_HZ)
    (tmp_path / "album/damaged.mp3").write_bytes(b"no audio")
    return tmp_path


def call(*words):
    """Run `irec recognize` with the untrained system in this process; return its exit code."""
    return run_command(lambda: cli.run(["recognize", "--workdir", "W", *words]))


def test_page_of_an_album(work, recogniser, capsys):
    assert call("album", "--html", "r.html", "--html-audio", "embed") == 0
    page = check(work / "r.html")
    assert page.title == "Instruments in 6 files" == page.texts("h1")[0]
    assert page.texts("warning") == ["Trained on rendered music: expect errors on recordings."]
    assert page.texts("p")[0] == "6 files, 1 failed."
    assert (
        "Recognised by tiny, trained on gm_irmas 1.0.0, tiny (rendered music)" in page.texts("p")[1]
    )
    shown = sorted(f"album/{name}" for name in NAMES)
    assert page.texts("h2") == [*shown, "Provenance"]
    # The table of files, with links to the sections, names the damaged file and its error.
    cells = page.texts("td")
    row = cells.index("album/damaged.mp3")
    assert cells[row + 1 : row + 3] == ["–", "–"]
    assert cells[row + 3].startswith("failed: album/damaged.mp3: not an audio file")
    assert len([link for link in page.links if link.startswith("#")]) == 5
    players = page.find("audio")
    assert [player["aria-label"] for player in players] == shown
    tables, labels = page.downloads("text/csv"), page.downloads("text/plain")
    for file, player in zip(shown, players, strict=True):
        assert "controls" in player
        mp3 = base64.b64decode(player["src"].removeprefix("data:audio/mpeg;base64,"))
        decoded, rate_hz = audio.read(io.BytesIO(mp3))
        result = recogniser.recognize(file)
        assert len(decoded) / rate_hz == pytest.approx(result.duration_s, abs=0.04)
        stem = os.path.splitext(os.path.basename(file))[0]
        table = segments.to_csv(result.segments, name="instrument")
        assert tables[f"{stem}-segments.csv"] == table and result.segments
        assert labels[f"{stem}-labels.txt"] == segments.to_audacity(result.segments)
    # Each section has a timeline with a row for the waveform and for each active instrument.
    timelines = page.find("figure", **{"class": "timeline"})
    assert len(timelines) == 5 and float(timelines[0]["data-duration"]) > 0
    assert len(page.find("svg", **{"aria-label": "waveform"})) == 5
    assert len(page.find("details")) == 5 and page.texts("td").count("0.500") == 10


def test_page_of_a_file_shows_its_scores(work, recogniser):
    assert call("album/a.wav", "--html", "new/r.html") == 0
    page = check(work / "new/r.html")
    assert page.title == "Instruments in a.wav" and "open" in page.find("details")[0]
    result = recogniser.recognize("album/a.wav")
    cells = page.texts("td")
    for name, shown in (("pia", "piano"), ("vio", "violin")):
        row = cells.index(shown)
        assert cells[row + 1] == ("yes" if name in result.labels else "no")
        assert cells[row + 2 : row + 4] == [f"{result.scores[name]:.3f}", "0.500"]


def test_audio_is_linked_relative_to_the_page(work):
    assert call("album", "--html", "out/r.html", "--html-audio", "link") == 0
    page = Page(work / "out/r.html")
    sources = [player["src"] for player in page.find("audio")]
    assert len(sources) == 5 and not any(":" in source for source in sources)
    found = [os.path.basename(urllib.parse.unquote(source)) for source in sources]
    assert sorted(found) == sorted(NAMES)
    assert all((work / "out" / urllib.parse.unquote(source)).exists() for source in sources)
    assert [link["href"] for link in page.find("a") if ".." in link["href"]] == sources


def test_page_without_audio(work):
    assert call("album", "--html", "r.html", "--html-audio", "none") == 0
    page = check(work / "r.html")
    assert not page.find("audio") and len(page.find("svg", **{"aria-label": "waveform"})) == 5


def test_files_without_sound(work):
    os.mkdir("quiet")
    soundfile.write("quiet/silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write("quiet/short.wav", [0.1] * 10, RATE_HZ)
    assert call("quiet", "--html", "r.html") == 0
    page = check(work / "r.html")
    assert page.texts("h2")[:2] == ["quiet/short.wav", "quiet/silent.wav"]
    assert page.texts("td")[3] == "too short: 0.0005\u00a0s" and page.texts("td")[7] == "silent"
    assert len(page.find("audio")) == len(page.find("svg")) == 2  # waveforms only
    assert len(page.find("p", **{"class": "remark"})) == 2


def test_classes_with_special_characters(work, recogniser):
    odd = ('<b>"x"&amp;\'|*`', "</script><script>🎻%\\[a](b)")
    task = dataclasses.replace(recogniser.task, classes=odd)
    result = dataclasses.replace(recogniser, task=task).recognize("album/a.wav")
    systems = [System("s*_<", {}, "w_`<i>`", "s2")]
    file = work / "album/a.wav"
    with recognized_page.PageFile(work / "r.html", [file], systems, "fixed", "embed") as pages:
        pages.add(file, result, pages.preview(file, result), "")
    page = check(work / "r.html")
    assert {"s*_< in w_`<i>`", "unknown data", *odd} <= set(page.texts("td"))
    assert {found["title"] for found in page.find("div", **{"class": "name"})} >= set(odd)
    (table,) = page.downloads("text/csv").values()
    assert {row[0] for row in csv.reader(table.splitlines()[1:])} == set(odd)


def embedded(path):
    """Return whether the audio of each section is in the page."""
    return [player["src"].startswith("data:") for player in Page(path).find("audio")]


def test_long_files_are_linked(work, monkeypatch, capsys):
    monkeypatch.setattr(recognized_page, "_MAX_URI_BYTES", 10_000)  # a.wav has 7.5 kB, others more
    assert call(f"album/{NAMES[1]}", "album/a.wav", "--html", "r.html") == 0
    error = f"r.html: links to the audio of album/{NAMES[1]}, which is too long to embed\n"
    assert capsys.readouterr().err == error
    assert embedded(work / "r.html") == [False, True]


def test_large_pages_link_to_the_audio_of_later_files(work, monkeypatch, capsys):
    monkeypatch.setattr(recognized_page, "_MAX_PAGE_BYTES", 20_000)
    shutil.copy("album/a.wav", "album/b.wav")
    names = ["a.wav", NAMES[1], "b.wav"]
    assert call(*(f"album/{name}" for name in names), "--html", "r.html") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"r.html: links to the audio of album/{NAMES[1]} and later files")
    assert embedded(work / "r.html") == [True, False, False]


def interrupt_in(monkeypatch, owner, name, file):
    """Interrupt the process when a method is called for a file."""
    method = getattr(owner, name)

    def interrupted(self, path, *arguments, **options):
        if path.name == file:
            raise KeyboardInterrupt
        return method(self, path, *arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


def test_interrupted_run_leaves_a_valid_page(work, recogniser, monkeypatch, capsys):
    interrupt_in(monkeypatch, type(recogniser), "recognize", "a.wav")
    words = ["album/_x_*y*.wav", "album/damaged.mp3", "album/a.wav", f"album/{NAMES[1]}"]
    assert call(*words, "--html", "r.html", "--json", "r.json") == 130
    assert "interrupted; r.json and r.html hold the results so far" in capsys.readouterr().err
    page = check(work / "r.html")
    assert page.texts("p")[0].startswith("2 of 4 files, 1 failed.")
    assert page.texts("h2") == [words[0], "Provenance"] and len(page.find("audio")) == 1
    assert len(json.loads((work / "r.json").read_text())["files"]) == 2


def test_interrupt_within_a_section_leaves_out_the_section(work, monkeypatch):
    section = RecognizedPage.section

    def interrupted(self, file, *arguments, **options):
        for number, part in enumerate(section(self, file, *arguments, **options)):
            if file.name == "a.wav" and number == 3:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(RecognizedPage, "section", interrupted)
    assert call(f"album/{NAMES[1]}", "album/a.wav", "--html", "r.html") == 130
    page = check(work / "r.html")
    assert page.texts("h2") == [f"album/{NAMES[1]}", "Provenance"]
    assert page.texts("p")[0].startswith("1 of 2 files.")


def test_page_is_complete_after_each_file(work, monkeypatch):
    seen, add = [], recognized_page.PageFile.add

    def add_and_check(self, *arguments):
        add(self, *arguments)
        self._next_write_s = 0.0  # writes are rarer while they take long
        seen.append(check(work / "r.html").texts("p")[0])

    monkeypatch.setattr(recognized_page.PageFile, "add", add_and_check)
    assert call("album/a.wav", "album/damaged.mp3", f"album/{NAMES[1]}", "--html", "r.html") == 0
    assert [re.split(r"[.,]", text)[0] for text in seen] == [
        "1 of 3 files",
        "2 of 3 files",
        "3 files",
    ]
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def test_failed_picture_is_named_beside_the_result(work, monkeypatch):
    def fail(result, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(cli.importlib.import_module("irec_jax.cli.recognize"), "_draw", fail)
    assert call("album/a.wav", "--html", "r.html", "--plot", "p.png") == 1
    page = check(work / "r.html")
    assert page.texts("h2")[0] == "album/a.wav" and len(page.find("audio")) == 1
    assert page.texts("td")[3] == "failed: p.png: No space left on device"
    assert any(text.startswith("p.png: No space left on device") for text in page.texts("p"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("album --html r.json", "--html r.json: expected a name that ends with .html or .htm"),
        ("album --html mine.html", "mine.html: already exists"),
        ("album album/x.html --html album/x.html --overwrite", "is an input file"),
    ],
)
def test_pages_replace_no_other_files(work, words, message, capsys):
    for name in ("mine.html", "album/x.html"):
        (work / name).write_text("mine")
    assert call(*words.split()) == 1
    assert message in capsys.readouterr().err
    assert (work / "mine.html").read_text() == (work / "album/x.html").read_text() == "mine"


class Terminal(io.TextIOWrapper):
    """A terminal that collects what is printed."""

    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, newline="")

    def isatty(self):
        return True

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def replace(encoding="utf-8"):
        stream = Terminal(encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return replace


def test_timeline_is_printed_on_a_terminal(work, terminal, monkeypatch):
    stdout = terminal()
    assert call("album/a.wav") == 0
    line, *rows, axis = stdout.text().splitlines()
    assert line.startswith("album/a.wav") and axis.split() == ["0:00", "0:01"]
    assert rows and all(
        re.match(r"  \x1b\[1m(piano|violin)\x1b\[0m +\x1b\[36m[▁-█]", r) for r in rows
    )
    monkeypatch.setenv("NO_COLOR", "1")
    stdout = terminal()
    assert call("album/a.wav") == 0
    assert "\x1b" not in stdout.text() and "█" in stdout.text()
    assert max(map(len, stdout.text().splitlines()[1:])) == 60
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    stdout = terminal("iso8859-1")
    assert call("album/a.wav") == 0
    assert stdout.text().isascii() and "@@@" in stdout.text()
    stdout = terminal()
    assert call("album/a.wav", "--no-timeline") == 0
    assert stdout.text() == f"{line}\n"


def test_piped_output_has_a_timeline_on_request(work, capsys):
    assert call("album/a.wav") == 0
    piped = capsys.readouterr()
    assert len(piped.out.splitlines()) == 1 and piped.err == ""
    assert call("album/a.wav", "--timeline") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(piped.out) and "█" in printed.out and "\x1b" not in printed.out
    assert printed.err == ""


def test_progress_reaches_the_end_of_each_file(work, recogniser, monkeypatch):
    fractions = []
    monkeypatch.setattr(recogniser_module, "BATCH_SIZE", 2)
    recogniser.recognize("album/a.wav", progress=fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1
