"""Expressive performance of composed notes: timing, dynamics, articulation and pitch bends."""

import numpy as np
from numpy.random import Generator

from data_builders.rendering import seeding
from data_builders.rendering.instruments import Instrument
from data_builders.rendering.parts import SINGLE_LINES
from data_builders.rendering.score import BeatNote, Note, Part
from data_builders.rendering.theory import LeadSheet

_BEND_STEP_S = 0.012
_ARTICULATIONS = {"legato": 1.0, "portato": 0.88, "detached": 0.7}


def perform(
    notes: list[BeatNote],
    *,
    instrument: Instrument,
    role: str,
    sheet: LeadSheet,
    pattern: Generator,
    rng: Generator,
    max_gap_s: float | None = None,
) -> Part:
    """Perform composed notes with a player's timing, articulation and expression.

    Args:
        role: name of the role, which determines whether the pitch may bend.
        sheet: tempo and swing.
        pattern: the song's random generator, for the player's timing, loudness, articulation and
            tuning.
        rng: the clip's random generator, for deviations of individual notes.
        max_gap_s: longest pause between notes; longer pauses are filled by holding or repeating
            notes. None for no limit.
    """
    looseness_s = pattern.uniform(0.003, 0.014)
    lag_s = pattern.normal(0.0, 0.006)
    loudness = pattern.uniform(68, 104)
    articulation = seeding.choice(pattern, ("legato", "legato", "portato", "detached"))
    tuning_cents = float(np.clip(pattern.normal(0.0, 6.0), -18, 18))
    arch_db = pattern.uniform(1.0, 5.0) if instrument.swells else 0.0

    phrase_s = 4 * sheet.metre.beats * sheet.beat_s
    performed = []
    for note in notes:
        onset_s = sheet.seconds(note.beat)
        end_s = sheet.seconds(note.beat + note.length)
        held = _ARTICULATIONS["legato" if note.length > 1.5 else articulation]
        duration_s = max((end_s - onset_s) * held - 0.005, 0.05)
        onset_s = max(0.0, onset_s + lag_s + rng.normal(0.0, looseness_s))
        arch = np.sin(np.pi * ((onset_s / phrase_s) % 1.0)) * 8.0
        velocity = loudness + 14.0 * note.accent + arch + rng.normal(0.0, 5.0)
        performed.append(Note(onset_s, duration_s, note.pitch, int(np.clip(velocity, 25, 127))))
    performed.sort()
    if max_gap_s is not None:
        performed = _fill_gaps(performed, max_gap_s, instrument.sustains)
    return Part(
        instrument=instrument,
        notes=tuple(_separate_repeats(performed)),
        bend=_bend(performed, instrument, role, pattern, rng),
        swell=_swell(performed, instrument, arch_db, pattern, rng),
        tuning_cents=tuning_cents,
    )


def _fill_gaps(notes: list[Note], max_gap_s: float, sustains: bool) -> list[Note]:
    """Hold (or, for a decaying sound, repeat) notes so that no pause exceeds ``max_gap_s``."""
    filled, sounding_until_s = [], 0.0
    for note in notes:
        gap_s = note.onset_s - sounding_until_s
        if filled and gap_s > max_gap_s:
            last = filled[-1]
            if sustains:
                longer_s = note.onset_s - 0.5 * max_gap_s - last.onset_s
                filled[-1] = last._replace(duration_s=longer_s)
            else:
                filled.append(last._replace(onset_s=sounding_until_s, duration_s=gap_s))
        filled.append(note)
        sounding_until_s = max(sounding_until_s, note.onset_s + note.duration_s)
    return filled


def _separate_repeats(notes: list[Note]) -> list[Note]:
    """End each note before its key is struck again; a late note-off would end the new note."""
    next_onset_s: dict[int, float] = {}
    separated = []
    for note in reversed(notes):
        limit_s = next_onset_s.get(note.pitch, np.inf) - note.onset_s - 0.004
        next_onset_s[note.pitch] = note.onset_s
        if limit_s > 0.02:
            separated.append(note._replace(duration_s=min(note.duration_s, limit_s)))
    return separated[::-1]


def _bend(notes, instrument: Instrument, role: str, pattern, rng) -> tuple:
    """Draw the pitch bend: scoops and delayed vibrato, or the effect of a Leslie speaker."""
    if not notes:
        return ()
    rate_hz = pattern.uniform(4.6, 6.6)
    depth_cents = instrument.vibrato_cents * pattern.uniform(0.3, 1.4)
    curve: list[tuple[float, float]] = []
    if instrument.modulation == "leslie" and pattern.random() < 0.7:
        end_s = max(note.onset_s + note.duration_s for note in notes)
        times = np.arange(0.0, end_s, _BEND_STEP_S)
        cents = 7.0 * np.sin(2 * np.pi * rate_hz * times)
        return tuple(zip(times.tolist(), cents.tolist(), strict=True))
    if role not in SINGLE_LINES or not instrument.vibrato_cents:
        return ()
    for index, note in enumerate(notes):
        following = notes[index + 1].onset_s if index + 1 < len(notes) else np.inf
        # The bend covers the note and its release, until the next note begins.
        times = np.arange(0.0, min(note.duration_s + 0.1, following - note.onset_s), _BEND_STEP_S)
        cents = np.zeros_like(times)
        if note.duration_s > 0.35:
            onset = np.clip((times - rng.uniform(0.12, 0.3)) / 0.25, 0.0, 1.0)
            phase = rng.uniform(0.0, 2 * np.pi)
            cents += depth_cents * onset * np.sin(2 * np.pi * rate_hz * times + phase)
        if rng.random() < instrument.scoops:
            cents -= rng.uniform(40, 130) * np.exp(-times / rng.uniform(0.03, 0.07))
        curve.extend(zip((note.onset_s + times).tolist(), cents.tolist(), strict=True))
    return tuple(curve)


def _swell(notes, instrument: Instrument, arch_db: float, pattern, rng) -> tuple:
    """Draw slow changes in dynamics, or the tremolo of a Leslie speaker or an amplifier."""
    if not notes:
        return ()
    end_s = max(note.onset_s + note.duration_s for note in notes) + 1.0
    if pattern.random() < {"leslie": 0.6, "tremolo": 0.2}.get(instrument.modulation, 0.0):
        rate_hz, depth_db = pattern.uniform(4.0, 6.5), pattern.uniform(0.8, 2.5)
        times = np.arange(0.0, end_s, 0.02)
        gains_db = depth_db * np.sin(2 * np.pi * rate_hz * times)
        return tuple(zip(times.tolist(), gains_db.tolist(), strict=True))
    if not arch_db:
        return ()
    points, time_s = [], 0.0
    while time_s < end_s:
        points.append((time_s, float(rng.uniform(-arch_db, 0.0))))
        time_s += rng.uniform(0.6, 2.2)
    return tuple(points)
