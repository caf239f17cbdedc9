"""Conversion between decibels and amplitude or power."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from irec_jax.dsp.checks import check_floating

#: Default floor in dB, below the quantisation noise of full-scale 16-bit audio.
FLOOR_DB = -100.0


def power_to_db(
    power: Float[Array | np.ndarray, "*shape"],
    *,
    reference: Float[ArrayLike, "#*shape"] = 1.0,
    floor_db: float = FLOOR_DB,
) -> Float[Array, "*shape"]:
    """Return 10 log10(power / reference), limited to at least `floor_db`.

    Args:
        power: power, >= 0.
        reference: power that corresponds to 0 dB, > 0.
        floor_db: smallest possible value of the result in dB, reached for silence.

    Returns:
        Decibels in the dtype of `power`; the gradient is 0 at the floor.
    """
    check_floating("power", power)
    ratio = power / reference
    above = ratio > 10.0 ** (floor_db / 10.0)
    return jnp.where(above, 10.0 * jnp.log10(jnp.where(above, ratio, 1.0)), floor_db)


def amplitude_to_db(
    amplitude: Float[Array | np.ndarray, "*shape"],
    *,
    reference: Float[ArrayLike, "#*shape"] = 1.0,
    floor_db: float = FLOOR_DB,
) -> Float[Array, "*shape"]:
    """Return 20 log10(|amplitude| / reference), at least `floor_db`; see `power_to_db`."""
    check_floating("amplitude", amplitude)
    # Squares would underflow in float32 at -380 dB.
    ratio = jnp.abs(amplitude) / reference
    return 2.0 * power_to_db(ratio, floor_db=floor_db / 2.0)


def db_to_power(
    db: Float[Array | np.ndarray, "*shape"],
    *,
    reference: Float[ArrayLike, "#*shape"] = 1.0,
) -> Float[Array, "*shape"]:
    """Return reference * 10^(db / 10)."""
    check_floating("db", db)
    return jnp.multiply(reference, jnp.power(10.0, db / 10.0))


def db_to_amplitude(
    db: Float[Array | np.ndarray, "*shape"],
    *,
    reference: Float[ArrayLike, "#*shape"] = 1.0,
) -> Float[Array, "*shape"]:
    """Return reference * 10^(db / 20)."""
    check_floating("db", db)
    return jnp.multiply(reference, jnp.power(10.0, db / 20.0))
