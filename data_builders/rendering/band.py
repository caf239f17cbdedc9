"""A band's rhythm section over the sections of a song: drums with fills and stops, bass with them.

Unlike `rhythm_section`, which plays one groove through, the players know the form: a section of a
kind brings its groove back, fills lead into the next one, and who is silent in a section is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_builders.rendering import seeding, theory
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
from data_builders.rendering.score import BeatNote

CHINA, HIGH_TOM, MID_TOM, LOW_TOM, FLOOR_TOM = 52, 50, 47, 45, 41
#: Accents of strokes: a step of one is 14 of MIDI velocity.
_ACCENT, _STROKE, _SOFT, _GHOST = 1.4, 0.4, -0.6, -2.2


class Section(NamedTuple):
    """Bars ``first`` to ``end`` (exclusive) of a song; those of one ``kind`` are alike.

    ``stop``: drums or bass fall silent in its last bar ("drums", "bass", "both" or "").
    """

    first: int
    end: int
    kind: str
    stop: str = ""


class Groove(NamedTuple):
    """One bar of drums: key -> accent of each step struck, by step."""

    strokes: dict[int, dict[int, float]]

    @property
    def kicks(self) -> list[int]:
        """Steps of the bass drum, in order."""
        return sorted(self.strokes.get(KICK, {}))


def draw_groove(rng: np.random.Generator, metre: theory.Metre, *, loud: bool) -> Groove:
    """A groove composed for a metre: bass drum, backbeat, cymbal and at times percussion.

    Args:
        rng: draws it; the same state gives the same groove.
        metre: beats and steps of the bar.
        loud: of a chorus: busier, on a more open cymbal.
    """
    steps, beats = metre.steps, metre.beats
    num_steps = steps * beats
    strokes: dict[int, dict[int, float]] = {}
    half_time = beats == 4 and rng.random() < 0.12
    # Backbeat.
    back = {4: (1, 3), 3: (1, 2), 2: (1,)}.get(beats, tuple(range(1, beats, 2)))
    if half_time:
        back = (2,)
    key = seeding.draw(rng, {SNARE: 8.0, STICK: 0.3 if loud else 1.5, CLAP: 1.0})
    strokes[key] = {beat * steps: _ACCENT for beat in back}
    ghosts = rng.uniform(0.0, 0.3) if rng.random() < 0.5 else 0.0
    for step in range(num_steps):
        if step % steps and rng.random() < ghosts:
            strokes[key].setdefault(step, _GHOST)
    # Bass drum: on the first beat, off the backbeat, syncopated.
    if beats == 4 and rng.random() < (0.3 if loud else 0.15):
        strokes[KICK] = {beat * steps: 1.0 for beat in range(beats)}
    else:
        busy = rng.uniform(0.05, 0.4) * (1.3 if loud else 1.0)
        strokes[KICK] = {0: _ACCENT}
        for step in range(1, num_steps):
            on_beat = step % steps == 0
            odds = 0.75 if on_beat else busy * (0.9 if step % 2 == 0 else 0.35)
            if step // steps in back and on_beat:
                odds = 0.08
            if rng.random() < odds:
                strokes[KICK][step] = 0.9 if on_beat else _STROKE
    # Cymbal.
    cymbals = (
        {CLOSED_HAT: 3.0, OPEN_HAT: 2.0, RIDE: 3.0, CRASH: 1.0, RIDE_BELL: 0.3}
        if loud
        else {CLOSED_HAT: 7.0, RIDE: 1.5, OPEN_HAT: 0.4}
    )
    cymbal = seeding.draw(rng, cymbals)
    every = {4: {1: 2.0, 2: 6.0, 4: 1.5}, 3: {1: 5.0, 3: 1.5}}[steps]
    if cymbal in (CRASH, OPEN_HAT, RIDE_BELL):
        every = {steps: 3.0, (steps + 1) // 2: 1.0}
    every = seeding.draw(rng, every)
    level = float(rng.uniform(-0.8, 0.4))
    strokes[cymbal] = {
        step: level + (0.3 if step % steps == 0 else -0.5) for step in range(0, num_steps, every)
    }
    if cymbal == CLOSED_HAT and rng.random() < 0.35:  # opened before a backbeat or at the end
        step = seeding.choice(rng, (num_steps - 1, num_steps - 2, num_steps // 2 - 1))
        strokes[cymbal].pop(step, None)
        strokes[OPEN_HAT] = {step: level + 0.3}
    # Percussion.
    if rng.random() < (0.3 if loud else 0.15):
        extra = seeding.draw(rng, {TAMBOURINE: 3.0, SHAKER: 3.0, COWBELL: 0.7, CLAP: 0.7})
        if extra in (TAMBOURINE, SHAKER):
            strokes[extra] = {step: _SOFT + 0.4 * (step % steps == 0) for step in range(num_steps)}
        else:
            strokes[extra] = {step * steps: _SOFT for step in range(beats)}
    return Groove(strokes)


def drums(
    sheet: theory.LeadSheet,
    sections: Sequence[Section],
    grooves: dict[str, Groove],
    rng: np.random.Generator,
) -> list[BeatNote]:
    """What the drummer plays in the given sections; in bars that belong to none, nothing.

    Args:
        frame: metre and length of the song.
        sections: those in which there are drums, in order.
        grooves: of each kind of section.
        rng: ghost notes that come and go, fills, crashes.
    """
    metre, notes = sheet.metre, []
    last_end = None
    for section in sections:
        if last_end != section.first or rng.random() < 0.8:
            key = seeding.draw(rng, {CRASH: 6.0, CHINA: 0.5, RIDE: 1.0})
            notes.append(BeatNote(section.first * metre.beats, 1.0, key, 1.0))
        for bar in range(section.first, section.end):
            last = bar == section.end - 1
            start = bar * metre.beats
            if last and section.stop in ("drums", "both"):
                notes += [BeatNote(start, 0.2, KICK, 1.0)] if rng.random() < 0.5 else []
                continue
            fills = rng.random() < (0.75 if last else 0.2 * (bar % 2))
            length = float(seeding.draw(rng, {0.5: 1.0, 1.0: 4.0, 2.0: 2.0, metre.beats: 1.0}))
            until = metre.beats - min(length, metre.beats) * fills
            notes += _bar(grooves[section.kind], metre, start, until, rng)
            if fills:
                notes += _fill(metre, start + until, start + metre.beats, rng)
        last_end = section.end
    # Two strokes of one key at one time are one stroke.
    strongest: dict[tuple[float, int], BeatNote] = {}
    for note in notes:
        place = (round(note.beat, 6), note.pitch)
        if place not in strongest or strongest[place].accent < note.accent:
            strongest[place] = note
    return sorted(strongest.values())


def _bar(groove: Groove, metre, start: float, until: float, rng) -> list[BeatNote]:
    """A bar of a groove, up to a beat of it."""
    notes = []
    for key, strokes in groove.strokes.items():
        for step, accent in strokes.items():
            left_out = rng.random() < (0.35 if accent <= _GHOST else 0.02)
            if step / metre.steps < until - 1e-9 and not left_out:
                notes.append(BeatNote(start + step / metre.steps, 0.2, key, accent))
    return notes


def _fill(metre: theory.Metre, first: float, end: float, rng) -> list[BeatNote]:
    """Around the toms from a beat to another, louder and louder; on the snare at times."""
    steps = metre.steps if rng.random() < 0.7 else max(1, metre.steps // 2)
    num_strokes = max(1, round((end - first) * steps))
    path = seeding.choice(
        rng,
        (
            (SNARE, HIGH_TOM, MID_TOM, FLOOR_TOM),
            (HIGH_TOM, MID_TOM, LOW_TOM, FLOOR_TOM),
            (SNARE,),
            (SNARE, FLOOR_TOM),
            (MID_TOM, SNARE, LOW_TOM, SNARE),
        ),
    )
    notes = []
    for stroke in range(num_strokes):
        share = stroke / num_strokes
        if rng.random() < 0.88:
            key = path[int(share * len(path))]
            notes.append(BeatNote(first + stroke / steps, 0.2, key, -0.2 + 1.4 * share))
    notes += [BeatNote(first + i, 0.2, KICK, 0.3) for i in range(int(end - first))]
    return notes


#: Steps of a bar of 4/4 in eighths: (onset, length, tone), tone 0 root, 1 fifth, 2 octave.
_BASS_CELLS = (
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
    sheet: theory.LeadSheet,
    sections: Sequence[Section],
    grooves: dict[str, Groove],
    *,
    low: int,
    high: int,
    patterns: dict[str, np.random.Generator],
    rng: np.random.Generator,
) -> list[BeatNote]:
    """A bass line over the given sections: with the bass drum, in a cell, or walking.

    Args:
        frame, sections, grooves, rng: as `drums`.
        low, high: register, at least an octave.
        patterns: generator of each kind of section, which draws its manner.
    """
    metre, notes = sheet.metre, []
    cells = {kind: _bass_cell(one, metre, grooves[kind]) for kind, one in patterns.items()}
    for section in sections:
        for bar in range(section.first, section.end):
            if bar == section.end - 1 and section.stop in ("bass", "both"):
                continue
            start = bar * metre.beats
            for onset, length, tone in cells[section.kind]:
                root = low + (sheet.chord_at(start + onset).root - low) % 12
                pitch = root + (0, 7, 12)[tone]
                pitch -= 12 * (pitch > high)
                notes.append(BeatNote(start + onset, length, pitch, 0.3 + 0.4 * (onset == 0)))
            approach = notes[-1]
            if rng.random() < 0.2 and approach.length <= 1 and bar + 1 < len(sheet.bars):
                # The last note leads to the next root, by a step of the key.
                following = low + (sheet.bars[bar + 1][0].root - low) % 12
                ladder = sheet.scale_pitches(following - 2, following + 2)
                near = [pitch for pitch in ladder if pitch != following and low <= pitch <= high]
                notes[-1] = approach._replace(pitch=seeding.choice(rng, near or [approach.pitch]))
    return notes


def _bass_cell(rng, metre: theory.Metre, groove: Groove) -> tuple:
    """(onset, length, tone) of one bar."""
    manner = rng.random()
    if metre.beats != 4 or manner < 0.35:  # with the bass drum
        onsets = [step / metre.steps for step in groove.kicks]
        ends = [*onsets[1:], float(metre.beats)]
        short = rng.uniform(0.6, 1.0)
        tones = [0, *(int(rng.choice((0, 0, 0, 1, 2))) for _ in onsets[1:])]
        return tuple((a, (b - a) * short, t) for a, b, t in zip(onsets, ends, tones, strict=True))
    return seeding.choice(rng, _BASS_CELLS)
