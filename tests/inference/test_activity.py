"""Who plays when, against a naive computation."""

import numpy as np
import pytest

from irec_jax.inference import activity


def test_scores_are_s2_of_a_short_context():
    rng = np.random.default_rng(0)
    probabilities, audible = rng.uniform(size=(9, 4)), np.array([1, 1, 0, 1, 1, 1, 1, 0, 1], bool)
    found = activity.activity(probabilities, audible, context_windows=3)
    for w in range(9):
        near = [v for v in range(max(0, w - 1), min(9, w + 2)) if audible[v]]
        total = probabilities[near].sum(0)
        expected = total / total.max() if audible[w] else np.zeros(4)
        np.testing.assert_allclose(found[w], expected, atol=1e-12)


def test_silence_scores_nothing():
    assert not activity.activity(np.ones((3, 2)), np.zeros(3, bool)).any()


def test_segments_begin_and_end_halfway_between_windows():
    scores = np.array([[1.0, 0.2], [1.0, 0.6], [0.3, 1.0], [0.8, 1.0]])
    times = np.array([0.5, 1.0, 1.5, 2.0])
    found = activity.segments(scores, times, np.array([0.5, 0.5]), ("a", "b"), 2.5)
    assert found == [
        activity.Segment("a", 0.0, 1.25),
        activity.Segment("b", 0.75, 2.5),
        activity.Segment("a", 1.75, 2.5),
    ]
    assert activity.segments(scores, times, np.array([2.0, 2.0]), ("a", "b"), 2.5) == []
    one = activity.segments(np.ones((1, 1)), np.array([0.1]), np.array([0.5]), ("a",), 0.2)
    assert one == [pytest.approx(("a", 0.0, 0.2))]
