"""Composition of parts for pitched instruments, by role.

A role is a function ``role(voice) -> list[BeatNote]``. A `Voice` has two random generators:
``pattern`` belongs to the song, so that all its clips share rhythmic cells; ``rng`` belongs to the
clip, so that the notes differ.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from data_builders.rendering import seeding, theory
from data_builders.rendering.genres import GENRES
from data_builders.rendering.score import BeatNote


@dataclasses.dataclass
class Voice:
    """Inputs to a role function.

    Attributes:
        sheet: tempo, metre, key and chords.
        low, high: register as MIDI pitches.
        density: rhythmic density from 0 (calm) to 1 (busy).
        rests: probability that a phrase ends with a rest.
        pattern: random generator for the song.
        rng: random generator for the clip.
    """

    sheet: theory.LeadSheet
    low: int
    high: int
    density: float
    rests: float
    pattern: Generator
    rng: Generator

    @property
    def centre(self) -> float:
        return (self.low + self.high) / 2

    def restrict(self, low: int, high: int) -> "Voice":
        """Return the voice with its register limited to a range of at least an octave."""
        low = max(self.low, min(low, self.high - 12))
        return dataclasses.replace(self, low=low, high=min(self.high, max(high, low + 12)))


# Steps per beat -> one-beat rhythms, as note lengths in beats, in order of density.
_BEAT_RHYTHMS = {
    4: ((1.0,), (1.0,), (0.5, 0.5), (0.5, 0.5), (0.75, 0.25), (0.5, 0.25, 0.25), (0.25,) * 4),
    3: ((1.0,), (1.0,), (2 / 3, 1 / 3), (1 / 3,) * 3, (1 / 3, 2 / 3)),
}


def rhythm_cell(rng: Generator, metre: theory.Metre, density: float) -> list[tuple[float, float]]:
    """Draw a one-bar rhythm without gaps, as (onset, length) in beats."""
    rhythms = _BEAT_RHYTHMS[metre.steps]
    lengths = []
    for _ in range(metre.beats):
        local_density = np.clip(rng.normal(density, 0.25), 0.0, 0.999)
        lengths.extend(rhythms[int(local_density * len(rhythms))])
    # Ties across beats create syncopation and long notes.
    tied = [lengths[0]]
    for length in lengths[1:]:
        if rng.random() < 0.35 * (1.0 - density) and tied[-1] + length <= 2.5:
            tied[-1] += length
        else:
            tied.append(length)
    onsets = np.concatenate([[0.0], np.cumsum(tied)[:-1]])
    return [(float(onset), float(length)) for onset, length in zip(onsets, tied, strict=True)]


def _phrase_rhythm(voice: Voice) -> list[tuple[float, float, bool]]:
    """Return (beat, length, ends_phrase) for each note, in phrases of two or four bars."""
    metre = voice.sheet.metre
    cells = [rhythm_cell(voice.pattern, metre, voice.density) for _ in range(3)]
    form = seeding.choice(voice.pattern, ((0, 1), (0, 0), (0, 1, 0, 2), (0, 0, 1, 2), (0, 1, 2, 2)))
    rhythm = []
    for bar in range(len(voice.sheet.bars)):
        index = bar % len(form)
        cell = cells[form[index]]
        last_bar = index == len(form) - 1
        if last_bar and len(cell) > 2:  # end the phrase on a long note
            start = cell[len(cell) // 2][0]
            cell = [*cell[: len(cell) // 2], (start, metre.beats - start)]
        for onset, length in cell:
            ends_phrase = last_bar and onset == cell[-1][0]
            rhythm.append((bar * metre.beats + onset, length, ends_phrase))
    return rhythm


def _melodic_line(voice: Voice, rhythm, step_weights) -> list[BeatNote]:
    """Draw pitches for a rhythm: scale steps within 12 to 19 semitones, chord tones on beats.

    ``rhythm`` comes from `_phrase_rhythm`; ``step_weights`` are the weights for moves by -4 to 4
    scale steps.
    """
    sheet, rng = voice.sheet, voice.rng
    span = min(voice.high - voice.low, int(rng.integers(12, 20)))
    floor = voice.low + int(rng.integers(max(voice.high - voice.low - span, 0) + 1))
    scale = sheet.scale_pitches(floor, floor + span)
    steps = np.arange(-4, 5)
    weights = np.array(step_weights, float)
    degree = int(rng.integers(len(scale) // 3, len(scale)))
    notes = []
    for beat, length, ends_phrase in rhythm:
        pull = (len(scale) / 2 - degree) / len(scale)  # back towards the middle
        drawn = weights * np.exp(0.9 * pull * steps)
        degree += int(rng.choice(steps, p=drawn / drawn.sum()))
        degree = int(np.clip(degree, 0, len(scale) - 1))
        pitch = scale[degree]
        if length >= 1.0 or beat == int(beat):
            tones = theory.chord_pitches(sheet.chord_at(beat), floor, floor + span)
            pitch = min(tones, key=lambda tone: (abs(tone - pitch), tone))
            degree = int(np.argmin([abs(step - pitch) for step in scale]))
        sounding = length
        if ends_phrase and rng.random() < voice.rests:
            sounding = max(0.5, length - seeding.choice(rng, (0.25, 0.5, 1.0)))
        accent = 0.6 * (beat % sheet.metre.beats == 0) + 0.3 * (beat == int(beat))
        notes.append(BeatNote(beat, min(sounding, length), pitch, accent))
    return notes


# Weights for moves by -4 to 4 scale steps.
_MELODIC = (0.3, 0.6, 1.2, 3.0, 1.2, 3.0, 1.2, 0.6, 0.3)
_SCALAR = (0.1, 0.2, 0.6, 3.5, 0.2, 3.5, 0.6, 0.2, 0.1)


def melody(voice: Voice) -> list[BeatNote]:
    """Compose a melody in phrases."""
    return _melodic_line(voice, _phrase_rhythm(voice), _MELODIC)


def runs(voice: Voice) -> list[BeatNote]:
    """Compose a fast melody that moves mostly by scale steps."""
    voice = dataclasses.replace(voice, density=min(1.0, voice.density * 0.4 + 0.6))
    return _melodic_line(voice, _phrase_rhythm(voice), _SCALAR)


def duo(voice: Voice) -> list[BeatNote]:
    """Compose a melody with a second voice a diatonic third or sixth below."""
    upper = melody(voice.restrict(voice.low + 8, voice.high))
    distance = seeding.choice(voice.pattern, (2, 2, 5))
    scale = voice.sheet.scale_pitches(voice.low - 12, voice.high)
    lower = []
    for note in upper:
        below = [pitch for pitch in scale if pitch < note.pitch]
        pitch = below[-distance] if len(below) >= distance else note.pitch - 12
        if pitch >= voice.low:
            lower.append(note._replace(pitch=pitch, accent=note.accent - 0.3))
    return sorted(upper + lower)


def riff(voice: Voice) -> list[BeatNote]:
    """Compose a short figure that is repeated in every bar and transposed to fit the chord."""
    metre = voice.sheet.metre
    cell = rhythm_cell(voice.pattern, metre, voice.density)
    shape = [int(voice.pattern.integers(0, 4)) for _ in cell]
    rests = voice.pattern.random(len(cell)) < 0.25 * voice.rests
    base = voice.centre + voice.rng.integers(-5, 6)
    notes = []
    for bar in range(len(voice.sheet.bars)):
        for index, (onset, length) in enumerate(cell):
            beat = bar * metre.beats + onset
            tones = theory.voicing(voice.sheet.chord_at(beat), base, 4)
            if not rests[index]:
                pitch = tones[min(shape[index], len(tones) - 1)]
                while pitch < voice.low:
                    pitch += 12
                while pitch > voice.high:
                    pitch -= 12
                notes.append(BeatNote(beat, length * 0.85, pitch, 0.5 * (onset == 0)))
    return notes


def counter(voice: Voice) -> list[BeatNote]:
    """Compose a countermelody of long notes with small intervals."""
    notes, pitch = [], voice.centre + voice.rng.integers(-6, 7)
    for start, end, harmony in voice.sheet.chord_spans:
        tones = theory.chord_pitches(harmony, voice.low, voice.high)
        near = sorted(tones, key=lambda tone: (abs(tone - pitch), tone))
        pitch = near[int(voice.rng.random() < 0.4)]
        halves = end - start >= 2 and voice.rng.random() < 0.2 + 0.5 * voice.density
        cuts = [start, (start + end) / 2, end] if halves else [start, end]
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            notes.append(BeatNote(first, last - first, int(pitch), 0.3))
            pitch = near[int(voice.rng.integers(1, 3))] if halves else pitch
    return notes


def _chords(voice: Voice, num_voices: int) -> list[tuple[float, float, list[int]]]:
    """Return (first beat, end beat, pitches) for each chord, voiced close to the previous one."""
    centre = voice.centre + voice.rng.uniform(-4, 4)
    chords = []
    for start, end, harmony in voice.sheet.chord_spans:
        pitches = theory.voicing(harmony, centre, num_voices)
        chords.append((start, end, [p for p in pitches if voice.low <= p <= voice.high]))
        centre = 0.7 * centre + 0.3 * float(np.mean(pitches))
    return chords


def pad(voice: Voice) -> list[BeatNote]:
    """Compose sustained chords."""
    num_voices = seeding.choice(voice.pattern, (2, 3, 3, 4))
    chords = _chords(voice, num_voices)
    return [BeatNote(start, end - start, p) for start, end, pitches in chords for p in pitches]


def chorale(voice: Voice) -> list[BeatNote]:
    """Compose four-part chords that change with the melody on top."""
    upper = voice.restrict(int(voice.centre), voice.high)
    top = melody(dataclasses.replace(upper, density=voice.density * 0.45))
    notes = list(top)
    for note in top:
        harmony = voice.sheet.chord_at(note.beat)
        below = theory.chord_pitches(harmony, max(voice.low, note.pitch - 19), note.pitch - 3)
        inner = below[-2:] + below[:1]
        notes.extend(note._replace(pitch=pitch, accent=0.0) for pitch in sorted(set(inner)))
    return sorted(notes)


def _comping_cell(voice: Voice) -> list[tuple[float, float]]:
    """Draw a one-bar comping rhythm, as (onset, length) in beats."""
    metre = voice.sheet.metre
    if metre == theory.Metre(4, 4):
        return list(seeding.choice(voice.pattern, GENRES[voice.sheet.genre].comping))
    cell = rhythm_cell(voice.pattern, metre, 0.6 * voice.density)
    keep = voice.pattern.random(len(cell)) < 0.8
    return [note for note, kept in zip(cell, keep, strict=True) if kept] or cell[:1]


def _rhythmic_chords(voice: Voice, cell, num_voices: int, spread_beats: float) -> list[BeatNote]:
    """Compose chords in a one-bar rhythm, with ``spread_beats`` between the notes of a chord."""
    metre, chords = voice.sheet.metre, _chords(voice, num_voices)
    notes = []
    for bar in range(len(voice.sheet.bars)):
        for onset, length in cell:
            beat = bar * metre.beats + onset
            pitches = next(p for start, end, p in reversed(chords) if start <= beat)
            downstroke = onset == int(onset)
            for index, pitch in enumerate(pitches if downstroke else pitches[::-1]):
                delay = index * spread_beats
                accent = 0.4 * (onset == 0) + 0.2 * downstroke
                notes.append(BeatNote(beat + delay, max(length - delay, 0.1), pitch, accent))
    return notes


def comp(voice: Voice) -> list[BeatNote]:
    """Compose a comping part: rhythmic chords that are typical of the genre."""
    num_voices = seeding.choice(voice.pattern, (3, 4, 4))
    return _rhythmic_chords(voice, _comping_cell(voice), num_voices, 0.0)


def strum(voice: Voice) -> list[BeatNote]:
    """Compose a strummed guitar part on four to six strings, with down- and upstrokes."""
    metre = voice.sheet.metre
    steps = 2 if metre.steps == 4 else 3
    strokes = [step / steps for step in range(metre.beats * steps)]
    probability = 0.35 + 0.5 * voice.density
    kept = [s for s in strokes if s == int(s) or voice.pattern.random() < probability]
    ends = [*kept[1:], float(metre.beats)]
    cell = [(onset, end - onset) for onset, end in zip(kept, ends, strict=True)]
    voice = voice.restrict(voice.low, voice.low + 28)
    return _rhythmic_chords(voice, cell, int(voice.pattern.integers(4, 7)), 0.018)


def arpeggio(voice: Voice) -> list[BeatNote]:
    """Compose broken chords in a steady rhythm; notes may ring into the following ones."""
    metre = voice.sheet.metre
    orders = ("0123", "0212", "3210", "012321", "0213", "0312")
    order = [int(voice_index) for voice_index in seeding.choice(voice.pattern, orders)]
    fastest = voice.sheet.beat_s / metre.steps > 0.13 and voice.density > 0.4
    step = 1 / metre.steps if metre.steps == 3 or fastest else 0.5
    ring = seeding.choice(voice.pattern, (step, 2 * step, metre.beats))
    notes = []
    repeat = len(order) * step * 0.98  # a note ends before it is repeated
    for start, end, pitches in _chords(voice, 4):
        for index in range(round((end - start) / step)):
            beat = start + index * step
            pitch = pitches[order[index % len(order)] % len(pitches)]
            length = max(min(ring, end - beat, repeat), step)
            notes.append(BeatNote(beat, length, pitch, 0.4 * (index == 0)))
    return notes


def bass_line(voice: Voice) -> list[BeatNote]:
    """Compose roots and fifths on the beat, for a pianist's left hand or a guitarist's thumb."""
    notes = []
    for start, end, harmony in voice.sheet.chord_spans:
        roots = [p for p in range(voice.low, voice.low + 12) if p % 12 == harmony.root]
        fifth = roots[0] + 7 if roots[0] + 7 <= voice.low + 14 else roots[0] - 5
        for index, beat in enumerate(np.arange(start, end, max(1.0, (end - start) / 2))):
            pitch = fifth if index % 2 and fifth >= voice.low else roots[0]
            notes.append(BeatNote(float(beat), min(2.0, end - float(beat)), pitch, 0.3))
    return notes


def fingerstyle(voice: Voice) -> list[BeatNote]:
    """Compose a solo guitar part: bass notes, broken chords and sometimes a melody on top."""
    notes = bass_line(voice) + arpeggio(voice.restrict(voice.low + 12, voice.high - 8))
    if voice.pattern.random() < 0.5:
        calm = dataclasses.replace(voice, density=0.4 * voice.density)
        notes += melody(calm.restrict(voice.high - 15, voice.high))
    return _drop_duplicates(notes)


def two_hands(voice: Voice) -> list[BeatNote]:
    """Compose a keyboard part: accompaniment in the left hand, melody or chords in the right."""
    middle = int(np.clip(voice.centre, 57, 62))
    left = voice.restrict(max(voice.low, middle - 22), middle)
    right = voice.restrict(middle, min(voice.high, middle + 26))
    left_role = seeding.choice(voice.pattern, (arpeggio, arpeggio, comp, bass_line, pad))
    right_role = seeding.choice(voice.pattern, (melody, melody, runs, duo, comp))
    return _drop_duplicates(left_role(left) + right_role(right))


def power(voice: Voice) -> list[BeatNote]:
    """Compose power chords (root, fifth and octave), long or in a steady rhythm."""
    metre = voice.sheet.metre
    long = voice.pattern.random() < 0.3
    cell = rhythm_cell(voice.pattern, metre, 0.1 if long else 0.5)
    notes = []
    for bar in range(len(voice.sheet.bars)):
        for onset, length in cell:
            beat = bar * metre.beats + onset
            root = voice.low + (voice.sheet.chord_at(beat).root - voice.low) % 12
            for pitch in (root, root + 7, root + 12):
                notes.append(BeatNote(beat, length, pitch, 0.5 * (onset == 0)))
    return notes


def _drop_duplicates(notes: list[BeatNote]) -> list[BeatNote]:
    """Keep only one of several notes with the same pitch and onset."""
    # Notes are inserted in reverse order, so that the dict keeps the first one.
    kept = {(round(note.beat, 3), note.pitch): note for note in reversed(sorted(notes))}
    return sorted(kept.values())


_LINES = (melody, runs, duo, riff, counter)
_CHORDS = (pad, chorale, comp, strum, arpeggio, fingerstyle, two_hands, power)
ROLES: dict[str, Callable[[Voice], list[BeatNote]]] = {
    role.__name__: role for role in (*_LINES, *_CHORDS)
}

#: Monophonic roles, in which the pitch may bend.
SINGLE_LINES = ("melody", "runs", "riff", "counter", "bass")
