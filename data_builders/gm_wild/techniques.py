"""Playing techniques of the `gm_wild` clips.

Real players vary dynamics, vibrato and tone more than `performance` does. `performance` cannot
change, because frozen datasets also use it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from data_builders.rendering import mix, seeding
from data_builders.rendering.score import Note, Part
from data_builders.rendering.synth import GAIN_STEP, SAMPLE_RATE_HZ

#: Weights of the techniques of sustaining instruments with vibrato; voices use only `_SUNG`.
_SHARES = dict(ordinary=0.45, straight=0.14, vibrato=0.2, trill=0.12, tremolo=0.04, flutter=0.05)
_SUNG = ("ordinary", "straight", "vibrato")
#: Kinds of instruments whose strings may ring on after their notes.
_RINGING = ("gac", "gel", "harp", "banjo", "plucked")
#: Time step of bends.
_STEP_S = 0.012
#: Intervals of trills, slightly flat, since `Part.bend` is limited to 200 cents.
_SEMITONE_CENTS, _WHOLE_TONE_CENTS = 95.0, 195.0


def vary(part: Part, rng: Generator) -> Part:
    """Draw a technique for a part, and often change its dynamics."""
    if rng.random() < 0.5:
        change = rng.uniform(-60, 25)
        part = _replace_notes(
            part,
            lambda note: [note._replace(velocity=int(np.clip(note.velocity + change, 10, 127)))],
        )
    instrument = part.instrument
    if instrument.sustains and instrument.vibrato_cents:
        weights = _SHARES
        if instrument.kind == "voi":
            weights = {name: weights[name] for name in _SUNG}
        technique = seeding.draw(rng, weights)
        if technique != "ordinary":
            part = TECHNIQUES[technique](part, rng)
    elif instrument.kind in _RINGING:
        if rng.random() < 0.06:
            part = _tremolo(part, rng)
        elif rng.random() < 0.35:
            factor = rng.uniform(1.5, 5.0)
            part = _replace_notes(part, lambda note: [_lengthen(note, factor)])
    return part


def colour(stem: np.ndarray, part: Part, rng: Generator) -> np.ndarray:
    """Change the tone of a stem, float32 (T, C): tilt its spectrum, and sometimes make it dull.

    The cut-off frequency of dull stems lies between 1.5 times the frequency of the part's median
    pitch (at most 4 kHz) and 8 kHz.
    """
    pitches = [note.pitch for note in part.notes]
    if pitches and rng.random() < 0.35:
        lowest_hz = min(1.5 * 440 * 2 ** ((np.median(pitches) - 69) / 12), 4000.0)
        cutoff_hz = float(np.exp(rng.uniform(np.log(lowest_hz), np.log(8000.0))))
        stem = mix.lowpass(stem, cutoff_hz, int(rng.integers(1, 3)))
    tilt_db = float(rng.normal(0.0, 3.5))
    return mix.equalise(stem, ((200.0, -tilt_db, 0.4), (4000.0, tilt_db, 0.4)))


def _replace_notes(part: Part, change: Callable[[Note], list[Note]]) -> Part:
    """Replace each note of a part by others."""
    notes = [changed for note in part.notes for changed in change(note)]
    return dataclasses.replace(part, notes=tuple(sorted(notes)))


def _lengthen(note: Note, factor: float) -> Note:
    return note._replace(duration_s=note.duration_s * factor)


def _straight(part: Part, rng: Generator) -> Part:
    """Remove vibrato and scoops."""
    del rng
    return dataclasses.replace(part, bend=())


def _vibrato(part: Part, rng: Generator) -> Part:
    """Play with a vibrato of up to 90 cents and 4 dB in each direction, at 3.5 to 8 Hz."""
    rate_hz, depth_cents = rng.uniform(3.5, 8.0), rng.uniform(0.0, 90.0)
    depth_db = rng.uniform(0.0, 4.0)
    delay_s = rng.uniform(0.0, 0.4)

    def cents(times_s: np.ndarray) -> np.ndarray:
        onset = np.clip((times_s - delay_s) / 0.15, 0.0, 1.0)
        return depth_cents * onset * np.sin(2 * np.pi * rate_hz * times_s)

    return _modulate(_bend(part, cents), rate_hz, depth_db)


def _trill(part: Part, rng: Generator) -> Part:
    """Trill to the semitone or whole tone above."""
    rate_hz, interval_cents = (
        rng.uniform(3.5, 8.5),
        rng.choice((_SEMITONE_CENTS, _WHOLE_TONE_CENTS)),
    )
    delay_s = rng.choice((0.0, rng.uniform(0.1, 0.4)))

    def cents(times_s: np.ndarray) -> np.ndarray:
        upper = np.clip(4 * np.sin(2 * np.pi * rate_hz * (times_s - delay_s)), -1.0, 1.0)
        return np.where(times_s > delay_s, 0.5 * interval_cents * (1 + upper), 0.0)

    return _bend(part, cents)


def _tremolo(part: Part, rng: Generator) -> Part:
    """Repeat each note rapidly; notes shorter than a repetition are lengthened to it."""
    interval_s = 1 / rng.uniform(7.0, 14.0)

    def repeat(note: Note) -> list[Note]:
        count = max(1, int(note.duration_s / interval_s))
        return [
            note._replace(onset_s=note.onset_s + number * interval_s, duration_s=0.9 * interval_s)
            for number in range(count)
        ]

    return _replace_notes(part, repeat)


def _flutter(part: Part, rng: Generator) -> Part:
    """Flutter-tongue the notes: modulate their loudness at 18 to 30 Hz."""
    return _modulate(part, rng.uniform(18.0, 30.0), rng.uniform(3.0, 9.0))


#: Technique -> function that applies it to a part.
TECHNIQUES: dict[str, Callable[[Part, Generator], Part]] = dict(
    straight=_straight, vibrato=_vibrato, trill=_trill, tremolo=_tremolo, flutter=_flutter
)


def _bend(part: Part, cents: Callable[[np.ndarray], np.ndarray]) -> Part:
    """Replace the bend of a part by a function of the time since the onset of each note."""
    curve: list[tuple[float, float]] = []
    for index, note in enumerate(part.notes):
        following = part.notes[index + 1].onset_s if index + 1 < len(part.notes) else np.inf
        end_s = min(note.duration_s + 0.1, following - note.onset_s)
        times_s = np.arange(0.0, end_s, _STEP_S)
        curve.extend(zip((note.onset_s + times_s).tolist(), cents(times_s).tolist(), strict=True))
    return dataclasses.replace(part, bend=tuple(curve))


def _modulate(part: Part, rate_hz: float, depth_db: float) -> Part:
    """Let the loudness fluctuate by plus or minus ``depth_db``."""
    if not part.notes:
        return part
    end_s = max(note.onset_s + note.duration_s for note in part.notes) + 0.5
    times_s = np.arange(0.0, end_s, GAIN_STEP / SAMPLE_RATE_HZ)
    gains_db = depth_db * np.sin(2 * np.pi * rate_hz * times_s)
    if part.swell:
        gains_db += np.interp(times_s, *np.array(part.swell).T)
    return dataclasses.replace(
        part, swell=tuple(zip(times_s.tolist(), gains_db.tolist(), strict=True))
    )
