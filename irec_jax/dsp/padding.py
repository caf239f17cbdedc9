"""Signals brought to a length with zeros."""

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_positive, check_signal


def fix_length(signal: jax.Array, *, num_samples: int) -> jax.Array:
    """The first `num_samples` samples (..., num_samples), with zeros where the signal has ended.

    Raises:
        ValueError: `num_samples` is no whole number above 0.
        AssertionError: `signal` (..., T) has no samples or is not floating point.
    """
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    # A negative width cuts.
    widths = [(0, 0, 0)] * (signal.ndim - 1) + [(0, num_samples - signal.shape[-1], 0)]
    return jax.lax.pad(signal, jnp.zeros((), signal.dtype), widths)


def place(signal: jax.Array, *, start: jax.Array, num_samples: int) -> jax.Array:
    """A signal in zeros: sample k of it becomes sample `start` + k.

    Args:
        signal: floats (..., T).
        start: ints (...,), 0..num_samples.
        num_samples: length of the result; what does not fit in is cut off.

    Returns:
        (..., num_samples), of the signal's dtype.

    Raises:
        ValueError: `num_samples` is no whole number above 0.
        AssertionError: `signal` has no samples or is not floating point, `start` has another shape.
    """
    signal = fix_length(signal, num_samples=num_samples)

    def shifted(signal: jax.Array, start: jax.Array) -> jax.Array:
        after_silence = jnp.concatenate([jnp.zeros_like(signal), signal])
        return jax.lax.dynamic_slice_in_dim(after_silence, num_samples - start, num_samples)

    return jnp.vectorize(shifted, signature="(t),()->(t)")(signal, start)
