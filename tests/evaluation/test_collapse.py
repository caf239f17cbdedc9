"""Collapse check: degenerate predictors are detected for all label distributions."""

import numpy as np
import pytest

from irec_jax.evaluation import collapse
from irec_jax.labels import IRMAS

NUM_CLASSES = len(IRMAS)


def _labels(num_clips=300, seed=0, weights=None):
    """Return one to three labels per clip."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((num_clips, NUM_CLASSES), bool)
    for row in labels:
        count = generator.integers(1, 4)
        row[generator.choice(NUM_CLASSES, count, replace=False, p=weights)] = True
    return labels


def _noisy(matrix, rate, seed=1):
    return matrix ^ (np.random.default_rng(seed).random(matrix.shape) < rate)


def _constant(labels, names):
    return np.tile(np.isin(IRMAS, names), (len(labels), 1))


@pytest.mark.parametrize(
    "predict",
    {
        "constant": lambda y: _constant(y, ["gel", "org", "pia", "sax", "voi"]),
        "all classes": np.ones_like,
        "no class": np.zeros_like,
        "near constant": lambda y: _noisy(_constant(y, ["gel", "org", "pia", "sax", "voi"]), 0.01),
        "constant with noise": lambda y: _noisy(_constant(y, ["gel", "voi"]), 0.03),
        "two label sets": lambda y: np.where(
            np.arange(len(y))[:, None] % 2, _constant(y, ["pia"]), _constant(y, ["voi", "gel"])
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_degenerate_predictors_are_detected(predict):
    labels = _labels()
    result = collapse.check(labels, predict[1](labels), IRMAS)
    assert result["judged"] and result["collapsed"]
    assert "hardly depend on the clip" in result["warning"]


WEIGHTS = {
    "even": None,
    "unbalanced": np.array([0.01] * 10 + [0.9]),
    "as IRMAS": np.array([2, 2, 3, 10, 18, 7, 18, 6, 3, 4, 27]) / 100,
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("num_clips", [12, 30, 300])
def test_good_and_mediocre_predictors_are_accepted(weights, num_clips):
    for seed in range(3):
        labels = _labels(num_clips, seed, weights)
        strongest_only = labels & (np.cumsum(labels, axis=1) == 1)
        for predictions in (labels, _noisy(labels, 0.1), _noisy(labels, 0.25), strongest_only):
            result = collapse.check(labels, predictions, IRMAS)
            assert result["warning"] is None and not result["collapsed"]


def test_perfect_recall_is_not_a_collapse():
    """Every class has recall 1 and some false positives."""
    labels = _labels()
    assert not collapse.check(labels, labels | _noisy(labels, 0.15), IRMAS)["collapsed"]


def test_small_splits_and_uniform_labels_are_not_checked():
    few = _labels(9)
    assert not collapse.check(few, np.ones_like(few), IRMAS)["judged"]
    same = np.tile(np.eye(NUM_CLASSES, dtype=bool)[3], (50, 1))
    for predictions in (same, np.ones_like(same)):
        assert collapse.check(same, predictions, IRMAS)["warning"] is None


def test_counts_and_shares():
    labels = np.eye(3, dtype=bool)[[0, 1, 2, 0, 0]]
    predictions = np.eye(3, dtype=bool)[[1, 1, 1, 1, 0]]
    result = collapse.check(labels, predictions, ("a", "b", "c"))
    assert result["num_distinct_predicted"] == 2 and result["num_distinct_true"] == 3
    assert result["share_distinct_predicted"] == pytest.approx(0.4)
    assert result["most_frequent_predicted"] == {"labels": ["b"], "share": 0.8}
    assert result["most_frequent_true"] == {"labels": ["a"], "share": 0.6}
