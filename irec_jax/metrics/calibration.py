"""Calibration errors of predicted probabilities.

Probabilities are calibrated if they match the observed frequencies. For example, 70 % of the
classes with a predicted probability of 0.7 are present.
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

    Probabilities are grouped into bins of equal width. The error of a bin is the absolute
    difference between its mean probability and its fraction of positives. The errors are averaged
    over the bins, weighted by the number of probabilities in each bin (Guo et al. 2017, equation 3,
    for binary labels).

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
    """Return the expected calibration error over the most probable class of each clip.

    Most classes are absent from a clip and rightly have low probabilities. A mean over all classes
    therefore hides the error of the most probable class, which users notice first.
    """
    rows, strongest = np.arange(len(probabilities)), np.argmax(probabilities, axis=1)
    chosen = np.asarray(labels)[rows, strongest], np.asarray(probabilities)[rows, strongest]
    return expected_calibration_error(*chosen, num_bins=num_bins)
