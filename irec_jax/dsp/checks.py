"""Argument checks for the signal processing functions; error messages name the argument."""

import operator
from collections.abc import Collection
from typing import Any

import chex
import numpy as np
from jax import Array
from jaxtyping import Shaped


def check_floating(name: str, array: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raise AssertionError unless `array` has a real floating-point dtype."""
    chex.assert_type(
        array, float, custom_message=f"{name} must hold floats; divide int16 audio by 32768"
    )


def check_signal(name: str, signal: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raise AssertionError unless `signal` is a floating-point array (..., T) with T >= 1."""
    check_floating(name, signal)
    chex.assert_shape(signal, (..., None), custom_message=f"{name} must have shape (..., T)")
    chex.assert_axis_dimension_gt(signal, -1, 0, custom_message=f"{name} has no samples")


def check_positive(**lengths: Any) -> None:
    """Raise ValueError unless all values are positive integers."""
    for name, value in lengths.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
            raise ValueError(f"{name}={value!r}: expected a positive integer")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}")
