"""What one pitched instrument plays, by role: frames and registers to notes in beats.

Every role has the signature ``role(voice) -> list[BeatNote]``. A `Voice` carries two generators:
``pattern`` is the song's own (the same rhythmic cells come back in every clip of the song), ``rng``
is the clip's (other notes each time).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_builders.rendering import seeding, theory
from data_builders.rendering.genres import GENRES
from data_builders.rendering.score import BeatNote


@dataclasses.dataclass
class Voice:
    """Where and how an instrument plays its role.

    ``low`` and ``high`` bound its register, ``density`` from 0 (calm) to 1 (busy) its rhythm,
    ``rests`` how likely a phrase ends in a rest (0: it plays through).
    """

    sheet: theory.LeadSheet
    low: int
    high: int
    density: float
    rests: float
    pattern: np.random.Generator
    rng: np.random.Generator

    @property
    def centre(self) -> float:
        return (self.low + self.high) / 2

    def narrowed(self, low: int, high: int) -> "Voice":
        """The same voice in the part of its register between two pitches, an octave at least."""
        low = max(self.low, min(low, self.high - 12))
        return dataclasses.replace(self, low=low, high=min(self.high, max(high, low + 12)))


# Ways to fill one beat, as lengths in beats, calm ones first.
_BEATS = {
    4: ((1.0,), (1.0,), (0.5, 0.5), (0.5, 0.5), (0.75, 0.25), (0.5, 0.25, 0.25), (0.25,) * 4),
    3: ((1.0,), (1.0,), (2 / 3, 1 / 3), (1 / 3,) * 3, (1 / 3, 2 / 3)),
}


def rhythm_cell(
    rng: np.random.Generator, metre: theory.Metre, density: float
) -> list[tuple[float, float]]:
    """One bar of rhythm: (onset, length) in beats, without gaps."""
    ways = _BEATS[metre.steps]
    lengths = []
    for _ in range(metre.beats):
        place = np.clip(rng.normal(density, 0.25), 0.0, 0.999)
        lengths.extend(ways[int(place * len(ways))])
    # Ties across the beat: syncopation and long notes.
    tied = [lengths[0]]
    for length in lengths[1:]:
        if rng.random() < 0.35 * (1.0 - density) and tied[-1] + length <= 2.5:
            tied[-1] += length
        else:
            tied.append(length)
    onsets = np.concatenate([[0.0], np.cumsum(tied)[:-1]])
    return [(float(onset), float(length)) for onset, length in zip(onsets, tied, strict=True)]


def _phrase_rhythm(voice: Voice) -> list[tuple[float, float, bool]]:
    """(beat, length, ends a phrase) over the whole frame: phrases of two or four bars, A B A C."""
    metre = voice.sheet.metre
    cells = [rhythm_cell(voice.pattern, metre, voice.density) for _ in range(3)]
    form = seeding.choice(voice.pattern, ((0, 1), (0, 0), (0, 1, 0, 2), (0, 0, 1, 2), (0, 1, 2, 2)))
    rhythm = []
    for bar in range(len(voice.sheet.bars)):
        place = bar % len(form)
        cell = cells[form[place]]
        if place == len(form) - 1 and len(cell) > 2:  # the phrase comes to rest on a long note
            start = cell[len(cell) // 2][0]
            cell = [*cell[: len(cell) // 2], (start, metre.beats - start)]
        for index, (onset, length) in enumerate(cell):
            ends = place == len(form) - 1 and index == len(cell) - 1
            rhythm.append((bar * metre.beats + onset, length, ends))
    return rhythm


def _sing(voice: Voice, rhythm, step_weights) -> list[BeatNote]:
    """Pitches for a rhythm: steps along the scale within a tenth or so, chord tones on the beat."""
    sheet, rng = voice.sheet, voice.rng
    span = min(voice.high - voice.low, int(rng.integers(12, 20)))
    floor = voice.low + int(rng.integers(max(voice.high - voice.low - span, 0) + 1))
    ladder = sheet.scale_pitches(floor, floor + span)
    steps = np.arange(-4, 5)
    weights = np.array(step_weights, float)
    place = int(rng.integers(len(ladder) // 3, len(ladder)))
    notes = []
    for beat, length, ends in rhythm:
        pull = (len(ladder) / 2 - place) / len(ladder)  # back towards the middle
        drawn = weights * np.exp(0.9 * pull * steps)
        place += int(rng.choice(steps, p=drawn / drawn.sum()))
        place = int(np.clip(place, 0, len(ladder) - 1))
        pitch = ladder[place]
        if length >= 1.0 or beat == int(beat):
            tones = theory.chord_pitches(sheet.chord_at(beat), floor, floor + span)
            pitch = min(tones, key=lambda tone: (abs(tone - pitch), tone))
            place = int(np.argmin([abs(step - pitch) for step in ladder]))
        sounding = length
        if ends and rng.random() < voice.rests:
            sounding = max(0.5, length - seeding.choice(rng, (0.25, 0.5, 1.0)))
        accent = 0.6 * (beat % sheet.metre.beats == 0) + 0.3 * (beat == int(beat))
        notes.append(BeatNote(beat, min(sounding, length), pitch, accent))
    return notes


_MELODIC = (0.3, 0.6, 1.2, 3.0, 1.2, 3.0, 1.2, 0.6, 0.3)
_SCALAR = (0.1, 0.2, 0.6, 3.5, 0.2, 3.5, 0.6, 0.2, 0.1)


def melody(voice: Voice) -> list[BeatNote]:
    """A single line in phrases."""
    return _sing(voice, _phrase_rhythm(voice), _MELODIC)


def runs(voice: Voice) -> list[BeatNote]:
    """A fast single line, mostly scales."""
    voice = dataclasses.replace(voice, density=min(1.0, voice.density * 0.4 + 0.6))
    return _sing(voice, _phrase_rhythm(voice), _SCALAR)


def duo(voice: Voice) -> list[BeatNote]:
    """A melody with a second voice a diatonic third or sixth below."""
    upper = melody(voice.narrowed(voice.low + 8, voice.high))
    distance = seeding.choice(voice.pattern, (2, 2, 5))
    ladder = voice.sheet.scale_pitches(voice.low - 12, voice.high)
    lower = []
    for note in upper:
        below = [pitch for pitch in ladder if pitch < note.pitch]
        pitch = below[-distance] if len(below) >= distance else note.pitch - 12
        if pitch >= voice.low:
            lower.append(note._replace(pitch=pitch, accent=note.accent - 0.3))
    return sorted(upper + lower)


def riff(voice: Voice) -> list[BeatNote]:
    """A short figure that comes back in every bar, moved to fit its chord."""
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
                notes.append(BeatNote(beat, length * 0.85, pitch, 0.5 * (onset == 0)))
    return _within(notes, voice)


def counter(voice: Voice) -> list[BeatNote]:
    """A calm line of long notes that moves as little as it can."""
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
    """(beat, end, pitches) of every chord, voiced near the one before."""
    centre = voice.centre + voice.rng.uniform(-4, 4)
    chords = []
    for start, end, harmony in voice.sheet.chord_spans:
        pitches = theory.voicing(harmony, centre, num_voices)
        chords.append((start, end, [p for p in pitches if voice.low <= p <= voice.high]))
        centre = 0.7 * centre + 0.3 * float(np.mean(pitches))
    return chords


def pad(voice: Voice) -> list[BeatNote]:
    """Held chords."""
    num_voices = seeding.choice(voice.pattern, (2, 3, 3, 4))
    return [
        BeatNote(start, end - start, pitch, 0.0)
        for start, end, pitches in _chords(voice, num_voices)
        for pitch in pitches
    ]


def chorale(voice: Voice) -> list[BeatNote]:
    """Four-voice chords that change with the melody on top."""
    top = melody(
        dataclasses.replace(
            voice.narrowed(int(voice.centre), voice.high), density=voice.density * 0.45
        )
    )
    notes = list(top)
    for note in top:
        harmony = voice.sheet.chord_at(note.beat)
        below = theory.chord_pitches(harmony, max(voice.low, note.pitch - 19), note.pitch - 3)
        inner = below[-2:] + below[:1]
        notes.extend(note._replace(pitch=pitch, accent=0.0) for pitch in sorted(set(inner)))
    return sorted(notes)


def _comping_cell(voice: Voice) -> list[tuple[float, float]]:
    metre = voice.sheet.metre
    if metre == theory.Metre(4, 4):
        return list(seeding.choice(voice.pattern, GENRES[voice.sheet.genre].comping))
    cell = rhythm_cell(voice.pattern, metre, 0.6 * voice.density)
    keep = voice.pattern.random(len(cell)) < 0.8
    return [one for one, kept in zip(cell, keep, strict=True) if kept] or cell[:1]


def _struck_chords(voice: Voice, cell, num_voices: int, spread_beats: float) -> list[BeatNote]:
    """Chords struck in the rhythm of a one-bar cell, their notes spread by a stroke."""
    metre, chords = voice.sheet.metre, _chords(voice, num_voices)
    notes = []
    for bar in range(len(voice.sheet.bars)):
        for onset, length in cell:
            beat = bar * metre.beats + onset
            pitches = next(p for start, end, p in reversed(chords) if start <= beat)
            downwards = onset == int(onset)
            for index, pitch in enumerate(pitches if downwards else pitches[::-1]):
                delay = index * spread_beats
                accent = 0.4 * (onset == 0) + 0.2 * downwards
                notes.append(BeatNote(beat + delay, max(length - delay, 0.1), pitch, accent))
    return notes


def comp(voice: Voice) -> list[BeatNote]:
    """Rhythmic chords in the manner of the genre."""
    num_voices = seeding.choice(voice.pattern, (3, 4, 4))
    return _struck_chords(voice, _comping_cell(voice), num_voices, 0.0)


def strum(voice: Voice) -> list[BeatNote]:
    """Guitar strumming: five or six strings, down and up."""
    metre = voice.sheet.metre
    steps = 2 if metre.steps == 4 else 3
    strokes = [step / steps for step in range(metre.beats * steps)]
    odds = 0.35 + 0.5 * voice.density
    kept = [s for s in strokes if s == int(s) or voice.pattern.random() < odds]
    cell = [
        (onset, end - onset)
        for onset, end in zip(kept, [*kept[1:], float(metre.beats)], strict=True)
    ]
    voice = voice.narrowed(voice.low, voice.low + 28)
    return _struck_chords(voice, cell, int(voice.pattern.integers(4, 7)), 0.018)


_ARPEGGIOS = (
    (0, 1, 2, 3),
    (0, 2, 1, 2),
    (3, 2, 1, 0),
    (0, 1, 2, 3, 2, 1),
    (0, 2, 1, 3),
    (0, 3, 1, 2),
)


def arpeggio(voice: Voice) -> list[BeatNote]:
    """Broken chords in a steady motion; the notes ring until the chord changes."""
    metre = voice.sheet.metre
    order = seeding.choice(voice.pattern, _ARPEGGIOS)
    fastest = voice.sheet.beat_s / metre.steps > 0.13 and voice.density > 0.4
    step = 1 / metre.steps if metre.steps == 3 or fastest else 0.5
    ring = seeding.choice(voice.pattern, (step, 2 * step, metre.beats))
    notes = []
    for start, end, pitches in _chords(voice, 4):
        for index in range(int(round((end - start) / step))):
            beat = start + index * step
            pitch = pitches[order[index % len(order)] % len(pitches)]
            again = len(order) * step * 0.98  # a string is not struck while it is held down
            length = min(ring, end - beat, again)
            notes.append(BeatNote(beat, max(length, step), pitch, 0.4 * (index == 0)))
    return notes


def bass_line(voice: Voice) -> list[BeatNote]:
    """Roots and fifths on the beat: the left hand, the thumb of a guitarist."""
    notes = []
    for start, end, harmony in voice.sheet.chord_spans:
        roots = [p for p in range(voice.low, voice.low + 12) if p % 12 == harmony.root]
        fifth = roots[0] + 7 if roots[0] + 7 <= voice.low + 14 else roots[0] - 5
        for index, beat in enumerate(np.arange(start, end, max(1.0, (end - start) / 2))):
            pitch = fifth if index % 2 and fifth >= voice.low else roots[0]
            notes.append(BeatNote(float(beat), min(2.0, end - float(beat)), pitch, 0.3))
    return notes


def fingerstyle(voice: Voice) -> list[BeatNote]:
    """Guitar alone: thumb and broken chords, at times a melody on top."""
    notes = bass_line(voice) + arpeggio(voice.narrowed(voice.low + 12, voice.high - 8))
    if voice.pattern.random() < 0.5:
        calm = dataclasses.replace(voice, density=0.4 * voice.density)
        notes += melody(calm.narrowed(voice.high - 15, voice.high))
    return _thinned(notes)


def two_hands(voice: Voice) -> list[BeatNote]:
    """Keyboard: an accompaniment in the left hand and a melody (or chords) in the right."""
    middle = int(np.clip(voice.centre, 57, 62))
    left = voice.narrowed(max(voice.low, middle - 22), middle)
    right = voice.narrowed(middle, min(voice.high, middle + 26))
    accompany = seeding.choice(voice.pattern, (arpeggio, arpeggio, comp, bass_line, pad))
    sing = seeding.choice(voice.pattern, (melody, melody, runs, duo, comp))
    return _thinned(accompany(left) + sing(right))


def power(voice: Voice) -> list[BeatNote]:
    """Fifths in steady eighths or long, as rock guitars play."""
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


def _within(notes: list[BeatNote], voice: Voice) -> list[BeatNote]:
    """Notes beyond the register are moved by octaves into it."""
    moved = []
    for note in notes:
        pitch = note.pitch
        while pitch < voice.low:
            pitch += 12
        while pitch > voice.high:
            pitch -= 12
        moved.append(note._replace(pitch=pitch))
    return moved


def _thinned(notes: list[BeatNote]) -> list[BeatNote]:
    """Two voices never strike the same key at the same time."""
    seen, kept = set(), []
    for note in sorted(notes):
        key = (round(note.beat, 3), note.pitch)
        if key not in seen:
            seen.add(key)
            kept.append(note)
    return kept


ROLES: dict[str, Callable[[Voice], list[BeatNote]]] = {
    one.__name__: one
    for one in (
        *(melody, runs, duo, riff, counter, pad, chorale, comp, strum, arpeggio),
        *(fingerstyle, two_hands, power),
    )
}

#: Roles of one note at a time, in which a player bends the pitch.
SINGLE_LINES = ("melody", "runs", "riff", "counter", "bass")
