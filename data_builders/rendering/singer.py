"""A singing voice made from sampled voices, with glides, vibrato, vowels and consonants."""

import dataclasses

import numpy as np
import scipy.signal
from numpy.random import Generator

from data_builders.rendering import mix, performance, seeding
from data_builders.rendering.instruments import Instrument
from data_builders.rendering.score import BeatNote, Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ

#: Vowel -> first three formant frequencies in Hz for male voices (Peterson and Barney 1952).
VOWELS_HZ = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
#: (gain in dB, Q) for each of the three formant filters.
_FORMANT_FILTERS = ((9.0, 2.0), (11.0, 4.0), (9.0, 5.0))
#: Equaliser that makes a sampled choir sound like one voice close to the microphone.
_PRESENCE_EQ = ((250.0, -5.0, 0.8), (1100.0, 7.0, 0.6), (3200.0, 10.0, 0.7))
_BEND_LIMIT_CENTS = 200.0
_CROSSFADE_S = 0.05


def perform(
    notes: list[BeatNote], *, instrument: Instrument, pattern: Generator, rng: Generator, **more
) -> Part:
    """Perform a melody as a singer would, with vibrato, scoops and glides between adjacent notes.

    Args: as for `performance.perform`, without the role.
    """
    singing = dataclasses.replace(instrument, vibrato_cents=38.0, scoops=0.35)
    part = performance.perform(
        notes, instrument=singing, role="melody", pattern=pattern, rng=rng, **more
    )
    glide_probability = pattern.uniform(0.3, 0.9)
    bend, index = [], -1
    from_cents, decay_s = 0.0, 1.0
    for time_s, cents in part.bend:
        while index + 1 < len(part.notes) and part.notes[index + 1].onset_s <= time_s + 1e-9:
            index += 1
            from_cents, decay_s = _glide(part.notes, index, glide_probability, rng)
        if index >= 0:
            cents += from_cents * np.exp(-(time_s - part.notes[index].onset_s) / decay_s)
        bend.append((time_s, float(np.clip(cents, -_BEND_LIMIT_CENTS, _BEND_LIMIT_CENTS))))
    return dataclasses.replace(part, instrument=instrument, bend=tuple(bend))


def _glide(notes: tuple[Note, ...], index: int, probability: float, rng) -> tuple[float, float]:
    """Draw a glide: its start in cents relative to the note, and its time constant in seconds."""
    glides, decay_s = rng.random() < probability, rng.uniform(0.02, 0.06)
    if index == 0:
        return 0.0, decay_s
    before, note = notes[index - 1], notes[index]
    adjacent = note.onset_s - (before.onset_s + before.duration_s) < 0.1
    from_cents = 100.0 * (before.pitch - note.pitch)
    from_cents = float(np.clip(from_cents, -_BEND_LIMIT_CENTS, _BEND_LIMIT_CENTS))
    return from_cents * (glides and adjacent), decay_s


def articulate(audio: np.ndarray, notes: tuple[Note, ...], rng: Generator) -> np.ndarray:
    """Add syllables to a vocal part: a vowel on each note, and a consonant before some notes.

    Args:
        audio: float32 (T, C) at `synth.SAMPLE_RATE_HZ`.
        notes: the notes that are sung.
        rng: random generator for the syllables and the vocal tract length.

    Returns:
        The articulated voice, float32 (T, 1).
    """
    voice = audio.mean(axis=1, keepdims=True, dtype=np.float32)
    formant_scale = rng.uniform(0.98, 1.2)  # from a male to a female vocal tract
    vowels = list(VOWELS_HZ)[:: int(rng.choice((1, -1)))]
    sung_vowels = [seeding.choice(rng, vowels) for _ in notes]
    starts_s = np.array([note.onset_s for note in notes])
    vocals = np.zeros_like(voice)
    for vowel in sorted(set(sung_vowels)):
        formants = zip(VOWELS_HZ[vowel], _FORMANT_FILTERS, strict=True)
        eq = [(hz * formant_scale, gain_db, q) for hz, (gain_db, q) in formants]
        gain = _gate([sung == vowel for sung in sung_vowels], starts_s, len(voice))
        vocals += mix.equalise(voice, (*_PRESENCE_EQ, *eq)) * gain[:, None]
    return vocals + _consonants(len(voice), starts_s, mix.active_rms_db(vocals), rng)


def _gate(is_open: list[bool], starts_s: np.ndarray, num_samples: int) -> np.ndarray:
    """Return gains (num_samples,): 1 during open notes, otherwise 0, with cross-fades."""
    times, values = [0.0], [float(is_open[0])]
    for start_s, value in zip(starts_s[1:], is_open[1:], strict=True):
        start_s = max(start_s - _CROSSFADE_S / 2, times[-1])
        times += [start_s, start_s + _CROSSFADE_S]
        values += [values[-1], float(value)]
    grid_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    return np.interp(grid_s, times, values).astype(np.float32)


#: (noise band in Hz, range of durations in s, range of levels in dB relative to the voice).
_CONSONANTS = (
    ((4500, 11_000), (0.05, 0.13), (-14.0, -5.0)),  # s
    ((2000, 6000), (0.05, 0.1), (-16.0, -8.0)),  # sh, ch
    ((1500, 8000), (0.012, 0.03), (-12.0, -3.0)),  # t, k
    ((200, 1200), (0.012, 0.03), (-12.0, -4.0)),  # p, b
)


def _consonants(num_samples: int, starts_s, level_db: float, rng) -> np.ndarray:
    """Return noise bursts that lead into notes, as float32 (num_samples, 1)."""
    bursts = np.zeros((num_samples, 1), np.float32)
    probability = rng.uniform(0.35, 0.7)
    for start_s in starts_s:
        band_hz, lengths_s, levels_db = seeding.choice(rng, _CONSONANTS)
        length = round(rng.uniform(*lengths_s) * SAMPLE_RATE_HZ)
        gain_db = level_db + rng.uniform(*levels_db)
        noise = rng.standard_normal(length)
        end = round(start_s * SAMPLE_RATE_HZ) + length // 4
        if rng.random() > probability or end < length or end > num_samples:
            continue
        sections = scipy.signal.butter(2, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        burst = scipy.signal.sosfilt(sections, noise) * np.hanning(length)
        burst *= 10 ** (gain_db / 20) / np.sqrt(np.mean(burst**2))
        bursts[end - length : end, 0] += burst.astype(np.float32)
    return bursts
