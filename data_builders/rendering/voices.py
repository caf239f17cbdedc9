"""Singing voices played from recorded syllables."""

import functools
from pathlib import Path

import numpy as np
import scipy.signal

from data_builders.rendering import seeding
from data_builders.rendering.sampler import (
    check_folder,
    load_recording,
    note_positions,
    repeat,
    with_velocity,
)
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ, gain_curve

#: The vowel begins with the note; consonants begin at most this much earlier.
_LEAD_S = 0.15
#: Time for which a syllable continues after its note, and length of its fade-in and fade-out.
_RELEASE_S, _FADE_S = 0.06, 0.03
#: Shortest vowel before the consonants that end a syllable.
_MIN_VOWEL_S = 0.06
#: Longest cross-fade between repetitions of a vowel, and between the vowel and the next sound.
_CROSSFADE_S = 0.03
#: Frequency band in which vowels are loud and consonants are not, and minimum level of a vowel in
#: this band, relative to the maximum.
_VOWEL_BAND_HZ, _VOWEL_DB = (300.0, 3000.0), -5.0
#: Minimum length of the repeated part of a vowel, in seconds and in periods.
_LOOP_S, _LOOP_PERIODS = 0.06, 6
#: Target RMS level of the vowels.
_LEVEL = 0.2


class VoicePlayer:
    """Plays recorded syllables from a library with one folder per singer.

    File names give the syllable and its pitch in Hz, such as ``female1/love-440.flac``. Each part
    has one singer, who sings a syllable on each note. Consonants and diphthongs keep their speed;
    the middle of the vowel is repeated until the note ends.
    """

    def __init__(self, folder: Path):
        check_folder(folder, "voices")
        self._singers = [
            syllables for path in sorted(folder.glob("*/")) if (syllables := _syllables(path))
        ]

    def plays(self, instrument) -> bool:
        """Return whether an instrument is a voice and there are singers."""
        return instrument.kind == "voi" and bool(self._singers)

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        """Render a part as float32 (num_samples, 1); see `synth.SoundFontPlayer.play`."""
        sound = np.zeros(num_samples, np.float32)
        notes = " ".join(f"{note.onset_s:.3f} {note.pitch}" for note in part.notes)
        rng = seeding.generator("voices", part.instrument.name, notes)
        syllables = seeding.choice(rng, self._fitting(part))
        words, last_onset_s = list(syllables), -np.inf
        word = words[0]
        onsets_s = np.array([note.onset_s for note in part.notes])
        for note in part.notes:
            if note.onset_s > last_onset_s + 0.03:  # the notes of a chord share a syllable
                word, last_onset_s = seeding.choice(rng, words), note.onset_s
            later_s = onsets_s[onsets_s > note.onset_s + _LEAD_S]
            until_s = note.onset_s + note.duration_s
            if len(later_s) and later_s[0] - _LEAD_S < until_s < later_s[0] + _LEAD_S:
                until_s = later_s[0] - 0.5 * _LEAD_S  # room for the next consonant
            note = note._replace(duration_s=max(until_s - note.onset_s, 0.05))
            start, samples = _sing(syllables[word], note, part)
            samples = samples[max(0, -start) : max(0, num_samples - start)]
            start = max(0, start)
            sound[start : start + len(samples)] += samples
        return sound[:, None] * gain_curve(part.swell, num_samples)

    def _fitting(self, part: Part) -> list[dict]:
        """Return the recordings of the singers whose registers fit a part best."""
        pitches = np.array([note.pitch for note in part.notes] or [60])
        beyond = []
        for syllables in self._singers:
            recorded = [pitch for files in syllables.values() for pitch in files]
            low, high = min(recorded) - 2, max(recorded) + 2
            beyond.append(np.mean(np.maximum(0, low - pitches) + np.maximum(0, pitches - high)))
        best = min(beyond) + 0.25
        return [own for own, far in zip(self._singers, beyond, strict=True) if far <= best]


def _syllables(folder: Path) -> dict[str, dict[float, Path]]:
    """Return a singer's recordings: syllable -> MIDI pitch -> file."""
    syllables: dict[str, dict[float, Path]] = {}
    for path in sorted(folder.glob("*-*.*")):
        word, _, hz = path.stem.rpartition("-")
        if hz.isdecimal() and int(hz):
            syllables.setdefault(word, {})[69 + 12 * np.log2(int(hz) / 440)] = path
    return syllables


