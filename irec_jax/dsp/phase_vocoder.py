"""Time and pitch of sound changed apart from each other: a phase vocoder, and a change of speed."""

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp.checks import check_positive, check_signal
from irec_jax.dsp.stft import istft, power, stft

# `change_speed` counts positions in 2^-16 samples, in blocks of 2^10 samples of the result: exact
# in int32, where n * speed in float32 would be a hundredth of a sample off after three seconds.
_FRACTION_BITS = 16
_BLOCK_BITS = 10
_MAX_SPEED = 4.0
_MAX_SAMPLES = 1 << 22
#: Taps of its kernel, and places between two samples for which the kernel is tabulated.
_NUM_TAPS = 16
_NUM_PLACES = 1024


def time_stretch(
    signal: jax.Array,
    *,
    rate: jax.Array | float,
    num_samples: int,
    frame_length: int = 2048,
    hop_length: int = 512,
    locked_bins: int = 1,
) -> jax.Array:
    """Sound that goes on at another rate and keeps its pitch.

    A phase vocoder (Laroche and Dolson 1999, section II, as `librosa.phase_vocoder`): frame m of
    the result lies at frame m * rate of the signal. Its magnitudes are interpolated between the two
    frames there, and from one frame of the result to the next a bin's phase goes on by as much as
    between those two. Sample n of the result then shows sample n * rate of the signal.

    So the bins of a partial drift apart, and music loses 3 dB. Phases are locked for that reason
    (as in section III, without looking for peaks): how far a bin's phase is turned against that
    of the signal's frame is averaged over its neighbours, weighted by magnitude, and music loses
    less than 1 dB. Not linear: the stretched sum of two sounds is only about the sum of the
    stretched ones. Onsets are smeared within a frame.

    Args:
        signal: floats (..., T).
        rate: above 0, scalar; less than 1 slows down. May be traced.
        num_samples: length of the result, in which what follows the signal's end is silence.
        frame_length, hop_length: of the Hann windows; a quarter for the hop is common.
        locked_bins: neighbours on either side that a bin is locked to; 0 is librosa's way.

    Returns:
        (..., num_samples), of the signal's dtype; with rate 1 the signal itself but for rounding,
        and exactly 0 where the signal is 0 throughout.

    Raises:
        ValueError: an option out of range.
        AssertionError: `signal` has no samples or is not floating point.
    """
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    options = dict(frame_length=frame_length, hop_length=hop_length)
    # Frames first: what follows goes through them one by one.
    frames = jnp.moveaxis(stft(signal, **options), -2, 0)
    position = jnp.arange(1 + num_samples // hop_length) * jnp.asarray(rate, signal.dtype)
    last = len(frames) - 1
    first = jnp.minimum(position.astype(jnp.int32), last)
    later = jnp.where(position <= last, position - first, 0.0)
    earlier = jnp.where(position <= last, 1.0 - later, 0.0)

    def step(phasor, place):
        index, earlier, later = place
        one, other = frames[index], frames[jnp.minimum(index + 1, last)]
        if locked_bins:
            phasor = _unit(_sum_of_neighbours(phasor * jnp.conj(one), locked_bins) * one)
        magnitudes = earlier * jnp.sqrt(power(one)) + later * jnp.sqrt(power(other))
        return phasor * _unit(other * jnp.conj(one)), magnitudes * phasor

    _, stretched = jax.lax.scan(step, _unit(frames[0]), (first, earlier, later))
    return istft(jnp.moveaxis(stretched, 0, -2), num_samples=num_samples, **options)


def _unit(spectrum: jax.Array) -> jax.Array:
    """A complex array divided by its magnitude; 1 where that is 0."""
    squared = power(spectrum)
    known = squared >= jnp.finfo(squared.dtype).tiny
    return jnp.where(known, spectrum * jax.lax.rsqrt(jnp.where(known, squared, 1.0)), 1.0)


def _sum_of_neighbours(spectrum: jax.Array, width: int) -> jax.Array:
    """Each bin (..., F) and `width` bins on either side of it, added up."""
    num_bins = spectrum.shape[-1]
    padded = jnp.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [(width, width)])
    return sum(padded[..., i : i + num_bins] for i in range(2 * width + 1))


