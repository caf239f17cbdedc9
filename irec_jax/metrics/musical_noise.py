"""Musical noise: isolated bins that suppression leaves of an unwanted sound, by their kurtosis."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from irec_jax.metrics.ratios import check_same_shape, ratio_db

#: Minimum number of frames for a kurtosis: a single peak among n frames has a kurtosis of n.
MIN_FRAMES = 16
# Bins below this fraction of the loudest one are inaudible.
_MIN_POWER = 1e-6


class MusicalNoise(NamedTuple):
    """Residue of an unwanted sound.

    Attributes:
        log_kurtosis_ratio: 0 if the suppression is a constant gain; higher for residues that stand
            out as single bins and frames; NaN if there is no residue or too little to compare.
        attenuation_db: energy of the sound before suppression over that of its residue, in dB.
    """

    log_kurtosis_ratio: float
    attenuation_db: float


def musical_noise(
    before: Shaped[np.ndarray, "frames bins"],
    after: Shaped[np.ndarray, "frames bins"],
    alone: Bool[np.ndarray, " frames"],
) -> MusicalNoise:
    """Return the log kurtosis ratio and the attenuation of the frames with unwanted sound alone.

    The kurtosis of power x is that of its moments about zero, mu_4 / mu_2^2 with mu_m = mean(x^m):
    6 for Gaussian noise, 1 for a steady tone, and large if a few frames hold most of the energy.
    Uemura et al. compare it before and after suppression:

        log kurtosis ratio = ln(kurtosis after / kurtosis before)

    Their noise is white and steady, and one kurtosis covers all bins. Music is neither: here every
    bin has its own kurtosis over the frames, and the ratio is the mean over the bins within 60 dB
    of the loudest one whose residue is not silent.

    Args:
        before, after: powers of the STFT bins before and after suppression.
        alone: frames in which only unwanted sound is present.

    Returns:
        NaN for both with fewer than `MIN_FRAMES` such frames or silence before suppression.

    Raises:
        ValueError: the shapes differ.

    References:
        Uemura, Takahashi, Saruwatari, Shikano and Kondo (2008): Automatic optimization scheme of
        spectral subtraction based on musical noise assessment via higher-order statistics.
        International Workshop on Acoustic Echo and Noise Control.
    """
    check_same_shape(before, after, name="after")
    before, after = np.asarray(before, np.float64)[alone], np.asarray(after, np.float64)[alone]
    means = before.mean(0) if len(before) else np.zeros(before.shape[1])
    audible = (means > _MIN_POWER * means.max(initial=0)) & (means > 0)
    if len(before) < MIN_FRAMES or not audible.any():
        return MusicalNoise(np.nan, np.nan)
    before, after = before[:, audible], after[:, audible]
    attenuation_db = float(ratio_db(np.array(before.sum()), np.array(after.sum())))
    remaining = after.max(0) > 0
    if not remaining.any():
        return MusicalNoise(np.nan, attenuation_db)
    ratios = kurtosis(after[:, remaining]) / kurtosis(before[:, remaining])
    return MusicalNoise(float(np.log(ratios).mean()), attenuation_db)


def kurtosis(power: Float[np.ndarray, "frames bins"]) -> Float[np.ndarray, " bins"]:
    """Return mu_4 / mu_2^2 of the power in every bin, moments about zero; 1 or more."""
    scaled = power / power.max(0)  # the fourth powers would underflow
    return (scaled**4).mean(0) / (scaled**2).mean(0) ** 2
