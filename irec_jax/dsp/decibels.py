"""Conversion between decibels and amplitude or power."""

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_floating

#: Default floor: below the quantisation noise of 16-bit audio at full scale.
FLOOR_DB = -100.0


def power_to_db(
    power: jax.Array, *, reference: float | jax.Array = 1.0, floor_db: float = FLOOR_DB
) -> jax.Array:
    """Return 10 log10(power / reference), limited from below by the floor.

    Args:
        power: floats >= 0, any shape.
        reference: the power of 0 dB, > 0; broadcasts against `power`.
        floor_db: smallest value of the result in dB, also for silence.

    Returns:
        Decibels in the shape and dtype of `power`; the gradient is 0 at the floor.
    """
    check_floating("power", power)
    ratio = power / reference
    above = ratio > 10.0 ** (floor_db / 10.0)
    return jnp.where(above, 10.0 * jnp.log10(jnp.where(above, ratio, 1.0)), floor_db)


def amplitude_to_db(
    amplitude: jax.Array, *, reference: float | jax.Array = 1.0, floor_db: float = FLOOR_DB
) -> jax.Array:
    """Return 20 log10(|amplitude| / reference), limited by the floor; see `power_to_db`."""
    check_floating("amplitude", amplitude)
    # Squaring would underflow in float32 at -380 dB.
    ratio = jnp.abs(amplitude) / reference
    return 2.0 * power_to_db(ratio, floor_db=floor_db / 2.0)


def db_to_power(db: jax.Array, *, reference: float | jax.Array = 1.0) -> jax.Array:
    """Return reference * 10^(db / 10), in the shape of `db`."""
    check_floating("db", db)
    return reference * jnp.power(10.0, db / 10.0)


def db_to_amplitude(db: jax.Array, *, reference: float | jax.Array = 1.0) -> jax.Array:
    """Return reference * 10^(db / 20), in the shape of `db`."""
    check_floating("db", db)
    return reference * jnp.power(10.0, db / 20.0)
