"""Drums and bass that follow the sections of a song.

Unlike `rhythm_section`, which repeats one groove throughout, these parts follow the form: all
verses have the same groove, fills lead into the next section, and players may rest for entire
sections.
"""

from collections.abc import Sequence
from typing import NamedTuple

from numpy.random import Generator

from data_builders.rendering import seeding
from data_builders.rendering.genres import (
    CLAP,
    CLOSED_HAT,
    COWBELL,
    CRASH,
    KICK,
    OPEN_HAT,
    RIDE,
    RIDE_BELL,
    SHAKER,
    SNARE,
    STICK,
    TAMBOURINE,
)
from data_builders.rendering.rhythm_section import bass_pitch
from data_builders.rendering.score import BeatNote
from data_builders.rendering.theory import LeadSheet, Metre

CHINA, HIGH_TOM, MID_TOM, LOW_TOM, FLOOR_TOM = 52, 50, 47, 45, 41
#: Accents of drum strokes; one unit adds 14 to the MIDI velocity.
_ACCENT, _STROKE, _SOFT, _GHOST = 1.4, 0.4, -0.6, -2.2

#: Step in the bar on which a drum or cymbal is struck -> accent.
Strokes = dict[int, float]


class Section(NamedTuple):
    """A section of a song: bars ``first`` to ``end`` (exclusive), of a ``kind`` such as "verse".

    ``stop`` names the instruments that fall silent in the last bar: "drums", "bass", "both" or "".
    """

    first: int
    end: int
    kind: str
    stop: str = ""


class Groove(NamedTuple):
    """One bar of drums: MIDI key -> strokes."""

    strokes: dict[int, Strokes]

    @property
    def kicks(self) -> list[int]:
        """Steps on which the bass drum is struck, in order."""
        return sorted(self.strokes.get(KICK, {}))


def draw_groove(rng: Generator, metre: Metre, *, loud: bool) -> Groove:
    """Draw a one-bar groove: backbeat, bass drum, cymbal and sometimes percussion.

    A ``loud`` groove, for a chorus, is busier and has more open cymbals.
    """
    backbeats = {4: (1, 3), 3: (1, 2), 2: (1,)}.get(metre.beats, tuple(range(1, metre.beats, 2)))
    if metre.beats == 4 and rng.random() < 0.12:  # half time
        backbeats = (2,)
    strokes = _draw_snare(rng, metre, backbeats, loud)
    strokes[KICK] = _draw_kick(rng, metre, backbeats, loud)
    strokes |= _draw_cymbals(rng, metre, loud)
    strokes |= _draw_percussion(rng, metre, loud)
    return Groove(strokes)


def _draw_snare(rng: Generator, metre: Metre, backbeats, loud: bool) -> dict[int, Strokes]:
    """Draw the backbeat on snare, rim or claps, with ghost notes between the beats."""
    key = seeding.draw(rng, {SNARE: 8.0, STICK: 0.3 if loud else 1.5, CLAP: 1.0})
    strokes = {beat * metre.steps: _ACCENT for beat in backbeats}
    ghost_probability = rng.uniform(0.0, 0.3) if rng.random() < 0.5 else 0.0
    for step in range(metre.steps * metre.beats):
        if step % metre.steps and rng.random() < ghost_probability:
            strokes.setdefault(step, _GHOST)
    return {key: strokes}


def _draw_kick(rng: Generator, metre: Metre, backbeats: tuple[int, ...], loud: bool) -> Strokes:
    """Draw the bass drum: four on the floor, or syncopated around the backbeat."""
    steps, beats = metre.steps, metre.beats
    if beats == 4 and rng.random() < (0.3 if loud else 0.15):
        return {beat * steps: 1.0 for beat in range(beats)}
    busy = rng.uniform(0.05, 0.4) * (1.3 if loud else 1.0)
    strokes = {0: _ACCENT}
    for step in range(1, steps * beats):
        on_beat = step % steps == 0
        probability = 0.75 if on_beat else busy * (0.9 if step % 2 == 0 else 0.35)
        if step // steps in backbeats and on_beat:
            probability = 0.08
        if rng.random() < probability:
            strokes[step] = 0.9 if on_beat else _STROKE
    return strokes


