"""Clip scores, scores over time and segments compared with naive computations."""

import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.inference import aggregation

CLIPS = [
    np.array([[0.2, 0.4, 0.0], [0.0, 0.6, 0.1]], np.float32),
    np.array([[0.3, 0.3, 0.6]], np.float32),
]


def test_scores_match_manual_results():
    for name, expected in {
        "s1": [[0.1, 0.5, 0.05], [0.3, 0.3, 0.6]],
        "s2": [[0.2, 1.0, 0.1], [0.5, 0.5, 1.0]],
        "max": [[0.2, 0.6, 0.1], [0.3, 0.3, 0.6]],
    }.items():
        np.testing.assert_allclose(aggregation.get(name)(CLIPS), expected, rtol=1e-6)


def test_s2_ignores_scale_and_always_detects_the_strongest_class():
    generator = np.random.default_rng(0)
    clips = [generator.random((n, 11)).astype(np.float32) * 1e-6 for n in range(1, 40)]
    scores = aggregation.get("s2")(clips)
    np.testing.assert_array_equal(scores.max(axis=1), 1.0)
    np.testing.assert_allclose(aggregation.get("s2")([1e5 * c for c in clips]), scores, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(1), aggregation.get("s1")(clips).argmax(1))


def test_s2_of_zeros_is_zero():
    np.testing.assert_array_equal(aggregation.s2(np.zeros((3, 4), np.float32)), np.zeros(4))


def test_batched_and_single_results_match():
    windows = np.random.default_rng(1).random((5, 7, 3))
    for method in aggregation.AGGREGATIONS.values():
        single = [method.function(w) for w in windows]
        np.testing.assert_array_equal(method.function(windows), single)


def test_grids_contain_the_papers_values_and_the_defaults():
    s1, s2 = aggregation.get("s1"), aggregation.get("s2")
    assert set(np.round(np.arange(0.02, 0.19, 0.02), 2)) <= set(s1.grid)
    assert set(np.round(np.arange(0.20, 0.61, 0.05), 2)) <= set(s2.grid)
    assert (s1.threshold, s2.threshold) == (0.16, 0.50)
    for method in aggregation.AGGREGATIONS.values():
        assert method.threshold in method.grid


def test_invalid_input_is_rejected():
    with pytest.raises(UserError, match="did you mean 's2'"):
        aggregation.get("s22")
    with pytest.raises(ValueError, match="clip 1"):
        aggregation.get("s1")([np.ones((1, 2)), np.ones((0, 2))])


def test_decays_are_softer_than_one_of_the_windows_before_them():
    levels_db = np.array([-20.0, -10, -11, -13, -16, -17, -15, -30, -13])
    loudest_db = [-20.0, -10, -10, -10, -11, -13, -15, -15, -13]  # with the two windows before
    for max_decay_db in (0, 2.5, 20):
        counts = aggregation.counting_windows(levels_db, num_before=2, max_decay_db=max_decay_db)
        assert counts.tolist() == (levels_db >= np.array(loudest_db) - max_decay_db).tolist()
    assert aggregation.counting_windows(levels_db, num_before=2, max_decay_db=None).all()
    single = aggregation.counting_windows(levels_db[:1], num_before=2, max_decay_db=2)
    assert single.tolist() == [True]


def test_silence_does_not_count_however_long_it_is():
    levels_db = np.array([-120.0, -120, -30, -20, -30, *[-120] * 20])
    counts = aggregation.counting_windows(levels_db, num_before=3, max_decay_db=2)
    assert np.flatnonzero(counts).tolist() == [2, 3]
    silent = aggregation.counting_windows(np.full(4, -120.0), num_before=3, max_decay_db=2)
    assert silent.all()


def test_activity_is_s2_of_a_sliding_context():
    rng = np.random.default_rng(0)
    probabilities, audible = rng.uniform(size=(9, 4)), np.array([1, 1, 0, 1, 1, 1, 1, 0, 1], bool)
    activity = aggregation.activity(probabilities, audible, context_windows=3)
    for w in range(9):
        near = [v for v in range(max(0, w - 1), min(9, w + 2)) if audible[v]]
        total = probabilities[near].sum(0)
        expected = total / total.max() if audible[w] else np.zeros(4)
        np.testing.assert_allclose(activity[w], expected, atol=1e-12)


def test_activity_of_silence_is_zero():
    assert not aggregation.activity(np.ones((3, 2)), np.zeros(3, bool)).any()


def test_segments_start_and_end_halfway_between_windows():
    scores = np.array([[1.0, 0.2], [1.0, 0.6], [0.3, 1.0], [0.8, 1.0]])
    times = np.array([0.5, 1.0, 1.5, 2.0])
    segments = aggregation.segments(scores, times, np.array([0.5, 0.5]), ("a", "b"), 2.5)
    assert segments == [
        aggregation.Segment("a", 0.0, 1.25),
        aggregation.Segment("b", 0.75, 2.5),
        aggregation.Segment("a", 1.75, 2.5),
    ]
    assert aggregation.segments(scores, times, np.array([2.0, 2.0]), ("a", "b"), 2.5) == []
    segments = aggregation.segments(np.ones((1, 1)), np.array([0.1]), np.array([0.5]), ("a",), 0.2)
    assert segments == [pytest.approx(("a", 0.0, 0.2))]
