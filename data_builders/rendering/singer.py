"""A singer made of a sampled choir voice: phrases, glides, vibrato, vowels and consonants."""

import dataclasses

import numpy as np
import scipy.signal

from data_builders.rendering import mix, performance, seeding
from data_builders.rendering.instruments import Instrument
from data_builders.rendering.score import BeatNote, Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ
from data_builders.rendering.theory import LeadSheet

#: First three formants in Hz of a man's vowels (Peterson and Barney 1952).
VOWELS_HZ = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
_FORMANTS = ((9.0, 2.0), (11.0, 4.0), (9.0, 5.0))  # gain in dB and Q
#: What choirs in a SoundFont lack of a voice close to the microphone.
_PRESENCE_EQ = ((250.0, -5.0, 0.8), (1100.0, 7.0, 0.6), (3200.0, 10.0, 0.7))
_BEND_LIMIT_CENTS = 200.0
_CROSSFADE_S = 0.05


def perform(
    notes: list[BeatNote],
    *,
    instrument: Instrument,
    sheet: LeadSheet,
    pattern: np.random.Generator,
    rng: np.random.Generator,
) -> Part:
    """A melody as it is sung: with vibrato and scoops, and glides between notes that are close.

    Args: as `performance.perform`.
    """
    singing = dataclasses.replace(instrument, vibrato_cents=38.0, scoops=0.35)
    part = performance.perform(
        notes, instrument=singing, role="melody", sheet=sheet, pattern=pattern, rng=rng
    )
    glides = pattern.uniform(0.3, 0.9)
    bend, index = [], -1
    from_cents, lasts_s = 0.0, 1.0
    for time_s, cents in part.bend:
        while index + 1 < len(part.notes) and part.notes[index + 1].onset_s <= time_s + 1e-9:
            index += 1
            from_cents, lasts_s = _glide(part.notes, index, glides, rng)
        if index >= 0:
            cents += from_cents * np.exp(-(time_s - part.notes[index].onset_s) / lasts_s)
        bend.append((time_s, float(np.clip(cents, -_BEND_LIMIT_CENTS, _BEND_LIMIT_CENTS))))
    return dataclasses.replace(part, instrument=instrument, bend=tuple(bend))


def _glide(notes: tuple[Note, ...], index: int, odds: float, rng) -> tuple[float, float]:
    """Where the pitch of a note comes from, in cents, and how long it takes."""
    glides, lasts_s = rng.random() < odds, rng.uniform(0.02, 0.06)
    if index == 0:
        return 0.0, lasts_s
    before, note = notes[index - 1], notes[index]
    close = note.onset_s - (before.onset_s + before.duration_s) < 0.1
    from_cents = 100.0 * (before.pitch - note.pitch)
    from_cents = float(np.clip(from_cents, -_BEND_LIMIT_CENTS, _BEND_LIMIT_CENTS))
    return from_cents * (glides and close), lasts_s


def articulate(sound: np.ndarray, notes: tuple[Note, ...], rng: np.random.Generator) -> np.ndarray:
    """Gives a sung line words: a vowel for each note, before some of them a consonant.

    Args:
        sound: float32 (T, C) at `synth.SAMPLE_RATE_HZ`.
        notes: what is sung in it.
        rng: draws the words and the singer's vocal tract.

    Returns:
        float32 (T, 1).
    """
    voice = sound.mean(axis=1, keepdims=True, dtype=np.float32)
    size = rng.uniform(0.98, 1.2)  # of a man to that of a woman
    vowels = list(VOWELS_HZ)[:: int(rng.choice((1, -1)))]
    spoken = [seeding.choice(rng, vowels) for _ in notes]
    starts_s = np.array([note.onset_s for note in notes])
    sung = np.zeros_like(voice)
    for vowel in sorted(set(spoken)):
        eq = [
            (hz * size, gain_db, q)
            for hz, (gain_db, q) in zip(VOWELS_HZ[vowel], _FORMANTS, strict=True)
        ]
        weight = _turns([one == vowel for one in spoken], starts_s, len(voice))
        sung += mix.equalise(voice, (*_PRESENCE_EQ, *eq)) * weight[:, None]
    return sung + _consonants(len(voice), starts_s, mix.active_rms_db(sung), rng)


def _turns(chosen: list[bool], starts_s: np.ndarray, num_samples: int) -> np.ndarray:
    """1 in notes that are chosen, else 0, cross-faded: (num_samples,)."""
    times, values = [0.0], [float(chosen[0])]
    for start_s, one in zip(starts_s[1:], chosen[1:], strict=True):
        start_s = max(start_s - _CROSSFADE_S / 2, times[-1])
        times += [start_s, start_s + _CROSSFADE_S]
        values += [values[-1], float(one)]
    grid_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    return np.interp(grid_s, times, values).astype(np.float32)


#: Band in Hz, shortest and longest in seconds, and level in dB re the voice of kinds of consonant.
_CONSONANTS = (
    ((4500, 11_000), (0.05, 0.13), (-14.0, -5.0)),  # s
    ((2000, 6000), (0.05, 0.1), (-16.0, -8.0)),  # sh, ch
    ((1500, 8000), (0.012, 0.03), (-12.0, -3.0)),  # t, k
    ((200, 1200), (0.012, 0.03), (-12.0, -4.0)),  # p, b
)


def _consonants(num_samples: int, starts_s, level_db: float, rng) -> np.ndarray:
    """Bursts of noise that end where notes begin: float32 (num_samples, 1)."""
    words = np.zeros((num_samples, 1), np.float32)
    odds = rng.uniform(0.35, 0.7)
    for start_s in starts_s:
        band_hz, lengths_s, levels_db = seeding.choice(rng, _CONSONANTS)
        length = round(rng.uniform(*lengths_s) * SAMPLE_RATE_HZ)
        gain_db = level_db + rng.uniform(*levels_db)
        noise = rng.standard_normal(length)
        end = round(start_s * SAMPLE_RATE_HZ) + length // 4
        if rng.random() > odds or end < length or end > num_samples:
            continue
        sections = scipy.signal.butter(2, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        burst = scipy.signal.sosfilt(sections, noise) * np.hanning(length)
        burst *= 10 ** (gain_db / 20) / np.sqrt(np.mean(burst**2))
        words[end - length : end, 0] += burst.astype(np.float32)
    return words