def _sing(recordings: dict[float, Path], note: Note, part: Part) -> tuple[int, np.ndarray]:
    """Return the start of a note with its consonants, in samples, and its audio, float32 (T,)."""
    recorded = min(recordings, key=lambda pitch: abs(pitch - note.pitch))
    samples, onset, first, last = _load(recordings[recorded], recorded)
    skipped = max(0, onset - round(_LEAD_S * SAMPLE_RATE_HZ))
    samples = samples[skipped:]
    onset, first, last = onset - skipped, first - skipped, last - skipped
    start_s = note.onset_s - onset / SAMPLE_RATE_HZ
    num_samples = onset + round((note.duration_s + _RELEASE_S) * SAMPLE_RATE_HZ)
    positions = note_positions(note, part, recorded, start_s, num_samples)
    length = int(positions[-1]) + 2
    samples = _lengthen(samples, onset, first, last, length)
    sung = np.interp(positions, np.arange(len(samples)), samples, right=0.0)
    fade = round(_FADE_S * SAMPLE_RATE_HZ)
    sung *= np.minimum(1.0, np.arange(num_samples, 0, -1) / fade)
    if skipped:
        sung *= np.minimum(1.0, np.arange(num_samples) / fade)
    return round(start_s * SAMPLE_RATE_HZ), with_velocity(sung, note.velocity)


def _lengthen(samples: np.ndarray, onset: int, first: int, last: int, length: int) -> np.ndarray:
    """Fit a syllable to about ``length`` samples by repeating or shortening its vowel."""
    room = length - onset - round(_MIN_VOWEL_S * SAMPLE_RATE_HZ)
    end = samples[max(last, len(samples) - max(0, room)) :]
    fade = max(1, min(round(_CROSSFADE_S * SAMPLE_RATE_HZ), (last - first) // 3))
    rise = np.linspace(0.0, 1.0, fade, dtype=np.float32)  # repetitions are in phase
    held_length = max(1, length - len(end) + fade)
    # The loop has an integer number of periods, so that repetitions are in phase.
    search = samples[last - (last - first) // 3 - fade : last]
    last = last - len(search) + fade + _best_shift(search, samples[first : first + fade])
    held = samples
    if held_length + len(search) > last:
        held = repeat(samples, (first, last), (rise[::-1], rise), held_length + len(search))
    if len(end) <= fade:
        return held
    candidates = held[max(0, held_length - fade) : held_length + len(search)]
    joint = max(0, held_length - fade) + _best_shift(candidates, end[:fade])
    faded = held[joint : joint + fade] * rise[::-1] + end[:fade] * rise
    return np.concatenate([held[:joint], faded, end[fade:]])


def _best_shift(samples: np.ndarray, pattern: np.ndarray) -> int:
    """Return the shift at which a pattern correlates best with the samples."""
    if len(samples) <= len(pattern):
        return 0
    return int(np.argmax(scipy.signal.correlate(samples, pattern, "valid")))


@functools.cache
def _load(file: Path, pitch: float) -> tuple[np.ndarray, int, int, int]:
    """Load a syllable and level the middle of its vowel, so that it can be repeated.

    Returns:
        The samples, and the indices at which the vowel starts, its middle starts, and its middle
        ends.
    """
    samples = load_recording(file)
    period = SAMPLE_RATE_HZ / (440 * 2 ** ((pitch - 69) / 12))
    sections = scipy.signal.butter(2, _VOWEL_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    power = _smooth(scipy.signal.sosfiltfilt(sections, samples) ** 2, period)
    loud = power > 10 ** (_VOWEL_DB / 10) * power.max()
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    begin, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0])
    shortest = round(max(_LOOP_S * SAMPLE_RATE_HZ, _LOOP_PERIODS * period))
    length = max((end - begin) // 2, shortest)
    first = max(0, (begin + end - length) // 2)
    last = min(first + length, len(samples) - 1)
    level = np.sqrt(_smooth(samples**2, period))
    gain = _LEVEL / np.interp(np.arange(len(samples)), [first, last], [level[first], level[last]])
    return (samples * gain).astype(np.float32), int(begin), int(first), int(last)


def _smooth(power: np.ndarray, period: float) -> np.ndarray:
    """Return a moving weighted mean over at least 50 ms and three periods."""
    window = np.hanning(round(max(0.05 * SAMPLE_RATE_HZ, 3 * period)))
    smooth = scipy.signal.convolve(power, window / window.sum())
    # Rounding errors may make the result negative.
    return np.maximum(smooth[len(window) // 2 :][: len(power)], 1e-9)
