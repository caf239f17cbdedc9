"""Musical noise, measured by the kurtosis of the power in STFT bins.

Suppressing an unwanted sound can leave isolated bins, which are heard as short random tones.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from irec_jax.metrics.ratios import check_same_shape, ratio_db

#: Minimum number of frames. The kurtosis of a bin cannot exceed the number of frames.
MIN_FRAMES = 16
# Bins with less than this fraction of the loudest bin's power are considered inaudible.
_MIN_POWER = 1e-6


class MusicalNoise(NamedTuple):
    """Musical noise in the residue of an unwanted sound, and the attenuation of that sound.

    Attributes:
        log_kurtosis_ratio: 0 if the suppression is a constant gain, and higher if isolated bins and
            frames remain; NaN if there is no residue or there are too few frames.
        attenuation_db: energy before suppression relative to the residue's energy, in dB.
    """

    log_kurtosis_ratio: float
    attenuation_db: float


def musical_noise(
    before: Shaped[np.ndarray, "frames bins"],
    after: Shaped[np.ndarray, "frames bins"],
    alone: Bool[np.ndarray, " frames"],
) -> MusicalNoise:
    """Return the log kurtosis ratio and the attenuation in frames with only unwanted sound.

    The kurtosis of the power x is computed from moments about zero: mu_4 / mu_2^2 with
    mu_m = mean(x^m). It is 6 for Gaussian noise, 1 for a steady tone, and large if a few frames
    hold most of the energy. Uemura et al. compare the kurtosis before and after suppression:

        log kurtosis ratio = ln(kurtosis after / kurtosis before)

    Their noise is white and stationary, so they compute one kurtosis over all bins. Music is
    neither, so here each bin has its own kurtosis over the frames, and the log ratio is averaged
    over the bins that are within 60 dB of the loudest bin and have a residue.

    Args:
        before, after: powers of the STFT bins before and after suppression.
        alone: whether each frame contains only unwanted sound.

    Returns:
        The ratio and the attenuation. Both are NaN if fewer than `MIN_FRAMES` frames contain only
        unwanted sound, or if these frames are silent before suppression.

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
    """Return the kurtosis mu_4 / mu_2^2 of the power in each bin, with moments about zero."""
    scaled = power / power.max(0)  # so that fourth powers do not underflow
    return (scaled**4).mean(0) / (scaled**2).mean(0) ** 2
