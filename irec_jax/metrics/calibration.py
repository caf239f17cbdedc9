"""Calibration of probabilities: do classes with a score of 0.7 occur in 70 % of the clips?"""

import numpy as np
from jaxtyping import Float, Shaped


def expected_calibration_error(
    labels: Shaped[np.ndarray, "*shape"],
    probabilities: Float[np.ndarray, "*shape"],
    *,
    num_bins: int = 15,
) -> float:
    """Return the mean distance of probabilities from the observed frequencies, 0..1.

    Probabilities are grouped into bins of equal width; the distance of a bin is that of its mean
    probability from the frequency of its positives, and is weighted by its number of values (Guo et
    al. 2017, equation 3, for binary labels).

    Args:
        labels: non-zero for positives.
        probabilities: probabilities of the positives, 0..1.
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
    """Return the calibration error of the most probable class of each clip.

    The mean over all classes is mostly that of absent ones with low probabilities, which are right
    and hide the error of the class that a user reads first.
    """
    rows, strongest = np.arange(len(probabilities)), np.argmax(probabilities, axis=1)
    chosen = np.asarray(labels)[rows, strongest], np.asarray(probabilities)[rows, strongest]
    return expected_calibration_error(*chosen, num_bins=num_bins)
