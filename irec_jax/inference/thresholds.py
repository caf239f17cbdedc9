"""Grid search for thresholds of clip scores; see `inference.aggregation` for fixed thresholds.

A class is detected if its score reaches the threshold. Tuning evaluates the thresholds of a grid
and keeps the one with the best F1; ties go to the threshold nearest to the default, then to the
lower one. A class without positives in the tuning data has an F1 of 0 and keeps the default.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from irec_jax.metrics import multilabel


class Sweep(NamedTuple):
    """F1 at each threshold."""

    thresholds: Float64[np.ndarray, " thresholds"]
    micro: Float64[np.ndarray, " thresholds"]
    macro: Float64[np.ndarray, " thresholds"]
    per_class: Float64[np.ndarray, "thresholds classes"]


def apply(
    scores: Float[np.ndarray, "clips classes"], threshold: float | Float[np.ndarray, " classes"]
) -> Bool[np.ndarray, "clips classes"]:
    """Return whether scores reach a threshold, given a single threshold or one per class."""
    return np.asarray(scores) >= threshold


def sweep(
    labels: Shaped[np.ndarray, "clips classes"],
    scores: Float[np.ndarray, "clips classes"],
    grid: Sequence[float],
) -> Sweep:
    """Return the F1 at each threshold of the grid."""
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
    # Rounding makes 0.6 and 0.4 equally far from 0.5 despite floating-point errors.
    distance = np.round(np.abs(tied - default), 9)
    return float(tied[np.argmin(distance)])


def tune_single(
    labels: Shaped[np.ndarray, "clips classes"],
    scores: Float[np.ndarray, "clips classes"],
    grid: Sequence[float],
    *,
    default: float,
) -> float:
    """Return the grid threshold that gives the best micro F1, for use with all classes.

    Args:
        labels: non-zero where the class is present.
        scores: clip scores.
        grid: thresholds to evaluate.
        default: ties go to the threshold nearest to this one.
    """
    curve = sweep(labels, scores, grid)
    return _best(curve.thresholds, curve.micro, default)


def tune_per_class(
    labels: Shaped[np.ndarray, "clips classes"],
    scores: Float[np.ndarray, "clips classes"],
    grid: Sequence[float],
    *,
    default: float,
) -> Float64[np.ndarray, " classes"]:
    """Return, for each class, the grid threshold that gives the best F1.

    A class whose F1 is 0 at every threshold (no positives, or none scored high enough) gets
    ``default``. For the arguments, see `tune_single`.
    """
    curve = sweep(labels, scores, grid)
    return np.array(
        [_best(curve.thresholds, f1, default) if f1.any() else default for f1 in curve.per_class.T]
    )
