"""Signal-to-distortion ratios that allow no filter and no gain: `amplitude_sdr` and `mdx_sdr`.

The first compares amplitude spectrograms and is blind to phase, the second compares samples. The
two, and `bss_sdr` and `si_sdr`, are not comparable with one another.
"""

import jax
import jax.numpy as jnp
import numpy as np

#: Added to both energies of `mdx_sdr`.
MDX_DELTA = 1e-7


def amplitude_sdr(
    reference: np.ndarray | jax.Array,
    estimate: np.ndarray | jax.Array,
    *,
    axis: int | tuple[int, ...] | None = None,
) -> np.ndarray | jax.Array:
    """SDR in dB on amplitude spectrograms: 10 log10(sum s^2 / sum (s - e)^2) (Ligtenberg 2022).

    Phase does not count, so it says nothing about how an estimate sounds; a silent estimate has
    0 dB, and nothing better than silence is below.

    Args:
        reference: s, linear amplitudes of any shape.
        estimate: e, of the same shape.
        axis: what is summed over, as (bins, frames); all by default.

    Returns:
        Of the shape that is left: float64 for NumPy's arrays; the dtype of the arguments for JAX's,
        also within `jax.jit`. NaN where the reference is silent throughout, which leaves nothing to
        be compared with: leave it out of a mean, and count it. +inf where they are equal. Silent
        frames of a reference that is not silent count as any others: what an estimate holds there
        is distortion.

    Raises:
        ValueError: the shapes differ.
    """
    if isinstance(reference, jax.Array) or isinstance(estimate, jax.Array):
        numpy, options = jnp, {}
    else:
        numpy, options = np, {"dtype": np.float64}
        reference, estimate = np.asarray(reference), np.asarray(estimate)
    _check(reference, estimate)
    energy = numpy.square(reference, **options).sum(axis)
    distortion = numpy.square(numpy.subtract(reference, estimate, **options)).sum(axis)
    audible, exact = energy > 0, distortion == 0
    # Neither logarithm meets a zero: no warning here, and no NaN in a gradient.
    ratio = numpy.where(audible, energy, 1.0) / numpy.where(exact, 1.0, distortion)
    decibels = numpy.where(exact, numpy.inf, 10 * numpy.log10(ratio))
    return numpy.where(audible, decibels, numpy.nan)


def mdx_sdr(
    reference: np.ndarray, estimate: np.ndarray, *, axis: int | tuple[int, ...] | None = None
) -> np.ndarray:
    """SDR in dB of waveforms as in the music demixing challenges.

    10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)), summed over all samples and channels of a
    whole track. Unlike `bss_sdr` it forgives no filter, unlike `si_sdr` no gain.

    Args:
        reference: s, samples of any shape with full scale at 1 (the constant is not scaled).
        estimate: e, of the same shape.
        axis: what is summed over; all by default.

    Returns:
        float64 of the shape that is left, always finite: of a silent reference it tells the level
        of the estimate, 0 dB for none.

    Raises:
        ValueError: the shapes differ.

    References:
        Mitsufuji et al. (2022): Music Demixing Challenge 2021. Frontiers in Signal Processing 1,
        equation 1.
    """
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    _check(reference, estimate)
    energy = np.square(reference, dtype=np.float64).sum(axis)
    distortion = np.square(np.subtract(reference, estimate, dtype=np.float64)).sum(axis)
    return 10 * np.log10((energy + MDX_DELTA) / (distortion + MDX_DELTA))


def _check(reference, estimate) -> None:
    if reference.shape != estimate.shape:
        raise ValueError(f"reference {reference.shape} and estimate {estimate.shape} differ")
