"""Mixdown of stems to stereo: RMS-based levels, equalisation, panning, reverberation, mastering.

All processing in `mixdown` is linear, so the finished stems add up to the mixture, except for noise
that mastering adds. Audio is float32 (T, 1) or (T, 2) at `synth.SAMPLE_RATE_HZ`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import cast

import numpy as np
import scipy.signal
from numpy.random import Generator

from data_builders.rendering import seeding
from data_builders.rendering.synth import SAMPLE_RATE_HZ

#: Length of the frames in which levels and activity are measured (50 ms).
FRAME_SAMPLES = 2205
_ACTIVE_RANGE_DB = 40.0
_SILENCE_DB = -90.0
_RUMBLE_HZ = 25.0  # the samples of some SoundFonts have a DC offset

#: Peaking filters, each given as (centre_hz, gain_db, q).
Equaliser = tuple[tuple[float, float, float], ...]


@dataclasses.dataclass(frozen=True)
class ChannelStrip:
    """Settings of one stem in the mixture.

    Attributes:
        level_db: RMS level of the active frames, relative to the other stems.
        pan: position from -1 (left) to 1 (right).
        send_db: level sent to the reverberation, relative to the direct sound.
        eq: peaking filters.
    """

    level_db: float
    pan: float
    send_db: float
    eq: Equaliser = ()


@dataclasses.dataclass(frozen=True)
class Room:
    """Settings of the reverberation.

    Attributes:
        decay_s: time to decay by 60 dB.
        predelay_s: delay before the first reflection.
        damping_hz: upper cut-off frequency of the reverberation.
        seed: seed of the impulse response and of the noise added in mastering.
    """

    decay_s: float
    predelay_s: float
    damping_hz: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Mastering:
    """Settings of the mastering.

    Attributes:
        peak_db: peak level re full scale, at most 0.
        width: stereo width from 0 (mono) to 1.
        lowpass_hz: cut-off frequency; None for no low-pass filter.
        noise_db: RMS level of added noise relative to the mixture; None for no noise.
        eq: peaking filters.
    """

    peak_db: float
    width: float = 1.0
    lowpass_hz: float | None = None
    noise_db: float | None = None
    eq: Equaliser = ()


def draw_eq(rng: Generator) -> Equaliser:
    """Draw three peaking filters at low, middle and high frequencies."""
    return tuple(
        (
            float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz)))),
            float(rng.normal(0.0, 2.5)),
            float(rng.uniform(0.5, 1.4)),
        )
        for low_hz, high_hz in ((120, 500), (600, 2000), (2500, 9000))
    )


def draw_room(
    rng: Generator,
    *,
    decay_s: tuple[float, float],
    min_damping_hz: float,
    predelay_s: tuple[float, float] = (0.005, 0.03),
) -> Room:
    """Draw a room, given (low, high) ranges of its decay time and predelay.

    The damping frequency lies between ``min_damping_hz`` and 11 kHz.
    """
    return Room(
        decay_s=float(rng.uniform(*decay_s)),
        predelay_s=float(rng.uniform(*predelay_s)),
        damping_hz=float(rng.uniform(min_damping_hz, 11_000)),
        seed=int(rng.integers(1 << 31)),
    )


def frame_levels_db(stem: np.ndarray) -> np.ndarray:
    """Return the RMS level of each 50 ms frame of a stem (T, C) in dB re full scale.

    The result is float64 (ceil(T / 2205),); the last frame may be shorter than 50 ms.
    """
    end = len(stem) // FRAME_SAMPLES * FRAME_SAMPLES
    blocks = [stem[:end].reshape(-1, FRAME_SAMPLES * stem.shape[1])]
    if end < len(stem):
        blocks.append(stem[end:].reshape(1, -1))
    powers = [np.einsum("ij,ij->i", frames, frames) / frames.shape[1] for frames in blocks]
    return 10 * np.log10(np.concatenate(powers).astype(np.float64) + 1e-20)


def active_frames(stem: np.ndarray) -> np.ndarray:
    """Return whether each 50 ms frame is active, as bool (frames,).

    Active frames are less than 40 dB below the loudest frame and above -90 dB re full scale.
    """
    return _is_active(frame_levels_db(stem))


def active_rms_db(stem: np.ndarray) -> float:
    """Return the RMS level over the active frames in dB re full scale; -inf for silence."""
    levels_db = frame_levels_db(stem)
    active = _is_active(levels_db)
    if not active.any():
        return -np.inf
    return float(10 * np.log10(np.mean(10 ** (levels_db[active] / 10))))


def activity(stem: np.ndarray, *, min_pause_s: float = 0.2) -> list[tuple[float, float]]:
    """Return the active segments of a stem as (start_s, end_s), merged across short pauses."""
    frame_s = FRAME_SAMPLES / SAMPLE_RATE_HZ
    length_s = len(stem) / SAMPLE_RATE_HZ
    segments: list[tuple[float, float]] = []
    for index in np.flatnonzero(active_frames(stem)):
        start_s, end_s = index * frame_s, min((index + 1) * frame_s, length_s)
        if segments and start_s - segments[-1][1] < min_pause_s:
            segments[-1] = (segments[-1][0], end_s)
        else:
            segments.append((start_s, end_s))
    return [(round(start_s, 3), round(end_s, 3)) for start_s, end_s in segments]


def mixdown(
    stems: dict[str, np.ndarray],
    strips: dict[str, ChannelStrip],
    room: Room,
    mastering: Mastering,
    *,
    start_samples: int = 0,
    keep_stems: bool = False,
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mix stems to stereo.

    Args:
        stems: name -> float32 (T, 1) or (T, 2); silent stems are left out.
        strips: name -> settings of the stem.
        room: reverberation of all stems.
        mastering: processing of the mixture.
        start_samples: first sample of the result. Levels are measured from this sample on;
            earlier sound is audible only through its reverberation.
        keep_stems: if True, also return the finished stems (takes longer).

    Returns:
        The mixture, float32 (T - start_samples, 2); name -> direct sound at its level in the
        mixture; and, with ``keep_stems``, name -> finished stem with reverberation (otherwise an
        empty dict). The finished stems add up to the mixture without the noise.

    Raises:
        ValueError: if all stems are silent.
    """
    balanced = {
        name: apply_strip(stem, strips[name], start_samples=start_samples)
        for name, stem in stems.items()
    }
    direct = {name: stem for name, stem in balanced.items() if stem is not None}
    if not direct:
        raise ValueError("stems: all are silent; pass at least one audible stem")
    response = impulse_response(room)

    def send(name: str) -> np.ndarray:
        return direct[name] * np.float32(_gain(strips[name].send_db))

    dry, wet = sum(direct.values()), sum(map(send, direct))
    mixture = _master(dry, wet, response, mastering, start_samples)
    if mastering.noise_db is not None:
        noise = seeding.generator("hiss", room.seed).standard_normal(mixture.shape, np.float32)
        rms = np.sqrt(np.mean(np.square(mixture)))
        mixture = mixture + noise * (rms * _gain(mastering.noise_db)).astype(np.float32)
    gain = np.float32(_gain(min(mastering.peak_db, 0.0)) / max(np.abs(mixture).max(), 1e-9))
    finished = {
        name: _master(stem, send(name), response, mastering, start_samples) * gain
        for name, stem in (direct if keep_stems else {}).items()
    }
    for stem in direct.values():
        stem *= gain  # in place, since long pieces take hundreds of megabytes
    return mixture * gain, {k: v[start_samples:] for k, v in direct.items()}, finished


