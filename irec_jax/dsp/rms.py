"""Root mean square (RMS) of signal frames."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.dsp.framing import frame


def frame_rms(
    samples: Float[Array | np.ndarray, "... samples"], *, frame_length: int
) -> Float[Array, "... frames"]:
    """Return the RMS of consecutive non-overlapping frames: sqrt(1/N sum_n x(t N + n)^2).

    Args:
        samples: one or more signals (..., T).
        frame_length: N, the number of samples per frame.

    Returns:
        ceil(T / N) values in the dtype of the signal; the last frame is padded with zeros.
        The gradient is 0 for silence.
    """
    frames = frame(samples, frame_length=frame_length, hop_length=frame_length, padding="end")
    mean_square = jnp.square(frames).mean(-1)
    positive = mean_square > 0
    # The inner `where` excludes the infinite derivative of the root at 0 from the backward pass.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, mean_square, 1)), 0)
