"""Signal framing and overlap-add.

The padding determines which samples each frame covers, and the number of frames for T samples:

| padding    | frame t covers                      | frames                           |
|------------|-------------------------------------|----------------------------------|
| `'center'` | samples around t * hop              | 1 + floor(T / hop)               |
| `'end'`    | samples starting at t * hop         | ceil(T / hop)                    |
| `'none'`   | as `'end'`, complete frames only    | 1 + floor((T - frame) / hop)     |

The signal is padded with zeros. `'center'` is librosa's default (with `pad_mode='constant'`); for
odd frame lengths, librosa returns one frame fewer if hop divides T.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from irec_jax.dsp.checks import check_choice, check_positive, check_signal

PADDINGS = ("center", "end", "none")

# Frames of up to this many hops are concatenated from hops. Longer frames are gathered sample by
# sample, because the concatenation would make the compiled program too large.
_MAX_HOPS_PER_FRAME = 64


def num_frames(num_samples: int, *, frame_length: int, hop_length: int, padding: str) -> int:
    """Return the number of frames for `num_samples` samples; 0 if there are too few samples."""
    check_positive(frame_length=frame_length, hop_length=hop_length)
    check_choice("padding", padding, PADDINGS)
    if padding == "center":
        return 1 + num_samples // hop_length
    if padding == "end":
        return -(-num_samples // hop_length)
    return max(0, 1 + (num_samples - frame_length) // hop_length)


def first_sample(*, frame_length: int, padding: str) -> int:
    """Return the index of the first sample of frame 0; negative for centred frames."""
    return -(frame_length // 2) if padding == "center" else 0


def frame(
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    frame_length: int,
    hop_length: int,
    padding: str = "none",
) -> Float[Array, "... frames {frame_length}"]:
    """Split a signal into overlapping frames.

    Args:
        signal: one or more signals (..., T).
        frame_length: samples per frame.
        hop_length: samples between successive frames; may exceed the frame length.
        padding: 'center', 'end' or 'none' (see the module docstring).

    Returns:
        The frames, in the dtype of the signal.

    Raises:
        ValueError: if the signal is shorter than one frame and the padding is 'none'.
    """
    check_signal("signal", signal)
    options: dict[str, Any] = dict(
        frame_length=frame_length, hop_length=hop_length, padding=padding
    )
    num = num_frames(signal.shape[-1], **options)
    if not num:
        raise ValueError(
            f"signal: {signal.shape[-1]} samples are fewer than frame_length={frame_length}; "
            "pad it, or use padding 'end' or 'center'"
        )
    hops_per_frame = -(-frame_length // hop_length)
    before = -first_sample(frame_length=frame_length, padding=padding)
    num_hops = num + hops_per_frame - 1
    total = num_hops * hop_length
    # A negative width crops samples beyond the last frame.
    widths = [(0, 0, 0)] * (signal.ndim - 1) + [(before, total - before - signal.shape[-1], 0)]
    padded = jax.lax.pad(signal, jnp.zeros((), signal.dtype), widths)
    if hops_per_frame > _MAX_HOPS_PER_FRAME:
        return padded[..., np.arange(num)[:, None] * hop_length + np.arange(frame_length)]
    # Slicing one array of hops is several times faster than gathering samples.
    hops = padded.reshape(*padded.shape[:-1], num_hops, hop_length)
    parts = [hops[..., i : i + num, :] for i in range(hops_per_frame)]
    return jnp.concatenate(parts, axis=-1)[..., :frame_length]


def overlap_add(
    frames: Float[Array | np.ndarray, "... frames frame_length"],
    *,
    hop_length: int,
    num_samples: int,
    padding: str = "none",
) -> Float[Array, "... {num_samples}"]:
    """Overlap-add frames; this is the transpose of `frame`.

    Args:
        frames: as many frames as `frame` returns for `num_samples` samples.
        hop_length: samples between successive frames.
        num_samples: length of the result.
        padding: as for `frame`; samples outside the result are discarded.

    Returns:
        The signal, in the dtype of the frames. Samples not covered by any frame are 0.

    Raises:
        ValueError: if the number of frames is wrong.
    """
    check_signal("frames", frames)
    check_positive(num_samples=num_samples)
    options: dict[str, Any] = dict(
        frame_length=frames.shape[-1], hop_length=hop_length, padding=padding
    )
    expected = num_frames(num_samples, **options)
    if frames.shape[-2] != expected:
        raise ValueError(
            f"frames: expected {expected} frames for num_samples={num_samples} and {options}, got "
            f"{frames.shape[-2]}"
        )
    like = jax.ShapeDtypeStruct((*frames.shape[:-2], num_samples), frames.dtype)
    (signal,) = jax.linear_transpose(lambda signal: frame(signal, **options), like)(frames)
    return signal
