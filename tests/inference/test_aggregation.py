import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.inference import aggregation

CLIPS = [
    np.array([[0.2, 0.4, 0.0], [0.0, 0.6, 0.1]], np.float32),
    np.array([[0.3, 0.3, 0.6]], np.float32),
]


def test_the_three_by_hand():
    for name, expected in {
        "s1": [[0.1, 0.5, 0.05], [0.3, 0.3, 0.6]],
        "s2": [[0.2, 1.0, 0.1], [0.5, 0.5, 1.0]],
        "max": [[0.2, 0.6, 0.1], [0.3, 0.3, 0.6]],
    }.items():
        np.testing.assert_allclose(aggregation.get(name)(CLIPS), expected, rtol=1e-6)


def test_s2_ignores_scale_and_always_turns_on_the_strongest_class():
    generator = np.random.default_rng(0)
    clips = [generator.random((n, 11)).astype(np.float32) * 1e-6 for n in range(1, 40)]
    scores = aggregation.get("s2")(clips)
    np.testing.assert_array_equal(scores.max(axis=1), 1.0)
    np.testing.assert_allclose(aggregation.get("s2")([1e5 * c for c in clips]), scores, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(1), aggregation.get("s1")(clips).argmax(1))


def test_s2_of_nothing_is_nothing():
    np.testing.assert_array_equal(aggregation.s2(np.zeros((3, 4), np.float32)), np.zeros(4))


def test_batched_and_single_agree():
    windows = np.random.default_rng(1).random((5, 7, 3))
    for one in aggregation.AGGREGATIONS.values():
        np.testing.assert_array_equal(one.function(windows), [one.function(w) for w in windows])


def test_grids_hold_the_papers_values_and_the_defaults():
    s1, s2 = aggregation.get("s1"), aggregation.get("s2")
    assert set(np.round(np.arange(0.02, 0.19, 0.02), 2)) <= set(s1.grid)
    assert set(np.round(np.arange(0.20, 0.61, 0.05), 2)) <= set(s2.grid)
    assert (s1.threshold, s2.threshold) == (0.16, 0.50)
    for one in aggregation.AGGREGATIONS.values():
        assert one.threshold in one.grid


def test_bad_input():
    with pytest.raises(UserError, match="did you mean 's2'"):
        aggregation.get("s22")
    with pytest.raises(ValueError, match="clip 1"):
        aggregation.get("s1")([np.ones((1, 2)), np.ones((0, 2))])
