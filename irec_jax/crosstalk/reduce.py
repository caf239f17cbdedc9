"""Estimated crosstalk taken out of spectrograms (Seipel 2018, section 3.2.2)."""

import chex
import jax
import jax.numpy as jnp

from irec_jax import registry
from irec_jax.dsp.stft import magnitude

_TINY = 1e-20


def _subtraction(own: jax.Array, others: jax.Array) -> jax.Array:
    return 1 - others / jnp.maximum(own, _TINY)


def _mask(own: jax.Array, others: jax.Array) -> jax.Array:
    rest = jnp.square(jnp.maximum(own - others, 0))
    return rest / jnp.maximum(rest + jnp.square(others), _TINY)


#: Gains of magnitudes (...), given those of the track and of the crosstalk in it, by name.
METHODS = {"subtraction": _subtraction, "mask": _mask}


def gains(
    magnitudes: jax.Array,
    weights: jax.Array,
    *,
    strength: float = 1.0,
    floor: float = 0.0,
    method: str = "subtraction",
) -> jax.Array:
    """What every bin is multiplied by.

    With C_l = strength * sum_j lambda_lj X_j, the gain is

    - 'subtraction': max(X_l - C_l, 0) / X_l                                    (3.7)
    - 'mask': R^2 / (R^2 + C_l^2) with R = max(X_l - C_l, 0), a Wiener gain

    and never below the floor.

    Args:
        magnitudes: float (..., J, frames, bins), >= 0.
        weights: lambda (J, J), zero diagonal.
        strength: 0 takes nothing away, 1 the estimate, more than 1 more.
        floor: 0 to 1.
        method: a name in `METHODS`.

    Returns:
        float (..., J, frames, bins) within floor..1; 1 where there is nothing to take away.

    Raises:
        UserError: unknown method.
    """
    if method not in METHODS:
        raise registry.unknown("method", method, METHODS)
    chex.assert_shape(weights, (magnitudes.shape[-3],) * 2)
    weights = strength * jnp.asarray(weights, magnitudes.dtype)
    crosstalk = jnp.einsum(
        "lj,...jnk->...lnk", weights, magnitudes, precision=jax.lax.Precision.HIGHEST
    )
    gain = jnp.clip(METHODS[method](magnitudes, crosstalk), floor, 1)
    return jnp.where(crosstalk > 0, gain, 1)


def reduce(spectra: jax.Array, weights: jax.Array, **options) -> jax.Array:
    """Spectra without the estimated crosstalk: reduced magnitudes with the phase they had.

    Args:
        spectra: complex (..., J, frames, bins).
        weights: lambda (J, J), zero diagonal.
        **options: of `gains`.

    Returns:
        complex, of the shape of ``spectra``.
    """
    return spectra * gains(magnitude(spectra), weights, **options)
