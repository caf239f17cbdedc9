"""Stems to a stereo mixture: levels by RMS, equaliser, panning, reverberation, tape and loudness.

Everything is linear, so that the finished stems add up to the mixture (but for the noise of the
medium). Audio is float32 (T, 1) or (T, 2) at `synth.SAMPLE_RATE_HZ`.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import scipy.signal

from data_builders.rendering import seeding
from data_builders.rendering.synth import SAMPLE_RATE_HZ

FRAME_SAMPLES = 2205  # 50 ms: levels and activity are measured in frames of this length
_ACTIVE_RANGE_DB = 40.0
_SILENCE_DB = -90.0
_RUMBLE_HZ = 25.0  # samples of some SoundFonts are not free of direct current


@dataclasses.dataclass(frozen=True)
class ChannelStrip:
    """How one stem is mixed.

    ``level_db`` is the RMS of its active part relative to the other stems; ``pan`` -1 (left) to 1;
    ``send_db`` its level in the room relative to its direct sound; ``eq`` has (centre_hz, gain_db,
    q) of peaking filters.
    """

    level_db: float
    pan: float
    send_db: float
    eq: tuple[tuple[float, float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Room:
    """Reverberation: time to decay by 60 dB, delay before it, upper edge, and a seed of its own."""

    decay_s: float
    predelay_s: float
    damping_hz: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Mastering:
    """What recording and release do to the whole.

    ``peak_db`` re full scale, at most 0; ``width`` 0 (mono) to 1; ``lowpass_hz`` and ``noise_db``
    (RMS re the mixture's) or None; ``eq`` as in `Strip`.
    """

    peak_db: float
    width: float = 1.0
    lowpass_hz: float | None = None
    noise_db: float | None = None
    eq: tuple[tuple[float, float, float], ...] = ()


def frame_levels_db(stem: np.ndarray) -> np.ndarray:
    """RMS level of each 50 ms frame of a stem (T, C): (ceil(T / 2205),), in dB re full scale."""
    whole = len(stem) // FRAME_SAMPLES * FRAME_SAMPLES
    frames = [stem[:whole].reshape(-1, FRAME_SAMPLES * stem.shape[1])]
    if whole < len(stem):
        frames.append(stem[whole:].reshape(1, -1))
    powers = [np.einsum("ij,ij->i", one, one) / one.shape[1] for one in frames]
    return 10 * np.log10(np.concatenate(powers).astype(np.float64) + 1e-20)


def active_frames(stem: np.ndarray) -> np.ndarray:
    """Which 50 ms frames lie within 40 dB of the loudest one: bool (frames,)."""
    return _active(frame_levels_db(stem))


def active_rms_db(stem: np.ndarray) -> float:
    """RMS level over the active frames of a stem, in dB re full scale; -inf when it is silent."""
    levels_db = frame_levels_db(stem)
    active = _active(levels_db)
    if not active.any():
        return -np.inf
    return float(10 * np.log10(np.mean(10 ** (levels_db[active] / 10))))


def activity(stem: np.ndarray, *, min_pause_s: float = 0.2) -> list[tuple[float, float]]:
    """When a stem sounds: (start_s, end_s) in order; shorter pauses do not count."""
    frame_s = FRAME_SAMPLES / SAMPLE_RATE_HZ
    length_s = len(stem) / SAMPLE_RATE_HZ
    spans: list[tuple[float, float]] = []
    for index in np.flatnonzero(active_frames(stem)):
        start_s, end_s = index * frame_s, min((index + 1) * frame_s, length_s)
        if spans and start_s - spans[-1][1] < min_pause_s:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    return [(round(start_s, 3), round(end_s, 3)) for start_s, end_s in spans]


def mixdown(
    stems: dict[str, np.ndarray],
    strips: dict[str, ChannelStrip],
    room: Room,
    medium: Mastering,
    *,
    start_samples: int = 0,
    keep_stems: bool = False,
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mixes stems.

    Args:
        stems: name -> float32 (T, 1) or (T, 2); silent ones are left out.
        strips: how to mix each of them.
        room: reverberation they share.
        medium: what is done to the whole.
        start_samples: where the piece begins; levels are measured from there, and what lies before
            is only heard as reverberation.
        keep_stems: also return each stem as it sounds in the mixture (takes longer).

    Returns:
        The mixture, float32 (T - start_samples, 2); the direct sound of the stems at their levels,
        by which the balance is defined; and, with ``keep_stems``, the finished stems with their
        reverberation (else an empty dict): their sum is the mixture without the medium's noise.
    """
    direct = {}
    for name, stem in stems.items():
        placed = apply_strip(stem, strips[name], start_samples=start_samples)
        if placed is not None:
            direct[name] = placed
    if not direct:
        raise ValueError("mix: all stems are silent")
    response = impulse_response(room)
    dry = sum(direct.values())
    send = sum(stem * np.float32(_linear(strips[name].send_db)) for name, stem in direct.items())
    whole = _finish(dry, send, response, medium, start_samples)
    if medium.noise_db is not None:
        hiss = seeding.generator("hiss", room.seed).standard_normal(whole.shape, np.float32)
        rms = np.sqrt(np.mean(np.square(whole)))
        whole = whole + hiss * (rms * _linear(medium.noise_db)).astype(np.float32)
    gain = np.float32(_linear(min(medium.peak_db, 0.0)) / max(np.abs(whole).max(), 1e-9))
    finished = {}
    if keep_stems:
        for name, stem in direct.items():
            wet = stem * np.float32(_linear(strips[name].send_db))
            finished[name] = _finish(stem, wet, response, medium, start_samples) * gain
    return whole * gain, {k: v[start_samples:] * gain for k, v in direct.items()}, finished


@functools.lru_cache(maxsize=2)
def impulse_response(room: Room) -> np.ndarray:
    """Synthetic room: a few early reflections and decaying noise, unit energy, float32 (N, 2)."""
    rng = seeding.generator("room", room.seed)
    num_samples = int(room.decay_s * SAMPLE_RATE_HZ)
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    tail = rng.standard_normal((num_samples, 2)) * 10 ** (-3.0 * time_s / room.decay_s)[:, None]
    # High frequencies die away first: a duller copy takes over.
    dull = scipy.signal.sosfilt(_lowpass(room.damping_hz / 3, 1), tail, axis=0)
    bright = scipy.signal.sosfilt(_lowpass(room.damping_hz, 2), tail, axis=0)
    turn = np.exp(-time_s / (0.25 * room.decay_s))[:, None]
    tail = bright * turn + dull * (1 - turn)
    for _ in range(8):
        place = int(rng.integers(1, max(2, min(num_samples, int(0.06 * SAMPLE_RATE_HZ)))))
        tail[place, int(rng.integers(2))] += rng.choice((-1, 1)) * 4 * np.exp(-place / 1500)
    tail /= np.sqrt(np.square(tail).sum() / 2)
    delay = np.zeros((int(room.predelay_s * SAMPLE_RATE_HZ), 2))
    return np.concatenate([delay, tail]).astype(np.float32)


def apply_strip(
    stem: np.ndarray, strip: ChannelStrip, *, start_samples: int = 0
) -> np.ndarray | None:
    """A stem at its level and place, equalised: float32 (T, 2); None where it is silent.

    Its level is measured from ``start_samples`` on.
    """
    # Equal power; a two-channel stem is balanced by the same gains.
    angle = (strip.pan + 1) * np.pi / 4
    sides = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    sections = np.concatenate([_highpass(_RUMBLE_HZ), _peaking(strip.eq)])
    placed = _filter(sections, stem) * sides.astype(np.float32)
    level_db = active_rms_db(placed[start_samples:])
    if not np.isfinite(level_db):
        return None
    return placed * np.float32(_linear(strip.level_db - level_db))


def equalise(audio: np.ndarray, eq: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Audio (T, C) through peaking filters, (centre_hz, gain_db, q) each: float32 (T, C)."""
    return _filter(_peaking(eq), audio)


def compress(stem: np.ndarray, *, threshold_db: float, ratio: float) -> np.ndarray:
    """Softens what is louder than a threshold.

    Args:
        stem: float32 (T, C).
        threshold_db: above the RMS level of its active frames.
        ratio: of a level above the threshold a ratio-th is left; 1 leaves the stem as it is.

    Returns:
        float32 (T, C): the gain follows the level of both channels within milliseconds.
    """
    block = 64
    num_blocks = -(-len(stem) // block)
    squares = np.zeros(num_blocks * block, np.float64)
    squares[: len(stem)] = np.mean(np.square(stem), axis=1)
    levels_db = 10 * np.log10(squares.reshape(num_blocks, block).max(axis=1) + 1e-20)
    over_db = np.maximum(levels_db - (active_rms_db(stem) + threshold_db), 0.0)
    # It hears a block early, as one that looks ahead, and lets go over some 60 ms.
    over_db = np.maximum(over_db, np.append(over_db[1:], 0.0))
    released_db, now_db = np.empty(num_blocks), 0.0
    for index, value in enumerate(over_db.tolist()):
        now_db = max(value, now_db * 0.976)
        released_db[index] = now_db
    gains = 10 ** (-released_db * (1 - 1 / ratio) / 20)
    centres = (np.arange(num_blocks) + 0.5) * block
    return stem * np.interp(np.arange(len(stem)), centres, gains).astype(np.float32)[:, None]


def _active(levels_db: np.ndarray) -> np.ndarray:
    return (levels_db > levels_db.max() - _ACTIVE_RANGE_DB) & (levels_db > _SILENCE_DB)


def _finish(dry, send, response, medium: Mastering, start_samples: int) -> np.ndarray:
    """Adds the room, then tape: what happens to the sum happens to each stem alike."""
    wet = scipy.signal.oaconvolve(send, response, axes=0)[: len(dry)]
    sections = _peaking(medium.eq)
    if medium.lowpass_hz is not None:
        sections = np.concatenate([sections, _lowpass(medium.lowpass_hz, 4)])
    whole = _filter(sections, dry + wet)
    middle = 0.5 * (whole[:, :1] + whole[:, 1:])
    return (middle + np.float32(medium.width) * (whole - middle))[start_samples:]


def _filter(sections: np.ndarray, audio: np.ndarray) -> np.ndarray:
    if not len(sections):
        return audio
    return scipy.signal.sosfilt(sections, audio, axis=0).astype(np.float32)


def _peaking(eq) -> np.ndarray:
    """Second-order sections of peaking filters (centre_hz, gain_db, q), by bilinear transform."""
    sections = np.zeros((len(eq), 6))
    for section, (centre_hz, gain_db, q) in zip(sections, eq, strict=True):
        amplitude = 10 ** (gain_db / 40)
        omega = 2 * np.pi * centre_hz / SAMPLE_RATE_HZ
        alpha = np.sin(omega) / (2 * q)
        section[:3] = 1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude
        section[3:] = 1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude
        section /= section[3]
    return sections


def _highpass(edge_hz: float) -> np.ndarray:
    return scipy.signal.butter(2, edge_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos")


def _lowpass(edge_hz: float, order: int) -> np.ndarray:
    return scipy.signal.butter(order, min(edge_hz, 20_000.0), fs=SAMPLE_RATE_HZ, output="sos")


def _linear(level_db: float) -> float:
    return float(10 ** (level_db / 20))