def change_speed(signal: jax.Array, *, speed: jax.Array | float, num_samples: int) -> jax.Array:
    """A recording that is played faster or slower, so that its pitch changes with its duration.

    Sample n of the result is the signal at n * speed, interpolated with a sinc under a Hann window
    of 16 samples; at speeds above 1 its cutoff falls, so that little is folded back.

    Args:
        signal: floats (..., T).
        speed: 1/4 to 4, scalar, rounded to a 65,536th. May be traced; what lies outside is not
            checked then and gives noise.
        num_samples: length of the result, 2^22 at most; before and after the signal is silence.

    Returns:
        (..., num_samples), of the signal's dtype.

    Raises:
        ValueError: `num_samples` or a `speed` that is known out of range.
        AssertionError: `signal` has no samples or is not floating point.
    """
    check_signal("signal", signal)
    check_positive(num_samples=num_samples)
    if num_samples > _MAX_SAMPLES:
        raise ValueError(f"num_samples is {num_samples}: must be {_MAX_SAMPLES} at most")
    if not isinstance(speed, jax.core.Tracer) and not 1 / _MAX_SPEED <= speed <= _MAX_SPEED:
        raise ValueError(f"speed is {speed}: must lie between 1/4 and {_MAX_SPEED:g}")
    speed = jnp.asarray(speed, signal.dtype)
    whole, fraction = _positions(speed, num_samples)
    taps = np.arange(_NUM_TAPS) - (_NUM_TAPS // 2 - 1)
    places = np.arange(_NUM_PLACES + 1)[:, None] / _NUM_PLACES
    table = _kernel((taps - places).astype(signal.dtype), jnp.minimum(1.0, 1.0 / speed))
    weights = table[jnp.round(fraction * _NUM_PLACES).astype(jnp.int32)]
    # Samples first, so that one index reads all signals. Outside of the signal it reads zeros.
    flat = jnp.moveaxis(signal, -1, 0).reshape(signal.shape[-1], -1)
    margin = _NUM_TAPS
    flat = jnp.pad(flat, ((margin, margin), (0, 0)))
    whole = jnp.minimum(whole, signal.shape[-1] + margin // 2 - 1) + margin
    result = jnp.zeros((num_samples, flat.shape[1]), signal.dtype)
    for column, tap in enumerate(taps):
        result += weights[:, column, None] * flat.at[whole + tap].get(mode="promise_in_bounds")
    return jnp.moveaxis(result.reshape(num_samples, *signal.shape[:-1]), 0, -1)


def _positions(speed: jax.Array, num_samples: int) -> tuple[jax.Array, jax.Array]:
    """n * speed as whole samples, int32 (num_samples,), and what is beyond them, 0..1."""
    fine = jnp.round(speed * (1 << _FRACTION_BITS)).astype(jnp.int32)
    block, within = np.divmod(np.arange(num_samples, dtype=np.int32), np.int32(1 << _BLOCK_BITS))
    starts = block * fine  # in 2^(_BLOCK_BITS - _FRACTION_BITS) samples
    shift = _FRACTION_BITS - _BLOCK_BITS
    rest = within * fine + ((starts & ((1 << shift) - 1)) << _BLOCK_BITS)
    whole = (starts >> shift) + (rest >> _FRACTION_BITS)
    fraction = rest & ((1 << _FRACTION_BITS) - 1)
    return whole, fraction.astype(speed.dtype) / (1 << _FRACTION_BITS)


def _kernel(distance: jax.Array, cutoff: jax.Array) -> jax.Array:
    """Windowed sinc at distances (places, taps) in samples, each row adding up to 1."""
    window = jnp.square(jnp.cos(jnp.pi * distance / _NUM_TAPS))
    inside = jnp.abs(distance) < _NUM_TAPS / 2
    values = jnp.where(inside, jnp.sinc(cutoff * distance) * window, 0.0)
    return values / values.sum(axis=1, keepdims=True)
