"""Applied and tuned thresholds compared with scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from irec_jax.inference import thresholds

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def _case(seed):
    generator = np.random.default_rng(seed)
    labels = generator.random((50, 4)) < 0.3
    return labels, np.clip(0.4 * labels + generator.random(labels.shape) * 0.7, 0, 1)


def test_scores_at_the_threshold_are_positive():
    np.testing.assert_array_equal(thresholds.apply(np.array([[0.5, 0.49]]), 0.5), [[True, False]])
    np.testing.assert_array_equal(
        thresholds.apply(np.array([[0.5, 0.5]]), np.array([0.6, 0.4])), [[False, True]]
    )


@pytest.mark.parametrize("seed", range(8))
def test_tuned_thresholds_have_the_best_f1_of_the_grid(seed):
    labels, scores = _case(seed)
    f1 = [
        [sklearn.metrics.f1_score(labels[:, k], scores[:, k] >= t, zero_division=0) for t in GRID]
        for k in range(4)
    ]
    micro = [sklearn.metrics.f1_score(labels, scores >= t, average="micro") for t in GRID]
    single = thresholds.tune_single(labels, scores, GRID, default=0.5)
    assert micro[GRID.index(single)] == pytest.approx(max(micro), abs=1e-12)
    for k, tuned in enumerate(thresholds.tune_per_class(labels, scores, GRID, default=0.5)):
        assert f1[k][GRID.index(tuned)] == pytest.approx(max(f1[k]), abs=1e-12)
    curve = thresholds.sweep(labels, scores, GRID)
    np.testing.assert_allclose(curve.micro, micro)
    np.testing.assert_allclose(curve.macro, np.mean(f1, axis=0))
    np.testing.assert_allclose(curve.per_class, np.transpose(f1))


@pytest.mark.parametrize("reverse", [False, True])
def test_ties_are_broken_by_distance_to_the_default_then_downwards(reverse):
    grid = GRID[::-1] if reverse else GRID
    labels, scores = np.array([[1], [0]]), np.array([[0.85], [0.15]])  # best from 0.2 to 0.8
    for default, expected in ((0.5, 0.5), (0.05, 0.2), (0.95, 0.8), (0.45, 0.4)):
        assert thresholds.tune_single(labels, scores, grid, default=default) == expected
        assert thresholds.tune_per_class(labels, scores, grid, default=default) == expected


def test_class_without_positives_keeps_the_default():
    labels, scores = np.array([[1, 0], [0, 0]]), np.array([[0.85, 0.9], [0.15, 0.1]])
    tuned = thresholds.tune_per_class(labels, scores, GRID, default=0.16)
    np.testing.assert_array_equal(tuned, [0.2, 0.16])
