"""Short-time Fourier transform (STFT), its inverse, and spectral power and magnitude."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float, Float64

from irec_jax.dsp.checks import check_positive
from irec_jax.dsp.framing import first_sample, frame, num_frames, overlap_add
from irec_jax.dsp.window_functions import get_window

# A sample cannot be recovered in float32 if the sum of the squared windows at that sample is below
# this fraction of the largest sum, because dividing by it would magnify rounding errors.
_MIN_WINDOW_SUM = 1e-3


def stft(
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    frame_length: int,
    hop_length: int,
    window: str | Float[np.ndarray, " window"] = "hann",
    padding: str = "center",
) -> Complex[Array, "... frames {frame_length//2+1}"]:
    """Return the STFT: X(t, k) = sum_n w(n) x(t hop + n) exp(-2 pi i k n / N).

    The STFT is not scaled: a sinusoid of amplitude 1 gives |X| = sum(w) / 2 at its bin.

    Args:
        signal: float32 or float64.
        frame_length: N, samples per frame; fastest for integers with small prime factors.
        hop_length: samples between successive frames.
        window: a name in `window_functions.WINDOWS`, or N values.
        padding: 'center', 'end' or 'none'; determines the number of frames (see `framing`).

    Returns:
        The spectrum of each frame, lowest frequency first.

    Raises:
        ValueError: if the signal is shorter than one frame and the padding is 'none'.
    """
    frames = frame(signal, frame_length=frame_length, hop_length=hop_length, padding=padding)
    return jnp.fft.rfft(frames * _window_values(window, frame_length).astype(signal.dtype))


def istft(
    spectrum: Complex[Array | np.ndarray, "... frames bins"],
    *,
    frame_length: int,
    hop_length: int,
    num_samples: int,
    window: str | Float[np.ndarray, " window"] = "hann",
    padding: str = "center",
    exact: bool = True,
) -> Float[Array, "... {num_samples}"]:
    """Return the signal whose STFT is closest to `spectrum` in the least-squares sense.

    x(n) = sum_t w(n - t hop) x_t(n - t hop) / sum_t w(n - t hop)^2, where x_t is the inverse
    transform of frame t (Griffin and Lim 1984, equation 6). This inverts `stft` with the same
    options.

    Args:
        spectrum: frame_length // 2 + 1 bins of each frame, lowest frequency first.
        frame_length, hop_length, window, padding: as for `stft`.
        num_samples: T, length of the signal.
        exact: raise an error if `stft` with these options does not determine every sample. If
            False, undetermined samples (mostly at the ends) are attenuated, so that rounding errors
            are not magnified.

    Returns:
        The signal.

    Raises:
        ValueError: if the number of frames or bins is wrong or, with `exact`, the options do not
            determine every sample.
    """
    check_positive(frame_length=frame_length, hop_length=hop_length, num_samples=num_samples)
    if spectrum.ndim < 2 or spectrum.shape[-1] != frame_length // 2 + 1:
        raise ValueError(
            f"spectrum: expected shape (..., frames, {frame_length // 2 + 1}) for "
            f"frame_length={frame_length}, got {spectrum.shape}"
        )
    values = _window_values(window, frame_length)
    options: dict[str, Any] = dict(hop_length=hop_length, num_samples=num_samples, padding=padding)
    window_sum = _window_sum(values, **options)
    smallest = _MIN_WINDOW_SUM * window_sum.max()
    if exact and window_sum.min() < smallest:
        raise ValueError(
            f"hop_length={hop_length} and padding={padding!r}: sample {window_sum.argmin()} of "
            f"{num_samples} is outside all windows, so there is no exact inverse; use a shorter "
            "hop, padding 'center' or exact=False"
        )
    frames = jnp.fft.irfft(spectrum, n=frame_length)
    weighted_sum = overlap_add(frames * values.astype(frames.dtype), **options)
    return weighted_sum / np.maximum(window_sum, smallest).astype(frames.dtype)


def power(spectrum: Complex[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    """Return |X|^2 for a complex array X."""
    return jnp.square(jnp.real(spectrum)) + jnp.square(jnp.imag(spectrum))


def magnitude(spectrum: Complex[Array | np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    """Return |X| for a complex array X; the gradient at 0 is 0, not NaN as with `abs`.

    Magnitudes whose squares underflow (below about 1e-19 in float32) are 0.
    """
    squared = power(spectrum)
    positive = squared >= jnp.finfo(squared.dtype).tiny
    # The inner `where` excludes the infinite derivative of the root at 0 from the backward pass.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def _window_values(
    window: str | np.ndarray, frame_length: int
) -> Float64[np.ndarray, " {frame_length}"]:
    """Return a window's values, given its name or the values themselves."""
    if isinstance(window, str):
        return get_window(window, frame_length)
    values = np.asarray(window, np.float64)
    if values.shape != (frame_length,):
        raise ValueError(f"window: expected shape ({frame_length},), got {values.shape}")
    return values


def _window_sum(
    window: np.ndarray, *, hop_length: int, num_samples: int, padding: str
) -> Float64[np.ndarray, " {num_samples}"]:
    """Return the sum of the squared windows at each sample."""
    length = len(window)
    num = num_frames(num_samples, frame_length=length, hop_length=hop_length, padding=padding)
    start = first_sample(frame_length=length, padding=padding)
    sums = np.zeros(num_samples)
    for begin in range(start, start + num * hop_length, hop_length):
        low, high = max(begin, 0), min(begin + length, num_samples)
        sums[low:high] += np.square(window[low - begin : high - begin])
    return sums
