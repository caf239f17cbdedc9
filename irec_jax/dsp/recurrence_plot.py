"""Recurrence plots: the distance of every moment of a signal from every other."""

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_choice, check_positive, check_signal

POOLINGS = ("1d", "2d")


def recurrence_plot(signal: jax.Array, *, num_points: int, pooling: str = "1d") -> jax.Array:
    """The recurrence plot of a signal, max-pooled to `num_points` x `num_points`.

    R[i, j] = |x[i] - x[j]| / 2 (Goel, equation 14; halved, so that samples in -1..1 give 0..1).
    The window of the pooling, which is also its stride, is T / num_points samples:

    - `'1d'`: x is the signal after max-pooling, the largest sample of each window.
    - `'2d'`: the plot of all samples is max-pooled. It is not computed: the largest |x[k] - x[l]|
      of window i against window j is the larger of max_i - min_j and max_j - min_i.

    Args:
        signal: floats (..., T) in -1..1.
        num_points: divides T.
        pooling: '1d' or '2d'.

    Returns:
        0..1 (..., num_points, num_points), symmetric, of the signal's dtype.

    Raises:
        ValueError: an option out of range, or `num_points` does not divide T.
        AssertionError: `signal` has no samples or is not floating point.
    """
    check_signal("signal", signal)
    check_positive(num_points=num_points)
    check_choice("pooling", pooling, POOLINGS)
    window, rest = divmod(signal.shape[-1], num_points)
    if rest:
        raise ValueError(
            f"num_points ({num_points}) does not divide the signal's {signal.shape[-1]} samples"
        )
    windows = signal.reshape(*signal.shape[:-1], num_points, window)
    highest = windows.max(axis=-1)
    if pooling == "1d":
        return jnp.abs(highest[..., :, None] - highest[..., None, :]) / 2
    lowest = windows.min(axis=-1)
    reach = highest[..., :, None] - lowest[..., None, :]
    return jnp.maximum(reach, reach.swapaxes(-1, -2)) / 2
