"""Notes as plain data: in beats as composed, in seconds as played."""

import dataclasses
from typing import NamedTuple

from data_builders.rendering.instruments import Instrument


class BeatNote(NamedTuple):
    """A composed note: onset and length in beats, MIDI pitch, accent (0 = none, 1 = strong)."""

    beat: float
    length: float
    pitch: int
    accent: float = 0.0


class Note(NamedTuple):
    """A played note: onset and duration in seconds, MIDI pitch, velocity 1 to 127."""

    onset_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclasses.dataclass(frozen=True)
class Part:
    """What one instrument plays.

    Attributes:
        instrument: who plays.
        notes: in order of onset.
        bend: (time_s, cents) in order of time: all sounding notes are bent by it from then on,
            within 200 cents.
        swell: (time_s, gain_db) breakpoints in order of time, linear in between; none: 0 dB.
        tuning_cents: constant mistuning.
    """

    instrument: Instrument
    notes: tuple[Note, ...]
    bend: tuple[tuple[float, float], ...] = ()
    swell: tuple[tuple[float, float], ...] = ()
    tuning_cents: float = 0.0