def _draw_cymbals(rng: Generator, metre: Metre, loud: bool) -> dict[int, Strokes]:
    """Draw a regular cymbal pattern; a closed hi-hat may be opened once in the bar."""
    steps, num_steps = metre.steps, metre.steps * metre.beats
    weights = {CLOSED_HAT: 7.0, RIDE: 1.5, OPEN_HAT: 0.4}
    if loud:
        weights = {CLOSED_HAT: 3.0, OPEN_HAT: 2.0, RIDE: 3.0, CRASH: 1.0, RIDE_BELL: 0.3}
    cymbal = seeding.draw(rng, weights)
    if cymbal in (CRASH, OPEN_HAT, RIDE_BELL):
        intervals = {steps: 3.0, (steps + 1) // 2: 1.0}
    else:
        intervals = {4: {1: 2.0, 2: 6.0, 4: 1.5}, 3: {1: 5.0, 3: 1.5}}[steps]
    interval = seeding.draw(rng, intervals)
    level = float(rng.uniform(-0.8, 0.4))
    struck = range(0, num_steps, interval)
    strokes = {cymbal: {step: level + (-0.5 if step % steps else 0.3) for step in struck}}
    if cymbal == CLOSED_HAT and rng.random() < 0.35:  # open near the middle or end
        step = seeding.choice(rng, (num_steps - 1, num_steps - 2, num_steps // 2 - 1))
        strokes[cymbal].pop(step, None)
        strokes[OPEN_HAT] = {step: level + 0.3}
    return strokes


def _draw_percussion(rng: Generator, metre: Metre, loud: bool) -> dict[int, Strokes]:
    """Draw a tambourine or shaker on all steps, a cowbell or claps on the beats, or nothing."""
    if rng.random() >= (0.3 if loud else 0.15):
        return {}
    key = seeding.draw(rng, {TAMBOURINE: 3.0, SHAKER: 3.0, COWBELL: 0.7, CLAP: 0.7})
    steps, beats = metre.steps, metre.beats
    if key in (TAMBOURINE, SHAKER):
        return {key: {step: _SOFT + 0.4 * (step % steps == 0) for step in range(steps * beats)}}
    return {key: {beat * steps: _SOFT for beat in range(beats)}}


def drums(
    sheet: LeadSheet, sections: Sequence[Section], grooves: dict[str, Groove], rng: Generator
) -> list[BeatNote]:
    """Compose the drum part for the given sections; all other bars stay silent.

    Args:
        sheet: metre and length of the song.
        sections: the sections with drums, in order.
        grooves: kind of section -> groove.
        rng: random generator for ghost notes, fills and crashes.
    """
    notes, last_end = [], None
    for section in sections:
        if last_end != section.first or rng.random() < 0.8:
            key = seeding.draw(rng, {CRASH: 6.0, CHINA: 0.5, RIDE: 1.0})
            notes.append(BeatNote(section.first * sheet.metre.beats, 1.0, key, 1.0))
        notes += _section_drums(sheet.metre, section, grooves[section.kind], rng)
        last_end = section.end
    return _merge_strokes(notes)


def _section_drums(
    metre: Metre, section: Section, groove: Groove, rng: Generator
) -> list[BeatNote]:
    """Repeat a groove over a section, with fills; rest in the last bar if the drums stop."""
    notes = []
    for bar in range(section.first, section.end):
        last = bar == section.end - 1
        start = bar * metre.beats
        if last and section.stop in ("drums", "both"):
            notes += [BeatNote(start, 0.2, KICK, 1.0)] if rng.random() < 0.5 else []
            continue
        has_fill = rng.random() < (0.75 if last else 0.2 * (bar % 2))
        fill_beats = float(seeding.draw(rng, {0.5: 1.0, 1.0: 4.0, 2.0: 2.0, metre.beats: 1.0}))
        groove_beats = metre.beats - min(fill_beats, metre.beats) * has_fill
        notes += _groove_bar(groove, metre, start, groove_beats, rng)
        if has_fill:
            notes += _fill(metre, start + groove_beats, start + metre.beats, rng)
    return notes


def _merge_strokes(notes: list[BeatNote]) -> list[BeatNote]:
    """Keep only the strongest of several simultaneous strokes on the same key."""
    # The dict keeps the last note for each key; among equal accents, this is the first in `notes`.
    by_accent = sorted(reversed(notes), key=lambda note: note.accent)
    return sorted({(round(note.beat, 6), note.pitch): note for note in by_accent}.values())


def _groove_bar(
    groove: Groove, metre: Metre, start: float, num_beats: float, rng: Generator
) -> list[BeatNote]:
    """Play the first ``num_beats`` beats of a groove, leaving out a few strokes at random."""
    notes = []
    for key, strokes in groove.strokes.items():
        for step, accent in strokes.items():
            left_out = rng.random() < (0.35 if accent <= _GHOST else 0.02)
            if step / metre.steps < num_beats - 1e-9 and not left_out:
                notes.append(BeatNote(start + step / metre.steps, 0.2, key, accent))
    return notes


_FILL_PATTERNS = (
    (SNARE, HIGH_TOM, MID_TOM, FLOOR_TOM),
    (HIGH_TOM, MID_TOM, LOW_TOM, FLOOR_TOM),
    (SNARE,),
    (SNARE, FLOOR_TOM),
    (MID_TOM, SNARE, LOW_TOM, SNARE),
)


def _fill(metre: Metre, first: float, end: float, rng: Generator) -> list[BeatNote]:
    """Compose a crescendo on snare and toms between two beats, over a bass drum on every beat."""
    steps = metre.steps if rng.random() < 0.7 else max(1, metre.steps // 2)
    num_strokes = max(1, round((end - first) * steps))
    keys = seeding.choice(rng, _FILL_PATTERNS)
    notes = []
    for stroke in range(num_strokes):
        progress = stroke / num_strokes
        if rng.random() < 0.88:
            key = keys[int(progress * len(keys))]
            notes.append(BeatNote(first + stroke / steps, 0.2, key, -0.2 + 1.4 * progress))
    notes += [BeatNote(first + i, 0.2, KICK, 0.3) for i in range(int(end - first))]
    return notes


#: One-bar bass patterns in 4/4: (onset in beats, length in beats, tone as in `bass_pitch`).
_BASS_PATTERNS = (
    tuple((step / 2, 0.5, 0) for step in range(8)),
    tuple((step / 2, 0.4, 2 * (step % 2)) for step in range(8)),
    ((0, 1.5, 0), (1.5, 0.5, 0), (2, 1.5, 0), (3.5, 0.5, 1)),
    ((0, 4, 0),),
    ((0, 2, 0), (2, 2, 0)),
    ((0, 1, 0), (1, 1, 0), (2, 1, 1), (3, 1, 0)),
    ((0, 0.75, 0), (0.75, 0.75, 0), (1.5, 1, 2), (2.5, 0.5, 0), (3, 1, 1)),
    ((0, 0.4, 0), (0.75, 0.25, 0), (1.5, 0.5, 2), (2, 0.4, 0), (2.75, 0.25, 0), (3.5, 0.5, 1)),
)


def bass(
    sheet: LeadSheet,
    sections: Sequence[Section],
    grooves: dict[str, Groove],
    *,
    low: int,
    high: int,
    patterns: dict[str, Generator],
    rng: Generator,
) -> list[BeatNote]:
    """Compose a bass line that follows the bass drum or a fixed pattern in the given sections.

    Args:
        sheet, sections, grooves, rng: as for `drums`.
        low, high: register as MIDI pitches, at least an octave apart.
        patterns: kind of section -> random generator for its pattern.
    """
    notes = []
    bars = {kind: _draw_bass_bar(own, sheet.metre, grooves[kind]) for kind, own in patterns.items()}
    for section in sections:
        for bar in range(section.first, section.end):
            if bar == section.end - 1 and section.stop in ("bass", "both"):
                continue
            start = bar * sheet.metre.beats
            for onset, length, tone in bars[section.kind]:
                pitch = bass_pitch(sheet, start + onset, tone, low=low, high=high)
                notes.append(BeatNote(start + onset, length, pitch, 0.3 + 0.4 * (onset == 0)))
            if rng.random() < 0.2 and notes[-1].length <= 1 and bar + 1 < len(sheet.bars):
                following = sheet.bars[bar + 1][0].root
                notes[-1] = _lead_to(following, notes[-1], sheet, low=low, high=high, rng=rng)
    return notes


def _lead_to(
    root: int, note: BeatNote, sheet: LeadSheet, *, low: int, high: int, rng: Generator
) -> BeatNote:
    """Move a note to a scale tone within a whole tone of the next root (a pitch class)."""
    target = low + (root - low) % 12
    scale = sheet.scale_pitches(max(low, target - 2), min(high, target + 2))
    neighbours = [pitch for pitch in scale if pitch != target]
    return note._replace(pitch=seeding.choice(rng, neighbours or [note.pitch]))


def _draw_bass_bar(rng: Generator, metre: Metre, groove: Groove) -> tuple:
    """Draw one bar of bass: (onset in beats, length in beats, tone) for each note."""
    follows_kick = rng.random() < 0.35
    if metre.beats == 4 and not follows_kick:
        return seeding.choice(rng, _BASS_PATTERNS)
    onsets = [step / metre.steps for step in groove.kicks]
    ends = [*onsets[1:], float(metre.beats)]
    held = rng.uniform(0.6, 1.0)
    tones = [0, *(int(rng.choice((0, 0, 0, 1, 2))) for _ in onsets[1:])]
    return tuple((a, (b - a) * held, t) for a, b, t in zip(onsets, ends, tones, strict=True))
