"""Scale-invariant signal-to-distortion ratio."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from irec_jax.metrics.ratios import check_same_shape, check_signals, double_precision, ratio_db

#: Arrays with at most this many samples and a longer axis are assumed to be (samples, channels).
_MAX_CHANNELS = 16


def si_sdr(
    reference: ArrayLike, estimated: ArrayLike, *, zero_mean: bool = False
) -> Float64[np.ndarray, "..."]:
    """Return the SI-SDR in dB: 10 log10(|a s|^2 / |a s - e|^2) with a = <e, s> / <s, s>.

    Unlike `bss_sdr`, the SI-SDR permits only a gain, not a filter.

    Args:
        reference: reference signals s, (..., samples).
        estimated: estimated signals e, of the same shape.
        zero_mean: whether to subtract the mean from each signal first.

    Returns:
        The SI-SDR of each signal. It is NaN if the reference is silent (or constant, with
        `zero_mean`), -inf if the estimate is silent or orthogonal to the reference, and +inf at
        140 dB or more, where the estimate is a multiple of the reference up to rounding.

    Raises:
        ValueError: the shapes differ, samples are not finite, or there are many signals of only a
            few samples, which suggests a transposed array.

    References:
        Le Roux, Wisdom, Erdogan, Hershey (2019): SDR - half-baked or well done? ICASSP,
        equations 4 and 5.
    """
    reference, estimated = np.asarray(reference), np.asarray(estimated)
    any_shape = ("(" + "..., " * (reference.ndim - 1) + "T)",)
    reference = check_signals("reference", reference, shapes=any_shape)
    estimated = check_signals("estimated", estimated, shapes=any_shape)
    check_same_shape(reference, estimated)
    if max(reference.shape) > reference.shape[-1] <= _MAX_CHANNELS:
        raise ValueError(
            f"reference has shape {reference.shape}, with only {reference.shape[-1]} samples; "
            "transpose it to (..., T)"
        )
    with double_precision():
        energies = _energies(reference, estimated, zero_mean)
    source, target, distortion = (np.asarray(energy) for energy in energies)
    ratio = np.where(target > 0, ratio_db(target, distortion), -np.inf)
    return np.where(source > 0, ratio, np.nan)


@functools.partial(jax.jit, static_argnums=2)
def _energies(reference: jax.Array, estimated: jax.Array, zero_mean: bool) -> list[jax.Array]:
    """Return |s|^2, |a s|^2 and |a s - e|^2, each of shape (...)."""
    reference, estimated = reference.astype(jnp.float64), estimated.astype(jnp.float64)
    if zero_mean:
        reference, estimated = _centred(reference), _centred(estimated)
    energy = jnp.square(reference).sum(-1, keepdims=True)
    gain = (reference * estimated).sum(-1, keepdims=True) / jnp.where(energy > 0, energy, 1.0)
    target = gain * reference
    return [jnp.square(part).sum(-1) for part in (reference, target, target - estimated)]


def _centred(signal: jax.Array) -> jax.Array:
    """Subtract the mean of a signal (..., T); constant signals become exactly 0."""
    centred = signal - signal.mean(-1, keepdims=True)
    energy, before = (jnp.square(part).sum(-1, keepdims=True) for part in (centred, signal))
    return jnp.where(energy > 1e-24 * before, centred, 0.0)
