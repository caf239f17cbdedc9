"""Short-time Fourier transform, its inverse, and the magnitude of a spectrum."""

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp.checks import check_positive
from irec_jax.dsp.framing import first_sample, frame, num_frames, overlap_add
from irec_jax.dsp.window_functions import get_window

# A sample whose squared windows add up to less than this part of the largest sum is not
# recoverable in float32: dividing by the sum would multiply rounding errors by its inverse.
_MIN_WINDOW_SUM = 1e-3


def stft(
    signal: jax.Array,
    *,
    frame_length: int,
    hop_length: int,
    window: str | np.ndarray = "hann",
    padding: str = "center",
) -> jax.Array:
    """Short-time Fourier transform X(t, k) = sum_n w(n) x(t hop + n) exp(-2 pi i k n / N).

    Not scaled: a sinusoid of amplitude 1 gives |X| = sum(w) / 2 at its bin.

    Args:
        signal: float32 or float64 (..., T).
        frame_length: N, samples per frame; any, fastest where it has small prime factors.
        hop_length: samples from one frame to the next.
        window: a name in `windows.WINDOWS`, or N values.
        padding: 'center', 'end' or 'none'; decides the number of frames (see `framing`).

    Returns:
        complex (..., frames, N // 2 + 1), lowest frequency first.

    Raises:
        ValueError: an option out of range, or a signal shorter than one frame with 'none'.
        AssertionError: `signal` has no samples or is not floating point.
    """
    frames = frame(signal, frame_length=frame_length, hop_length=hop_length, padding=padding)
    return jnp.fft.rfft(frames * _window_values(window, frame_length).astype(signal.dtype))


def istft(
    spectrum: jax.Array,
    *,
    frame_length: int,
    hop_length: int,
    num_samples: int,
    window: str | np.ndarray = "hann",
    padding: str = "center",
    exact: bool = True,
) -> jax.Array:
    """The signal whose STFT is nearest to `spectrum` in the least squares sense.

    x(n) = sum_t w(n - t hop) x_t(n - t hop) / sum_t w(n - t hop)^2 with x_t the inverse
    transforms of the frames (Griffin and Lim 1984, equation 6). For an unchanged
    `stft(x, ...)` with the same options this is x.

    Args:
        spectrum: complex (..., frames, frame_length // 2 + 1).
        frame_length, hop_length, window, padding: as for `stft`.
        num_samples: T, length of the signal.
        exact: refuse options with which `stft` does not determine every sample. False fades
            such samples (the ends, mostly) out instead of magnifying their rounding errors.

    Returns:
        float (..., T).

    Raises:
        ValueError: an option out of range, another number of frames or bins, or, with `exact`,
            options that leave a sample undetermined.
    """
    check_positive(frame_length=frame_length, hop_length=hop_length, num_samples=num_samples)
    if spectrum.ndim < 2 or spectrum.shape[-1] != frame_length // 2 + 1:
        raise ValueError(
            f"spectrum has shape {spectrum.shape}: with frame_length {frame_length} it must be "
            f"(..., frames, {frame_length // 2 + 1})"
        )
    values = _window_values(window, frame_length)
    options = dict(hop_length=hop_length, num_samples=num_samples, padding=padding)
    window_sum = _window_sum(values, **options)
    smallest = _MIN_WINDOW_SUM * window_sum.max()
    if exact and window_sum.min() < smallest:
        raise ValueError(
            f"hop_length {hop_length} and padding {padding!r} leave sample "
            f"{window_sum.argmin()} of {num_samples} outside the windows: no exact inverse; "
            "use a shorter hop or padding 'center', or exact=False"
        )
    frames = jnp.fft.irfft(spectrum, n=frame_length)
    added = overlap_add(frames * values.astype(frames.dtype), **options)
    return added / np.maximum(window_sum, smallest).astype(frames.dtype)


def power(spectrum: jax.Array) -> jax.Array:
    """|X|^2 of a complex array, of its shape."""
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def magnitude(spectrum: jax.Array) -> jax.Array:
    """|X| of a complex array, of its shape; unlike `abs` with gradient 0, not NaN, at 0.

    Magnitudes whose square underflows (below about 1e-19 in float32) are 0.
    """
    squared = power(spectrum)
    positive = squared >= jnp.finfo(squared.dtype).tiny
    # The inner `where` keeps the infinite slope of the root at 0 out of the backward pass.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def _window_values(window: str | np.ndarray, frame_length: int) -> np.ndarray:
    """float64 window values (frame_length,)."""
    if isinstance(window, str):
        return get_window(window, frame_length)
    values = np.asarray(window, np.float64)
    if values.shape != (frame_length,):
        raise ValueError(f"window has shape {values.shape}: must be ({frame_length},)")
    return values


def _window_sum(
    window: np.ndarray, *, hop_length: int, num_samples: int, padding: str
) -> np.ndarray:
    """Sum of the squared windows over every sample: float64 (num_samples,)."""
    length = len(window)
    num = num_frames(num_samples, frame_length=length, hop_length=hop_length, padding=padding)
    start = first_sample(frame_length=length, padding=padding)
    sums = np.zeros(num_samples)
    for begin in range(start, start + num * hop_length, hop_length):
        low, high = max(begin, 0), min(begin + length, num_samples)
        sums[low:high] += np.square(window[low - begin : high - begin])
    return sums
