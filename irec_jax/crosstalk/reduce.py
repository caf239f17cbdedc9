"""Removal of estimated crosstalk from spectrograms (Seipel 2018, section 3.2.2)."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float

from irec_jax import registry
from irec_jax.crosstalk import suppression
from irec_jax.dsp.stft import magnitude

_TINY = 1e-20
# By default, accelerators multiply float32 matrices with reduced precision.
einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def _subtraction(magnitudes: Array | np.ndarray, crosstalk: Array) -> Array:
    return 1 - crosstalk / jnp.maximum(magnitudes, _TINY)


def _mask(magnitudes: Array | np.ndarray, crosstalk: Array) -> Array:
    power = jnp.square(jnp.maximum(magnitudes - crosstalk, 0))
    return power / jnp.maximum(power + jnp.square(crosstalk), _TINY)


#: Gain functions by name; their arguments are the magnitudes of a track and of the crosstalk in it.
#: The 'mmse' gains, which depend on the previous frame, are computed in `suppression`.
METHODS = {"subtraction": _subtraction, "mask": _mask, "mmse": None}


def gains(
    magnitudes: Float[Array | np.ndarray, "*batch tracks frames bins"],
    weights: Float[Array | np.ndarray, "tracks tracks"],
    **options: Any,
) -> Float[Array, "*batch tracks frames bins"]:
    """Return the gain for every bin in complete spectrograms.

    Args:
        magnitudes: X, >= 0.
        weights: lambda, with zero diagonal.
        **options: keyword arguments of `continue_gains`.
    """
    *batch, num_tracks, _, num_bins = magnitudes.shape
    memory = suppression.start((*batch, num_tracks, num_bins))
    return continue_gains(magnitudes, weights, memory, **options)[0]


def continue_gains(
    magnitudes: Float[Array | np.ndarray, "*batch tracks frames bins"],
    weights: Float[Array | np.ndarray, "tracks tracks"],
    memory: suppression.Memory,
    *,
    strength: float = 1.0,
    floor: float = 0.0,
    method: str = "subtraction",
    prior_weight: float = 0.9,
    smoothing: float = 0.0,
) -> tuple[Float[Array, "*batch tracks frames bins"], suppression.Memory]:
    """Return the gain for every bin in a chunk of frames, and the state for the next chunk.

    With C_l = strength * sum_j lambda_lj X_j, the gain is

    - 'subtraction': max(X_l - C_l, 0) / X_l                                    (3.7)
    - 'mask': R^2 / (R^2 + C_l^2) with R = max(X_l - C_l, 0), a Wiener gain
    - 'mmse': the gain that `suppression.decision_directed` returns

    Gains are limited to at least `floor` and then averaged over frames by `suppression.smooth`.

    Args:
        magnitudes: X, >= 0.
        weights: lambda, with zero diagonal.
        memory: state after the previous frame; `suppression.start` at the beginning.
        strength: factor applied to the estimated crosstalk.
        floor: minimum gain, 0 to 1.
        method: a name in `METHODS`.
        prior_weight: weight of the previous frame for 'mmse', 0 to 1.
        smoothing: coefficient for averaging over frames, from 0 (none) to below 1.

    Returns:
        Gains from `floor` to 1, and the new state. Without smoothing, gains are 1 in bins without
        crosstalk.

    Raises:
        UserError: if the method is unknown.
    """
    gain_function = registry.find("method", METHODS, method)
    chex.assert_shape(weights, (magnitudes.shape[-3],) * 2)
    weights = strength * jnp.asarray(weights, magnitudes.dtype)
    crosstalk = einsum("lj,...jnk->...lnk", weights, magnitudes)
    amplitudes, last = memory
    if gain_function is None:
        gain, amplitudes = suppression.decision_directed(
            magnitudes, crosstalk, amplitudes, weight=prior_weight
        )
    else:
        gain = gain_function(magnitudes, crosstalk)
    gain = jnp.where(crosstalk > 0, jnp.clip(gain, floor, 1), 1)
    if smoothing:
        gain, last = suppression.smooth(gain, last, coefficient=smoothing)
    return gain, suppression.Memory(amplitudes, last)


def reduce(
    spectra: Complex[Array | np.ndarray, "*batch tracks frames bins"],
    weights: Float[Array | np.ndarray, "tracks tracks"],
    **options: Any,
) -> Complex[Array, "*batch tracks frames bins"]:
    """Return spectra with reduced crosstalk; the magnitudes change, but the phases do not.

    Args:
        spectra: STFT of the tracks.
        weights: lambda, with zero diagonal.
        **options: keyword arguments of `continue_gains`.
    """
    return gains(magnitude(spectra), weights, **options) * spectra
