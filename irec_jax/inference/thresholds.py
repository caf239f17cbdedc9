"""Clip scores to decisions: fixed thresholds, and thresholds tuned on a grid.

A class is on where its score is at least the threshold. Tuning tries the values of a grid and
takes the best; of several equally good ones it takes the one nearest to the default, and of two
equally near the lower. So a class that never occurs in the tuning data, whose F1 is 0 at every
threshold, keeps the default.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irec_jax.metrics import multilabel


class Sweep(NamedTuple):
    """F1 at each of G thresholds: all arrays (G,) but ``per_class``, which is (G, K)."""

    thresholds: np.ndarray
    micro: np.ndarray
    macro: np.ndarray
    per_class: np.ndarray


def apply(scores: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """bool (N, K): where scores (N, K) are at least the threshold, one () or per class (K,)."""
    return np.asarray(scores) >= threshold


def sweep(labels: np.ndarray, scores: np.ndarray, grid: Sequence[float]) -> Sweep:
    """F1 of labels (N, K) and scores (N, K) at each threshold of the grid (G,)."""
    counts = [multilabel.count(labels, apply(scores, threshold)) for threshold in grid]
    counts = multilabel.Counts(*map(np.stack, zip(*counts, strict=True)))
    return Sweep(
        np.asarray(grid, np.float64),
        multilabel.micro(counts).f1,
        multilabel.macro(counts).f1,
        multilabel.by_class(counts).f1,
    )


def _best(grid: np.ndarray, f1: np.ndarray, default: float) -> float:
    tied = np.sort(grid[f1 == f1.max()])
    # Rounded, so that 0.6 and 0.4 are equally far from 0.5 in floating point too.
    distance = np.round(np.abs(tied - default), 9)
    return float(tied[np.argmin(distance)])


def tune_single(
    labels: np.ndarray, scores: np.ndarray, grid: Sequence[float], *, default: float
) -> float:
    """The one threshold of the grid with the best micro F1.

    Args:
        labels: (N, K), non-zero where the class is there.
        scores: (N, K) clip scores.
        grid: thresholds to try.
        default: decides between equally good ones.
    """
    found = sweep(labels, scores, grid)
    return _best(found.thresholds, found.micro, default)


def tune_per_class(
    labels: np.ndarray, scores: np.ndarray, grid: Sequence[float], *, default: float
) -> np.ndarray:
    """For each class the threshold of the grid with its best F1, float64 (K,).

    A class whose F1 is 0 throughout (no positives, or none scored high enough) gets ``default``
    itself. Arguments as for `tune_single`.
    """
    found = sweep(labels, scores, grid)
    return np.array(
        [_best(found.thresholds, f1, default) if f1.any() else default for f1 in found.per_class.T]
    )