@functools.lru_cache(maxsize=2)
def impulse_response(room: Room) -> np.ndarray:
    """Synthesise a room impulse response, float32 (N, 2).

    It consists of early reflections and decaying noise; the mean energy per channel is 1.
    """
    rng = seeding.generator("room", room.seed)
    num_samples = int(room.decay_s * SAMPLE_RATE_HZ)
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    tail = rng.standard_normal((num_samples, 2)) * 10 ** (-3.0 * time_s / room.decay_s)[:, None]
    # High frequencies decay faster: fade from a bright to a dull copy.
    dull = _sosfilt(_lowpass(room.damping_hz / 3, 1), tail)
    bright = _sosfilt(_lowpass(room.damping_hz, 2), tail)
    fade = np.exp(-time_s / (0.25 * room.decay_s))[:, None]
    tail = bright * fade + dull * (1 - fade)
    for _ in range(8):
        delay = int(rng.integers(1, max(2, min(num_samples, int(0.06 * SAMPLE_RATE_HZ)))))
        tail[delay, int(rng.integers(2))] += rng.choice((-1, 1)) * 4 * np.exp(-delay / 1500)
    tail /= np.sqrt(np.square(tail).sum() / 2)
    predelay = np.zeros((int(room.predelay_s * SAMPLE_RATE_HZ), 2))
    return np.concatenate([predelay, tail]).astype(np.float32)


