"""Recurrence plots: pairwise distances between the samples of a signal."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.dsp.checks import check_choice, check_positive, check_signal

POOLINGS = ("1d", "2d")


def recurrence_plot(
    signal: Float[Array | np.ndarray, "... samples"], *, num_points: int, pooling: str = "1d"
) -> Float[Array, "... {num_points} {num_points}"]:
    """Return the recurrence plot of a signal, max-pooled to `num_points` x `num_points`.

    R[i, j] = |x[i] - x[j]| / 2 (Goel, equation 14, but halved so that samples in -1..1 give values
    in 0..1). The pooling window and its stride are both T / num_points samples long:

    - `'1d'`: x is the max-pooled signal, the largest sample of each window.
    - `'2d'`: the plot of all samples is max-pooled. The full plot is never computed, because the
      largest |x[k] - x[l]| for windows i and j is the larger of max_i - min_j and max_j - min_i.

    Args:
        signal: samples in -1..1.
        num_points: number of points, which must divide the number of samples.
        pooling: '1d' or '2d'.

    Returns:
        Values in 0..1, symmetric, in the dtype of the signal.
    """
    check_signal("signal", signal)
    check_positive(num_points=num_points)
    check_choice("pooling", pooling, POOLINGS)
    if signal.shape[-1] % num_points:
        raise ValueError(
            f"num_points={num_points}: expected a divisor of {signal.shape[-1]}, the number of "
            "samples"
        )
    shape = (*signal.shape[:-1], num_points, signal.shape[-1] // num_points)
    windows = signal.reshape(shape)
    highest = windows.max(axis=-1)
    if pooling == "1d":
        return jnp.abs(highest[..., :, None] - highest[..., None, :]) / 2
    lowest = windows.min(axis=-1)
    distances = highest[..., :, None] - lowest[..., None, :]
    return jnp.maximum(distances, distances.swapaxes(-1, -2)) / 2
