"""Stacked images: a signal written row by row into a square of grey values (Goel)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.dsp.padding import fix_length


def smallest_side(num_samples: int) -> int:
    """Return ceil(sqrt(T)), the side of the smallest square that holds T samples."""
    return 1 + math.isqrt(num_samples - 1) if num_samples > 0 else 0


def stacked_image(
    signal: Float[Array | np.ndarray, "... samples"], *, side: int
) -> Float[Array, "... {side} {side}"]:
    """Return the stacked image of a signal.

    Sample k becomes the pixel in row floor(k / side) and column k mod side (Goel, section IV-C).
    Longer signals are trimmed, and shorter ones are padded with silence.

    Grey values are round((x + 1) * 255 / 2) for x in -1..1, rounding half to even: -1 becomes 0
    (black), 1 becomes 255 (white), and silence becomes 128; samples outside -1..1 are clipped. The
    gradient ignores the rounding and is 127.5 for samples between -1 and 1.

    Args:
        signal: samples in -1..1.
        side: number of rows and columns in the image.

    Returns:
        Integers 0..255 as floats, in the dtype of the signal.
    """
    samples = fix_length(signal, num_samples=side * side)
    grey = (jnp.clip(samples, -1, 1) + 1) * 127.5
    grey += jax.lax.stop_gradient(jnp.round(grey) - grey)  # exact: the two differ by at most 0.5
    return grey.reshape(*signal.shape[:-1], side, side)
