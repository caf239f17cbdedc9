"""Signal-to-distortion ratios that permit neither a filter nor a gain.

`amplitude_sdr` compares amplitude spectrograms and ignores phase; `mdx_sdr` compares samples. The
values of `amplitude_sdr`, `mdx_sdr`, `bss_sdr` and `si_sdr` are not comparable with one another.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float64, Shaped

from irec_jax.metrics.ratios import check_same_shape

#: Constant that `mdx_sdr` adds to the numerator and the denominator.
MDX_DELTA = 1e-7


def amplitude_sdr(
    reference: Shaped[Array | np.ndarray, "..."],
    estimate: Shaped[Array | np.ndarray, "..."],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float[Array | np.ndarray, "..."]:
    """Return the SDR of amplitude spectrograms in dB, 10 log10(sum s^2 / sum (s - e)^2).

    This is the metric used by Ligtenberg (2022). It ignores phase, so it does not measure how an
    estimate sounds. A silent estimate scores 0 dB, and a negative score is worse than silence.

    Args:
        reference: linear amplitudes s, of any shape.
        estimate: linear amplitudes e, of the same shape.
        axis: axes to sum over, such as the bin and frame axes; all axes by default.

    Returns:
        One SDR per entry of the remaining axes: float64 for NumPy arrays, and the dtype of the
        arguments for JAX arrays, including inside `jax.jit`. It is NaN if the reference is silent
        throughout, because there is nothing to compare; exclude such scores from averages and
        report how many there are. It is +inf if the reference and the estimate are equal. If the
        reference is silent only in places, any sound in the estimate at these places counts as
        distortion.

    Raises:
        ValueError: the shapes differ.
    """
    if isinstance(reference, jax.Array) or isinstance(estimate, jax.Array):
        numpy, options = jnp, {}
    else:
        numpy, options = np, {"dtype": np.float64}
        reference, estimate = np.asarray(reference), np.asarray(estimate)
    check_same_shape(reference, estimate, name="estimate")
    energy = numpy.square(reference, **options).sum(axis)
    distortion = numpy.square(numpy.subtract(reference, estimate, **options)).sum(axis)
    audible, exact = energy > 0, distortion == 0
    # Avoid log(0), which would cause warnings and NaN gradients.
    ratio = numpy.where(audible, energy, 1.0) / numpy.where(exact, 1.0, distortion)
    decibels = numpy.where(exact, numpy.inf, 10 * numpy.log10(ratio))
    return numpy.where(audible, decibels, numpy.nan)


def mdx_sdr(
    reference: Shaped[np.ndarray, "..."],
    estimate: Shaped[np.ndarray, "..."],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float64[np.ndarray, "..."] | np.float64:
    """Return the SDR of waveforms in dB, as defined by the Music Demixing Challenge.

    The SDR is 10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)), with sums over all samples and
    channels of a track. Unlike `bss_sdr`, it does not permit a filter and, unlike `si_sdr`, it does
    not permit a gain.

    Args:
        reference: samples s, of any shape, with full scale at 1, because the constant 1e-7 does
            not scale with s.
        estimate: samples e, of the same shape.
        axis: axes to sum over; all axes by default.

    Returns:
        One SDR per entry of the remaining axes, always finite. For a silent reference, it depends
        only on the level of the estimate and is 0 dB if the estimate is silent as well.

    Raises:
        ValueError: the shapes differ.

    References:
        Mitsufuji et al. (2022): Music Demixing Challenge 2021. Frontiers in Signal Processing 1,
        equation 1.
    """
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    check_same_shape(reference, estimate, name="estimate")
    energy = np.square(reference, dtype=np.float64).sum(axis)
    distortion = np.square(np.subtract(reference, estimate, dtype=np.float64)).sum(axis)
    return 10 * np.log10((energy + MDX_DELTA) / (distortion + MDX_DELTA))
