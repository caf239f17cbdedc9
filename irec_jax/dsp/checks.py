"""Checks shared by the public functions of this room; their messages name the argument."""

import operator

import chex
import jax


def check_floating(name: str, array: jax.Array) -> None:
    """Raises AssertionError unless `array` holds real floating-point numbers."""
    chex.assert_type(
        array, float, custom_message=f"{name} must hold floats; int16 audio is divided by 32768"
    )


def check_signal(name: str, signal: jax.Array) -> None:
    """Raises AssertionError unless `signal` is a floating-point array (..., T) with T >= 1."""
    check_floating(name, signal)
    chex.assert_shape(signal, (..., None), custom_message=f"{name} must have shape (..., T)")
    chex.assert_axis_dimension_gt(signal, -1, 0, custom_message=f"{name} holds no samples")


def check_positive(**lengths: int) -> None:
    """Raises ValueError for a length or a number that is not an integer >= 1."""
    for name, value in lengths.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
            raise ValueError(f"{name} is {value!r}: must be a whole number, 1 or more")


def check_choice(name: str, value: str, choices) -> None:
    """Raises ValueError for a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: must be one of {', '.join(map(repr, choices))}")
