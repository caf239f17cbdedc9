"""Amplitude and power to decibels and back."""

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_floating

#: Default floor: below the quantisation noise of 16-bit audio at full scale.
FLOOR_DB = -100.0


def power_to_db(
    power: jax.Array, *, reference: float | jax.Array = 1.0, floor_db: float = FLOOR_DB
) -> jax.Array:
    """10 log10(power / reference), not below the floor.

    Args:
        power: floats >= 0, any shape.
        reference: the power of 0 dB, > 0; broadcasts against `power`.
        floor_db: lowest value of the result in dB; silence, too, comes out as this.

    Returns:
        dB, of the shape and dtype of `power`; gradient 0 where the floor holds.

    Raises:
        AssertionError: `power` is not floating point.
    """
    check_floating("power", power)
    ratio = power / reference
    above = ratio > 10.0 ** (floor_db / 10.0)
    return jnp.where(above, 10.0 * jnp.log10(jnp.where(above, ratio, 1.0)), floor_db)


def amplitude_to_db(
    amplitude: jax.Array, *, reference: float | jax.Array = 1.0, floor_db: float = FLOOR_DB
) -> jax.Array:
    """20 log10(|amplitude| / reference), not below the floor; see `power_to_db`."""
    check_floating("amplitude", amplitude)
    # Not by squaring: that would underflow in float32 at -380 dB.
    ratio = jnp.abs(amplitude) / reference
    return 2.0 * power_to_db(ratio, floor_db=floor_db / 2.0)


def db_to_power(db: jax.Array, *, reference: float | jax.Array = 1.0) -> jax.Array:
    """reference * 10^(db / 10), of the shape of `db`."""
    check_floating("db", db)
    return reference * jnp.power(10.0, db / 10.0)


def db_to_amplitude(db: jax.Array, *, reference: float | jax.Array = 1.0) -> jax.Array:
    """reference * 10^(db / 20), of the shape of `db`."""
    check_floating("db", db)
    return reference * jnp.power(10.0, db / 20.0)
