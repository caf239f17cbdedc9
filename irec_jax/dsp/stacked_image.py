"""Stacked images: a signal written line by line into a square of grey values."""

import math

import jax
import jax.numpy as jnp

from irec_jax.dsp.padding import fix_length


def smallest_side(num_samples: int) -> int:
    """Side of the smallest square that holds so many samples: ceil(sqrt(T))."""
    return 1 + math.isqrt(num_samples - 1) if num_samples > 0 else 0


def stack(signal: jax.Array, *, side: int) -> jax.Array:
    """The stacked image of a signal.

    Sample k is the pixel in row floor(k / side), column k mod side (Goel, section IV-C). What does
    not fit is cut off; zero samples fill up, so that what is missing looks like silence.

    **Grey values.** round((x + 1) * 255 / 2) for x in -1..1, halves to the even number: -1 is 0
    (black), 1 is 255 (white), silence 128. Beyond -1 and 1 it stays at 0 and 255. The gradient is
    that without rounding: 127.5 for samples between -1 and 1.

    Args:
        signal: floats (..., T).
        side: rows and columns of the picture.

    Returns:
        whole numbers in 0..255 as floats (..., side, side), of the signal's dtype.

    Raises:
        ValueError: `side` is no whole number above 0.
        AssertionError: `signal` has no samples or is not floating point.
    """
    samples = fix_length(signal, num_samples=side * side)
    grey = (jnp.clip(samples, -1, 1) + 1) * 127.5
    grey += jax.lax.stop_gradient(jnp.round(grey) - grey)  # exact: the two are within a half
    return grey.reshape(*signal.shape[:-1], side, side)
