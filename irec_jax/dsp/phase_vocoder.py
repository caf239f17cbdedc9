"""Time stretching with a phase vocoder, and playback at a different speed."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Complex, Float, Int32

from irec_jax.dsp.checks import check_positive, check_signal
from irec_jax.dsp.stft import istft, power, stft

# `change_speed` computes positions in units of 2^-16 samples, in blocks of 2^10 output samples.
# This is exact in int32, whereas n * speed in float32 is off by 0.01 samples after three seconds.
_FRACTION_BITS = 16
_BLOCK_BITS = 10
_MAX_SPEED = 4.0
_MAX_SAMPLES = 1 << 22
#: Number of taps in the interpolation kernel, and number of fractional offsets in its table.
_NUM_TAPS = 16
_NUM_OFFSETS = 1024


def time_stretch(
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    rate: Float[ArrayLike, ""],
    num_samples: int,
    frame_length: int = 2048,
    hop_length: int = 512,
    locked_bins: int = 1,
) -> Float[Array, "... {num_samples}"]:
    """Stretch a signal in time without changing its pitch.

    This is a phase vocoder (Laroche and Dolson 1999, section II, as in `librosa.phase_vocoder`):
    frame m of the result corresponds to frame m * rate of the signal. Its magnitudes are
    interpolated between the two nearest frames, and its phase advances by their phase difference.
    Sample n of the result corresponds to sample n * rate of the signal.

    In this basic form, the phases of a partial's bins drift apart, and the level of music drops by
    3 dB. The phases are therefore locked (as in section III, but without peak picking): a bin's
    phase rotation relative to the signal is averaged over neighbouring bins, weighted by magnitude.
    With locking, the level drops by less than 1 dB. The operation is not linear: the stretched sum
    of two signals only approximates the sum of the stretched signals. Onsets are smeared within a
    frame.

    Args:
        signal: one or more signals (..., T).
        rate: speed factor, above 0; values below 1 slow the signal down. May be traced.
        num_samples: length of the result; silence follows the end of the signal.
        frame_length: length of the Hann window in samples.
        hop_length: samples between successive frames, usually a quarter of the frame length.
        locked_bins: number of neighbours on either side to which each bin is locked; 0 disables
            locking, as in librosa.

    Returns:
        The stretched signal, in the dtype of the signal. For a rate of 1, it equals the signal up
        to rounding; for digital silence, it is exactly 0.
    """
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    options: dict[str, Any] = dict(frame_length=frame_length, hop_length=hop_length)
    # The scan below needs the frames on the first axis.
    frames = jnp.moveaxis(stft(signal, **options), -2, 0)
    position = jnp.arange(1 + num_samples // hop_length) * jnp.asarray(rate, signal.dtype)
    last = len(frames) - 1
    indices = jnp.minimum(position.astype(jnp.int32), last)
    next_weights = jnp.where(position <= last, position - indices, 0.0)
    weights = jnp.where(position <= last, 1.0 - next_weights, 0.0)

    def step(phasor, inputs):
        index, weight, next_weight = inputs
        frame, next_frame = frames[index], frames[jnp.minimum(index + 1, last)]
        if locked_bins:
            phasor = _unit(_sum_of_neighbours(phasor * jnp.conj(frame), locked_bins) * frame)
        magnitudes = weight * jnp.sqrt(power(frame)) + next_weight * jnp.sqrt(power(next_frame))
        return phasor * _unit(next_frame * jnp.conj(frame)), magnitudes * phasor

    _, stretched = jax.lax.scan(step, _unit(frames[0]), (indices, weights, next_weights))
    return istft(jnp.moveaxis(stretched, 0, -2), num_samples=num_samples, **options)


def _unit(spectrum: Complex[Array, "*shape"]) -> Complex[Array, "*shape"]:
    """Return a complex array divided by its magnitude; zeros become 1."""
    squared = power(spectrum)
    nonzero = squared >= jnp.finfo(squared.dtype).tiny
    return jnp.where(nonzero, spectrum * jax.lax.rsqrt(jnp.where(nonzero, squared, 1.0)), 1.0)


def _sum_of_neighbours(
    spectrum: Complex[Array, "*shape bins"], width: int
) -> Complex[Array, "*shape bins"]:
    """Return the sum of each bin and `width` bins on either side of it."""
    num_bins = spectrum.shape[-1]
    padded = jnp.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [(width, width)])
    shifted = (padded[..., i : i + num_bins] for i in range(2 * width + 1))
    return functools.reduce(jnp.add, shifted)


def change_speed(
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    speed: Float[ArrayLike, ""],
    num_samples: int,
) -> Float[Array, "... {num_samples}"]:
    """Change the playback speed of a signal, and with it the duration and the pitch.

    Sample n of the result is the signal at position n * speed, interpolated with a 16-sample
    Hann-windowed sinc; at speeds above 1, the cutoff is lowered to suppress aliasing.

    Args:
        signal: one or more signals (..., T).
        speed: speed factor from 1/4 to 4, rounded to multiples of 2^-16. May be traced; in that
            case, the range is not checked, and values outside it give noise.
        num_samples: length of the result, at most 2^22; silence follows the end of the signal.

    Returns:
        The signal at the new speed, in the dtype of the signal.
    """
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    if num_samples > _MAX_SAMPLES:
        raise ValueError(f"num_samples={num_samples}: expected at most {_MAX_SAMPLES}")
    is_traced = isinstance(speed, Tracer)
    if not is_traced and not 1 / _MAX_SPEED <= np.asarray(speed) <= _MAX_SPEED:
        raise ValueError(f"speed={speed}: expected a value between 1/4 and {_MAX_SPEED:g}")
    speed = jnp.asarray(speed, signal.dtype)
    indices, fractions = _positions(speed, num_samples)
    taps = np.arange(_NUM_TAPS) - (_NUM_TAPS // 2 - 1)
    offsets = np.arange(_NUM_OFFSETS + 1)[:, None] / _NUM_OFFSETS
    table = _kernel((taps - offsets).astype(signal.dtype), jnp.minimum(1.0, 1.0 / speed))
    weights = table[jnp.round(fractions * _NUM_OFFSETS).astype(jnp.int32)]
    # With samples on the first axis, one index reads all signals; both ends are padded with zeros.
    flat = jnp.moveaxis(signal, -1, 0).reshape(signal.shape[-1], -1)
    margin = _NUM_TAPS
    flat = jnp.pad(flat, ((margin, margin), (0, 0)))
    indices = jnp.minimum(indices, signal.shape[-1] + margin // 2 - 1) + margin
    result = jnp.zeros((num_samples, flat.shape[1]), signal.dtype)
    for column, tap in enumerate(taps):
        result += weights[:, column, None] * flat.at[indices + tap].get(mode="promise_in_bounds")
    return jnp.moveaxis(result.reshape(num_samples, *signal.shape[:-1]), 0, -1)


def _positions(
    speed: Float[Array, ""], num_samples: int
) -> tuple[Int32[Array, " {num_samples}"], Float[Array, " {num_samples}"]]:
    """Return the integer part and the fractional part of n * speed."""
    step = jnp.round(speed * (1 << _FRACTION_BITS)).astype(jnp.int32)
    block, within = np.divmod(np.arange(num_samples, dtype=np.int32), np.int32(1 << _BLOCK_BITS))
    starts = step * block  # in units of 2^(_BLOCK_BITS - _FRACTION_BITS) samples
    shift = _FRACTION_BITS - _BLOCK_BITS
    remainder = step * within + ((starts & ((1 << shift) - 1)) << _BLOCK_BITS)
    indices = (starts >> shift) + (remainder >> _FRACTION_BITS)
    fractions = remainder & ((1 << _FRACTION_BITS) - 1)
    return indices, fractions.astype(speed.dtype) / (1 << _FRACTION_BITS)


def _kernel(
    distance: Float[np.ndarray, "offsets taps"], cutoff: Float[Array, ""]
) -> Float[Array, "offsets taps"]:
    """Return the windowed sinc at the given distances in samples; each row sums to 1."""
    window = jnp.square(jnp.cos(jnp.pi * distance / _NUM_TAPS))
    inside = jnp.abs(distance) < _NUM_TAPS / 2
    values = jnp.where(inside, jnp.sinc(cutoff * distance) * window, 0.0)
    return values / values.sum(axis=1, keepdims=True)
