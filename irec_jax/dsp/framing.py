"""Cutting a signal into overlapping frames, and adding frames up again.

Padding is explicit, because it decides how many frames T samples give:

| padding    | frame t covers                      | frames                           |
|------------|-------------------------------------|----------------------------------|
| `'center'` | samples around t * hop              | 1 + floor(T / hop)               |
| `'end'`    | samples from t * hop on             | ceil(T / hop)                    |
| `'none'`   | samples from t * hop on, all inside | 1 + floor((T - frame) / hop)     |

What lies outside the signal counts as zero. `'center'` is librosa's default (`pad_mode
'constant'`); for an odd frame length librosa makes one frame less where hop divides T.
"""

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp.checks import check_choice, check_positive, check_signal

PADDINGS = ("center", "end", "none")

# Up to this many hops per frame, frames are put together from whole hops; beyond, the program
# would grow with every hop and a gather is used instead.
_MAX_HOPS_PER_FRAME = 64


def num_frames(num_samples: int, *, frame_length: int, hop_length: int, padding: str) -> int:
    """Number of frames that `frame` cuts from `num_samples` samples; 0 if none fits.

    Raises:
        ValueError: a length that is not a positive integer, or an unknown padding.
    """
    check_positive(frame_length=frame_length, hop_length=hop_length)
    check_choice("padding", padding, PADDINGS)
    if padding == "center":
        return 1 + num_samples // hop_length
    if padding == "end":
        return -(-num_samples // hop_length)
    return max(0, 1 + (num_samples - frame_length) // hop_length)


def first_sample(*, frame_length: int, padding: str) -> int:
    """Index of the signal's sample at which frame 0 begins: negative when centred."""
    return -(frame_length // 2) if padding == "center" else 0


def frame(
    signal: jax.Array, *, frame_length: int, hop_length: int, padding: str = "none"
) -> jax.Array:
    """Cuts a signal into overlapping frames.

    Args:
        signal: floats (..., T).
        frame_length: samples per frame.
        hop_length: samples from one frame to the next; may exceed the frame.
        padding: 'center', 'end' or 'none' (see the module).

    Returns:
        (..., frames, frame_length), of the signal's dtype.

    Raises:
        ValueError: an option out of range, or a signal shorter than one frame with 'none'.
        AssertionError: `signal` has no samples or is not floating point.
    """
    check_signal("signal", signal)
    options = dict(frame_length=frame_length, hop_length=hop_length, padding=padding)
    num = num_frames(signal.shape[-1], **options)
    if not num:
        raise ValueError(
            f"signal has {signal.shape[-1]} samples, fewer than frame_length ({frame_length}): "
            "pad it, or use padding 'end' or 'center'"
        )
    hops_per_frame = -(-frame_length // hop_length)
    before = -first_sample(frame_length=frame_length, padding=padding)
    num_hops = num + hops_per_frame - 1
    total = num_hops * hop_length
    # A negative width crops the samples that no frame reaches.
    widths = [(0, 0, 0)] * (signal.ndim - 1) + [(before, total - before - signal.shape[-1], 0)]
    padded = jax.lax.pad(signal, jnp.zeros((), signal.dtype), widths)
    if hops_per_frame > _MAX_HOPS_PER_FRAME:
        return padded[..., _indices(num, frame_length, hop_length)]
    # Whole hops are slices of one reshaped array: several times faster than gathering samples.
    hops = padded.reshape(*padded.shape[:-1], num_hops, hop_length)
    parts = [hops[..., i : i + num, :] for i in range(hops_per_frame)]
    return jnp.concatenate(parts, axis=-1)[..., :frame_length]


def overlap_add(
    frames: jax.Array, *, hop_length: int, num_samples: int, padding: str = "none"
) -> jax.Array:
    """Adds frames up where `frame` would have cut them: its transpose.

    Args:
        frames: floats (..., frames, frame_length), as many as `frame` cuts from `num_samples`.
        hop_length: samples from one frame to the next.
        num_samples: length of the result.
        padding: as for `frame`; what lies outside the result is cut off.

    Returns:
        (..., num_samples), of the frames' dtype. Samples that no frame reaches are 0.

    Raises:
        ValueError: an option out of range, or another number of frames.
        AssertionError: `frames` is not floating point.
    """
    check_signal("frames", frames)
    check_positive(num_samples=num_samples)
    options = dict(frame_length=frames.shape[-1], hop_length=hop_length, padding=padding)
    expected = num_frames(num_samples, **options)
    if frames.shape[-2] != expected:
        raise ValueError(
            f"frames holds {frames.shape[-2]} frames, but num_samples ({num_samples}) makes "
            f"{expected} with {options}"
        )
    like = jax.ShapeDtypeStruct((*frames.shape[:-2], num_samples), frames.dtype)
    (signal,) = jax.linear_transpose(lambda signal: frame(signal, **options), like)(frames)
    return signal


def _indices(num: int, frame_length: int, hop_length: int) -> np.ndarray:
    """Sample index of every entry of every frame: int array (num, frame_length)."""
    return np.arange(num)[:, None] * hop_length + np.arange(frame_length)
