"""Calibration errors of predicted probabilities.

Probabilities are calibrated if, for example, 70 % of the classes with a probability of 0.7 are
present.
"""

import numpy as np
from jaxtyping import Float, Shaped


def expected_calibration_error(
    labels: Shaped[np.ndarray, "*shape"],
    probabilities: Float[np.ndarray, "*shape"],
    *,
    num_bins: int = 15,
) -> float:
    """Return the expected calibration error, 0..1.

    Probabilities are grouped into bins of equal width. The error is the absolute difference between
    the mean probability and the fraction of positives in each bin, averaged over the bins with
    weights proportional to their numbers of values (Guo et al. 2017, equation 3, for binary
    labels).

    Args:
        labels: non-zero for positives.
        probabilities: predicted probabilities of positives, 0..1.
        num_bins: number of bins.
    """
    positives = (np.asarray(labels) > 0).ravel()
    values = np.asarray(probabilities, np.float64).ravel()
    bins = np.minimum((values * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, positives - values, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(values))


def top_calibration_error(
    labels: Shaped[np.ndarray, "clips classes"],
    probabilities: Float[np.ndarray, "clips classes"],
    *,
    num_bins: int = 15,
) -> float:
    """Return the expected calibration error of the most probable class of each clip.

    Most classes are absent from a clip and rightly have low probabilities. In a mean over all
    classes, they hide the error of the class that a user reads first.
    """
    rows, strongest = np.arange(len(probabilities)), np.argmax(probabilities, axis=1)
    chosen = np.asarray(labels)[rows, strongest], np.asarray(probabilities)[rows, strongest]
    return expected_calibration_error(*chosen, num_bins=num_bins)
