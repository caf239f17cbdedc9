"""Segments of activity, compared with a naive loop, and their files."""

import csv
import itertools

import numpy as np
import pytest

from irec_jax.inference.segments import Segment, find_segments, runs, to_audacity, to_csv


@pytest.mark.parametrize("active", list(itertools.product([False, True], repeat=5)))
def test_runs_match_a_naive_loop(active):
    expected = []
    for key, group in itertools.groupby(enumerate(active), key=lambda pair: pair[1]):
        indices = [index for index, _ in group]
        if key:
            expected.append((indices[0], indices[-1] + 1))
    assert [tuple(run) for run in runs(np.array(active))] == expected
    assert runs(np.zeros(0, bool)).shape == (0, 2)


def test_segments_and_their_files():
    active = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool)
    names = ["flute", "oboe", 'horn, "muted"']
    segments = find_segments(active, names, np.array([0, 0.5, 1, 1.5, 1.75]))
    assert segments == [
        Segment("flute", 0.0, 1.0),
        Segment("flute", 1.5, 1.75),
        Segment('horn, "muted"', 0.5, 1.5),
    ]
    rows = list(csv.reader(to_csv(segments, name="class").splitlines()))
    assert rows[0] == ["class", "start_s", "end_s"]
    assert [Segment(name, float(start), float(end)) for name, start, end in rows[1:]] == segments
    assert to_audacity(segments).splitlines() == [
        "0.000000\t1.000000\tflute",
        "1.500000\t1.750000\tflute",
        '0.500000\t1.500000\thorn, "muted"',
    ]
    assert to_csv([]) == "track,start_s,end_s\n" and to_audacity([]) == ""
