"""Progress bars on a terminal and in a log file."""

import io
import sys

import pytest
from tqdm import tqdm

from irec_jax.progress import FileProgress, progress_bar


class Stream(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def test_one_line_every_ten_percent_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal=False))
    assert list(progress_bar(range(1000), desc="clips")) == list(range(1000))
    lines = sys.stderr.getvalue().splitlines()
    assert [line.split("%")[0] for line in lines] == [f"clips: {p:3d}" for p in range(10, 101, 10)]
    assert "\r" not in sys.stderr.getvalue()


@pytest.mark.parametrize(("steps", "percents"), [([3, 4, 3], [30, 70, 100]), ([10], [100])])
def test_large_steps_print_one_line_each(monkeypatch, steps, percents):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal=False))
    with progress_bar(total=1) as bar:
        bar.reset(total=10)
        for step in steps:
            bar.update(step)
            tqdm.write("a message", file=io.StringIO())
    lines = sys.stderr.getvalue().splitlines()
    assert [int(line.split("%")[0]) for line in lines] == percents


def test_disabled_progress_or_a_missing_total_prints_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal=False))
    list(progress_bar(range(10), disable=True))
    list(progress_bar(iter(range(10))))
    assert sys.stderr.getvalue() == ""


def test_finished_bar_on_a_terminal_is_erased(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal=True))
    list(progress_bar(range(10), desc="clips"))
    assert "clips" in sys.stderr.getvalue() and sys.stderr.getvalue().endswith("\r")


@pytest.fixture
def files(tmp_path):
    """Return three files, the first of which has half of the bytes."""
    paths = [tmp_path / name for name in "abc"]
    for path, size in zip(paths, (200, 100, 100), strict=True):
        path.write_bytes(bytes(size))
    return paths


def run_files(files, seconds):
    """Process files in steps, with a message after each, as if a step took some seconds."""
    with FileProgress(files) as files_progress:
        bar = files_progress._bar
        if not bar.disable:
            bar.start_t -= seconds
        for i in range(len(files)):
            update = files_progress.start(i)
            for fraction in (0.5, 1):
                if not bar.disable:
                    bar.last_print_t -= seconds
                update(fraction)
            with files_progress.hidden():
                sys.stderr.write(f"file {i}\n")


def test_files_are_counted_and_weighted_by_their_size(monkeypatch, files):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal=True))
    run_files(files, 10)
    shown = [text.split("%")[0] for text in sys.stderr.getvalue().split("\r") if "%" in text]
    steps = [(1, 25), (1, 50), (2, 62), (2, 75), (3, 88), (3, 100)]
    assert [f"file {i} of 3: {percent:3d} " for i, percent in steps] == list(dict.fromkeys(shown))
    assert "remaining" in sys.stderr.getvalue() and sys.stderr.getvalue().endswith("\r")


@pytest.mark.parametrize(("is_terminal", "seconds"), [(True, 0), (False, 10)])
def test_progress_of_files_is_silent_when_short_or_piped(monkeypatch, files, is_terminal, seconds):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal))
    run_files(files, seconds)
    assert sys.stderr.getvalue() == "file 0\nfile 1\nfile 2\n"
