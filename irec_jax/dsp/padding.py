"""Functions that zero-pad, trim and delay signals."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from irec_jax.dsp.checks import check_positive, check_signal


def fix_length(
    signal: Float[Array | np.ndarray, "... samples"], *, num_samples: int
) -> Float[Array, "... {num_samples}"]:
    """Trim a signal, or pad it with zeros, to `num_samples` samples."""
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    # A negative width trims.
    widths = [(0, 0, 0)] * (signal.ndim - 1) + [(0, num_samples - signal.shape[-1], 0)]
    return jax.lax.pad(signal, jnp.zeros((), signal.dtype), widths)


def delay(
    signal: Float[Array | np.ndarray, "*batch samples"],
    *,
    start: Int[Array | np.ndarray, "*batch"],
    num_samples: int,
) -> Float[Array, "*batch {num_samples}"]:
    """Delay a signal by `start` samples: sample k becomes sample `start` + k.

    Args:
        signal: one or more signals (..., T).
        start: delay of each signal in samples, 0..num_samples; its shape must match the leading
            axes of the signals.
        num_samples: length of the result, which is padded with zeros or trimmed at the end.

    Returns:
        The delayed signals, in the dtype of `signal`.
    """
    signal = fix_length(signal, num_samples=num_samples)

    def delayed(signal: Array, start: Array) -> Array:
        after_silence = jnp.concatenate([jnp.zeros_like(signal), signal])
        return jax.lax.dynamic_slice_in_dim(after_silence, num_samples - start, num_samples)

    return jnp.vectorize(delayed, signature="(t),()->(t)")(signal, start)
