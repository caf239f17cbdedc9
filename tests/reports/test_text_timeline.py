"""Timelines as text, and the columns of timelines, for a small activity made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from irec_jax.reports.activity_rows import activity_rows
from irec_jax.reports.text_timeline import ASCII, timeline


def result(activity, scores, labels, *, hop_s=1.0, threshold=0.5):
    """Return what timelines use of a result with windows of `hop_s`, one after the other."""
    activity = np.array(activity, float)
    return SimpleNamespace(
        scores=scores,
        labels=labels,
        thresholds=dict.fromkeys(scores, threshold),
        activity=activity,
        times_s=(np.arange(len(activity)) + 0.5) * hop_s,
        duration_s=len(activity) * hop_s,
    )


#: Four seconds: a piano, then a violin; a flute that is recognised but never active over time; a
#: cello that is neither.
ACTIVITY = [[1, 0, 0.2, 0.1], [1, 0.4, 0.2, 0], [0.25, 0.75, 0.2, 0], [0, 0.75, 0.2, 0]]
SCORES = {"pia": 1.0, "violin": 0.8, "flu": 0.6, "cel": 0.1}
DUO = result(ACTIVITY, SCORES, ("pia", "flu"))


def test_rows_are_the_recognised_and_the_active_instruments_by_score():
    rows = activity_rows(DUO, 4)
    assert [(row.name, row.is_label) for row in rows] == [
        ("piano", True), ("violin", False), ("flute", True),
    ]  # fmt: skip
    np.testing.assert_array_equal(rows[1].activity, [0, 0.4, 0.75, 0.75])


@pytest.mark.parametrize("num_columns", [1, 2, 3, 8, 12, 1000])
def test_columns_hold_the_maximum_of_the_windows_that_overlap_them(num_columns):
    (row, *_) = activity_rows(DUO, num_columns)
    borders = np.linspace(0, 4, num_columns + 1)
    expected = [
        max(ACTIVITY[w][0] for w in range(4) if w < stop - 1e-9 and w + 1 > start + 1e-9)
        for start, stop in zip(borders[:-1], borders[1:], strict=True)
    ]
    np.testing.assert_array_equal(row.activity, expected)


def test_a_short_solo_stays_visible_in_an_hour():
    activity = np.zeros((3600, 1))
    activity[1234] = 1
    (row,) = activity_rows(result(activity, {"vio": 1.0}, ("vio",)), 60)
    assert row.activity.tolist() == [float(i == 1234 // 60) for i in range(60)]


def test_plain_timeline():
    # A name of 6 characters with margins leaves 12 of 22 columns, three for each second.
    assert timeline(DUO, 22) == (
        "  piano   ██████▂▂▂\n"
        "  violin     ▃▃▃▆▆▆▆▆▆\n"
        "  flute   ▂▂▂▂▂▂▂▂▂▂▂▂\n"
        "          0:00    0:04\n"
    )  # fmt: skip
    assert timeline(DUO, 22, characters=ASCII) == (
        "  piano   @@@@@@:::\n"
        "  violin     ---******\n"
        "  flute   ::::::::::::\n"
        "          0:00    0:04\n"
    )


def test_colour_marks_activity_and_recognised_names():
    piano, violin, flute, _ = timeline(DUO, 22, colour=True).splitlines()
    cyan, faint, bold, reset = "\x1b[36m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
    assert piano == f"  {bold}piano{reset}   {cyan}██████{reset}{faint}▂▂▂   {reset}"
    assert violin == f"  violin  {faint}   ▃▃▃{reset}{cyan}▆▆▆▆▆▆{reset}"
    assert flute == f"  {bold}flute{reset}   {faint}▂▂▂▂▂▂▂▂▂▂▂▂{reset}"


@pytest.mark.parametrize("width", [5, 20, 80, 100, 300])
def test_lines_fit_the_terminal_and_a_hundred_columns(width):
    lines = timeline(result([[1.0]], {"n" * 50: 1.0}, ("n" * 50,)), width).splitlines()
    assert {len(line) for line in lines} == {max(34, min(width, 100))}


def test_at_most_eight_rows_recognised_instruments_first():
    scores = {f"i{k}": 1 - k / 100 for k in range(12)}
    many = result(np.ones((1, 12)), scores, ("i10", "i11"))
    lines = timeline(many, 80).splitlines()
    names = ["i0", "i1", "i2", "i3", "i4", "i5", "i10", "i11"]
    assert [line.split()[0] for line in lines[:8]] == names
    assert lines[8:9] == ["  and 4 more"] and len(lines) == 10


def test_silence_has_no_timeline():
    assert timeline(result([[0.0]], {"vio": 0.0}, ()), 80) == ""
    assert timeline(result([[0.0]], {"vio": 0.0}, (), threshold=0.0), 80) == ""
