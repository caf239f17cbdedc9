"""Progress bars on a terminal and in a log file."""

import io
import sys

import pytest
from tqdm import tqdm

from irec_jax.progress import progress_bar


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
