"""Random recording conditions: filters, room, noise, speed, distortion and compression."""

import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray

#: Equaliser frequencies in Hz; gains are interpolated between them on a logarithmic frequency axis.
EQUALISER_HZ = (60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
#: Number of points at which gains are computed on a log-frequency axis, and the axis's lowest
#: frequency.
_NUM_GAINS, _LOWEST_HZ = 48, 20.0
#: Room response length in seconds.
ROOM_S = 0.5
_DECAY_S, _WET_DB = (0.08, 0.8), (-25.0, 3.0)
_LOW_PASS_HZ, _HIGH_PASS_HZ = (2500.0, 10_000.0), (40.0, 350.0)
_DRIVE = (0.5, 8.0)
#: Dynamic range compression: frame length for measuring the level, in seconds; range of thresholds
#: relative to the loudest frame; and range of ratios.
_LEVEL_S, _THRESHOLD_DB, _RATIO = 0.02, (-40.0, -10.0), (2.0, 8.0)
#: Level of the weakest noise in dB relative to the RMS of the clip.
QUIETEST_DB = -60.0


def convolve(
    key: PRNGKeyArray,
    waveform: Float[Array, " samples"],
    *,
    sample_rate_hz: float,
    equaliser_db: float = 0.0,
    band_limit: float = 0.0,
    room: float = 0.0,
    noise_db: float | None = None,
) -> Float[Array, " samples"]:
    """Return a waveform as if recorded by another microphone in another room.

    All filters are applied together in the frequency domain.

    Args:
        key: random key.
        waveform: input waveform.
        sample_rate_hz: sample rate of the waveform.
        equaliser_db: largest gain in dB; the gains at `EQUALISER_HZ` are drawn uniformly from
            -equaliser_db..equaliser_db.
        band_limit: probability of a low-pass filter with a cut-off between 2.5 and 10 kHz and,
            independently, of a high-pass filter with a cut-off between 40 and 350 Hz.
        room: probability of a synthetic room: direct sound plus exponentially decaying noise with a
            reverberation time of 0.08 to 0.8 s and a level of -25 to 3 dB relative to the direct
            sound.
        noise_db: level of the strongest noise in dB relative to the RMS of the clip. Half of the
            clips get noise with a level between -60 dB and `noise_db` and a random spectral slope.
            None for no noise.
    """
    keys = jax.random.split(key, 5)
    num_samples = waveform.shape[-1]
    length = num_samples + math.ceil(ROOM_S * sample_rate_hz)
    size = cast(int, scipy.fft.next_fast_len(length, real=True))
    spectrum = jnp.fft.rfft(waveform, n=size)
    frequencies_hz = np.fft.rfftfreq(size, 1.0 / sample_rate_hz).astype(np.float32)
    log_hz = np.log(np.maximum(frequencies_hz, 1.0))
    if equaliser_db or band_limit:
        # The gains are smooth: compute them at a few frequencies and interpolate.
        grid = np.linspace(np.log(_LOWEST_HZ), np.log(sample_rate_hz / 2), _NUM_GAINS)
        log_gains = jnp.zeros(_NUM_GAINS)
        if equaliser_db:
            log_gains += _equaliser(keys[0], grid, equaliser_db)
        if band_limit:
            log_gains += _band_limit(keys[1], grid, band_limit)
        spectrum = spectrum * jnp.exp(log_gains @ _interpolation(grid, log_hz))
    if room:
        response = _room(keys[2], size, sample_rate_hz, room)
        spectrum = spectrum * jnp.fft.rfft(response)
    if noise_db is not None:
        rms = jnp.sqrt(jnp.mean(jnp.square(waveform)))
        spectrum = spectrum + rms * _noise(keys[3], log_hz, size, noise_db)
    return jnp.fft.irfft(spectrum, n=size)[:num_samples].astype(waveform.dtype)


def distort(
    key: PRNGKeyArray, waveform: Float[Array, " samples"], *, probability: float
) -> Float[Array, " samples"]:
    """Apply a saturation curve to a waveform with the given probability.

    y = peak tanh(d x / peak) / tanh(d), with a drive d from 0.5 to 8.
    """
    use_key, drive_key = jax.random.split(key)
    drive = jnp.exp(_log_uniform(drive_key, _DRIVE))
    peak = _peak(waveform)
    distorted = peak * jnp.tanh(drive * waveform / peak) / jnp.tanh(drive)
    return jnp.where(jax.random.bernoulli(use_key, probability), distorted, waveform)


def compress(
    key: PRNGKeyArray,
    waveform: Float[Array, " samples"],
    *,
    sample_rate_hz: float,
    probability: float,
) -> Float[Array, " samples"]:
    """Compress the dynamic range of a waveform with the given probability.

    The threshold is drawn from -40 to -10 dB relative to the loudest frame, the ratio from 2 to 8;
    see `compress_range`.
    """
    use_key, threshold_key, ratio_key = jax.random.split(key, 3)
    low, high = _THRESHOLD_DB
    compressed = compress_range(
        waveform,
        threshold_db=jax.random.uniform(threshold_key, minval=low, maxval=high),
        ratio=jnp.exp(_log_uniform(ratio_key, _RATIO)),
        frame_length=max(1, round(_LEVEL_S * sample_rate_hz)),
    )
    return jnp.where(jax.random.bernoulli(use_key, probability), compressed, waveform)


def compress_range(
    waveform: Float[Array, " samples"],
    *,
    threshold_db: Float[ArrayLike, ""],
    ratio: Float[ArrayLike, ""],
    frame_length: int,
) -> Float[Array, " samples"]:
    """Compress the dynamic range of a waveform, keeping its peak.

    The level is the RMS of non-overlapping frames, in dB relative to the loudest frame. Where it
    exceeds the threshold, the excess is divided by the ratio. The gain in dB is interpolated
    linearly between frame centres.

    Args:
        waveform: input waveform.
        threshold_db: threshold in dB, below 0.
        ratio: compression ratio, 1 or more.
        frame_length: number of samples per frame.
    """
    num_samples = waveform.shape[-1]
    num_frames = -(-num_samples // frame_length)
    padded = jnp.pad(waveform, (0, num_frames * frame_length - num_samples))
    power = jnp.mean(jnp.square(padded.reshape(num_frames, frame_length)), axis=1)
    levels_db = 10.0 * jnp.log10(jnp.maximum(power, 1e-20) / jnp.maximum(power.max(), 1e-20))
    gains_db = jnp.maximum(levels_db - threshold_db, 0.0) * (1.0 / ratio - 1.0)
    position = (np.arange(num_samples) - (frame_length - 1) / 2) / frame_length
    position = np.clip(position, 0, num_frames - 1)
    before = np.floor(position).astype(np.int32)
    after = np.minimum(before + 1, num_frames - 1)
    fraction = (position - before).astype(np.float32)
    gains_db = gains_db[before] * (1 - fraction) + gains_db[after] * fraction
    compressed = waveform * 10.0 ** (gains_db / 20.0)
    return compressed * _peak(waveform) / _peak(compressed)


def _peak(waveform: Float[Array, " samples"]) -> Float[Array, ""]:
    return jnp.maximum(jnp.abs(waveform).max(), 1e-9)


def change_speed(
    key: PRNGKeyArray, waveform: Float[Array, " samples"], *, semitones: float
) -> Float[Array, " samples"]:
    """Play a waveform faster or slower by up to `semitones`, which also shifts pitch and timbre.

    Samples are interpolated linearly. If played faster, the waveform is looped to fill its original
    length.
    """
    shift = jax.random.uniform(key, minval=-semitones, maxval=semitones)
    num_samples = waveform.shape[-1]
    positions = jnp.arange(num_samples) * 2.0 ** (shift / 12.0)
    whole = jnp.floor(positions)
    index = whole.astype(jnp.int32)
    first, second = index % num_samples, (index + 1) % num_samples
    fraction = positions - whole
    return waveform[first] * (1.0 - fraction) + waveform[second] * fraction


def _interpolation(
    grid: Float[np.ndarray, " points"], positions: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, "points bins"]:
    """Return linear interpolation weights; the first and last values are kept beyond the grid.

    On CPUs, multiplying by this matrix is much faster than indexing the gains.
    """
    distances = np.abs(np.clip(positions, grid[0], grid[-1]) - grid[:, None])
    return np.maximum(0.0, 1.0 - distances / (grid[1] - grid[0])).astype(np.float32)


def _equaliser(
    key: PRNGKeyArray, log_hz: Float[np.ndarray, " points"], range_db: float
) -> Float[Array, " points"]:
    """Return the log gains of a random equaliser."""
    bands = np.log(EQUALISER_HZ)
    gains_db = jax.random.uniform(key, bands.shape, minval=-range_db, maxval=range_db)
    return jnp.interp(log_hz, bands, gains_db) * (np.log(10.0) / 20.0)


def _band_limit(
    key: PRNGKeyArray, log_hz: Float[np.ndarray, " points"], probability: float
) -> Float[Array, " points"]:
    """Return the log gains of random fourth-order low-pass and high-pass filters."""
    low_key, high_key, use_key = jax.random.split(key, 3)
    use = jax.random.bernoulli(use_key, probability, (2,))
    low, high = _log_uniform(low_key, _LOW_PASS_HZ), _log_uniform(high_key, _HIGH_PASS_HZ)
    # |H|^2 of a Butterworth filter of order n is 1 / (1 + (f / f_c)^(2n)).
    low_pass = -0.5 * jnp.log1p(jnp.exp(8.0 * (log_hz - low)))
    high_pass = -0.5 * jnp.log1p(jnp.exp(8.0 * (high - log_hz)))
    return jnp.where(use[0], low_pass, 0.0) + jnp.where(use[1], high_pass, 0.0)


def _room(
    key: PRNGKeyArray, size: int, sample_rate_hz: float, probability: float
) -> Float[Array, " {size}"]:
    """Return a room response: a unit impulse and, with the given probability, decaying noise."""
    use_key, decay_key, level_key, noise_key = jax.random.split(key, 4)
    length = math.ceil(ROOM_S * sample_rate_hz)
    decay_s = jnp.exp(_log_uniform(decay_key, _DECAY_S))
    level_db = jax.random.uniform(level_key, minval=_WET_DB[0], maxval=_WET_DB[1])
    times_s = np.arange(length, dtype=np.float32) / np.float32(sample_rate_hz)
    tail = jax.random.normal(noise_key, (length,)) * 10.0 ** (-3.0 * times_s / decay_s)
    tail = tail * jax.lax.rsqrt(jnp.sum(jnp.square(tail))) * 10.0 ** (level_db / 20.0)
    tail = tail * jax.random.bernoulli(use_key, probability)
    return jnp.zeros(size).at[:length].set(tail).at[0].add(1.0)


def _noise(
    key: PRNGKeyArray, log_hz: Float[np.ndarray, " bins"], size: int, strongest_db: float
) -> Array:
    """Return a noise spectrum for a waveform with an RMS of 1; in half of the cases it is zero."""
    use_key, level_key, slope_key, phase_key = jax.random.split(key, 4)
    level_db = jax.random.uniform(level_key, minval=QUIETEST_DB, maxval=strongest_db)
    slope = jax.random.uniform(slope_key, minval=-1.0, maxval=0.2)
    magnitudes = jnp.exp(slope * np.maximum(log_hz, np.log(50.0)))
    power = jnp.sum(jnp.square(magnitudes)) * (2.0 / float(size) ** 2)
    magnitudes = magnitudes * jax.lax.rsqrt(power) * 10.0 ** (level_db / 20.0)
    # Phases of 45, 135, 225 or 315 degrees need no sine or cosine. Each sample is the sum of
    # thousands of components, so the noise is still Gaussian.
    bits = jax.random.bits(phase_key, log_hz.shape)
    parts = [jnp.where((bits >> position) & 1, np.sqrt(0.5), -np.sqrt(0.5)) for position in (0, 1)]
    use = jax.random.bernoulli(use_key)
    return use * magnitudes * jax.lax.complex(parts[0], parts[1])


def _log_uniform(key: PRNGKeyArray, bounds: tuple[float, float]) -> Float[Array, ""]:
    """Return the logarithm of a log-uniformly distributed number."""
    low, high = np.log(bounds)
    return jax.random.uniform(key, minval=low, maxval=high)