def apply_strip(
    stem: np.ndarray, strip: ChannelStrip, *, start_samples: int = 0
) -> np.ndarray | None:
    """Equalise and pan a stem and set its level, measured from ``start_samples`` on.

    Return float32 (T, 2), or None if the stem is silent.
    """
    # Equal-power panning; the channels of a stereo stem are scaled by the same gains.
    angle = (strip.pan + 1) * np.pi / 4
    channel_gains = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    highpass = _butterworth(2, _RUMBLE_HZ, "high")
    filtered = _filter(np.concatenate([highpass, _peaking(strip.eq)]), stem)
    panned = filtered * channel_gains.astype(np.float32)
    level_db = active_rms_db(panned[start_samples:])
    if not np.isfinite(level_db):
        return None
    return panned * np.float32(_gain(strip.level_db - level_db))


def equalise(audio: np.ndarray, eq: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Apply peaking filters, given as (centre_hz, gain_db, q), to audio, float32 (T, C)."""
    return _filter(_peaking(eq), audio)


def lowpass(audio: np.ndarray, cutoff_hz: float, order: int) -> np.ndarray:
    """Apply a Butterworth low-pass filter to audio, float32 (T, C)."""
    return _filter(_lowpass(cutoff_hz, order), audio)


def compress(stem: np.ndarray, *, threshold_db: float, ratio: float) -> np.ndarray:
    """Compress the dynamic range of a stem, float32 (T, C), with one gain for all channels.

    Args:
        threshold_db: threshold relative to the RMS level of the active frames.
        ratio: compression ratio above the threshold; 1 leaves the stem unchanged.
    """
    block = 64
    num_blocks = -(-len(stem) // block)
    powers = np.zeros(num_blocks * block, np.float64)
    powers[: len(stem)] = np.mean(np.square(stem), axis=1)
    levels_db = 10 * np.log10(powers.reshape(num_blocks, block).max(axis=1) + 1e-20)
    over_db = np.maximum(levels_db - (active_rms_db(stem) + threshold_db), 0.0)
    # Look ahead by one block; release with a time constant of about 60 ms.
    over_db = np.maximum(over_db, np.append(over_db[1:], 0.0))
    envelope_db, current_db = np.empty(num_blocks), 0.0
    for index, value in enumerate(over_db.tolist()):
        current_db = max(value, current_db * 0.976)
        envelope_db[index] = current_db
    gains = 10 ** (-envelope_db * (1 - 1 / ratio) / 20)
    centres = (np.arange(num_blocks) + 0.5) * block
    return stem * np.interp(np.arange(len(stem)), centres, gains).astype(np.float32)[:, None]


def _is_active(levels_db: np.ndarray) -> np.ndarray:
    return (levels_db > levels_db.max() - _ACTIVE_RANGE_DB) & (levels_db > _SILENCE_DB)


def _master(dry, send, response, mastering: Mastering, start_samples: int) -> np.ndarray:
    """Add the reverberation, then apply filters and stereo width (all linear)."""
    wet = scipy.signal.oaconvolve(send, response, axes=0)[: len(dry)]
    sections = _peaking(mastering.eq)
    if mastering.lowpass_hz is not None:
        sections = np.concatenate([sections, _lowpass(mastering.lowpass_hz, 4)])
    stereo = _filter(sections, dry + wet)
    mid = 0.5 * (stereo[:, :1] + stereo[:, 1:])
    return (mid + np.float32(mastering.width) * (stereo - mid))[start_samples:]


def _filter(sections: np.ndarray, audio: np.ndarray) -> np.ndarray:
    if not len(sections):
        return audio
    return _sosfilt(sections, audio).astype(np.float32)


def _sosfilt(sections: np.ndarray, audio: np.ndarray) -> np.ndarray:
    # The annotated return type also covers calls with `zi`, which is not used here.
    return cast(np.ndarray, scipy.signal.sosfilt(sections, audio, axis=0))


def _peaking(eq: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Return second-order sections of peaking filters, designed with the bilinear transform."""
    sections = np.zeros((len(eq), 6))
    for section, (centre_hz, gain_db, q) in zip(sections, eq, strict=True):
        amplitude = 10 ** (gain_db / 40)
        omega = 2 * np.pi * centre_hz / SAMPLE_RATE_HZ
        alpha = np.sin(omega) / (2 * q)
        section[:3] = 1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude
        section[3:] = 1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude
        section /= section[3]
    return sections


def _lowpass(cutoff_hz: float, order: int) -> np.ndarray:
    return _butterworth(order, min(cutoff_hz, 20_000.0), "low")


def _butterworth(order: int, cutoff_hz: float, kind: str) -> np.ndarray:
    sections = scipy.signal.butter(order, cutoff_hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
    return cast(np.ndarray, sections)  # the type depends on `output`


def _gain(level_db: float) -> float:
    """Convert a level in dB to a linear gain."""
    return float(10 ** (level_db / 20))
