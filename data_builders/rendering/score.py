"""Notes and parts as plain data: composed in beats, performed in seconds."""

import dataclasses
from typing import NamedTuple

import numpy as np

from data_builders.rendering.instruments import Instrument


class BeatNote(NamedTuple):
    """A composed note: onset and length in beats, MIDI pitch, accent (0 = none, 1 = strong)."""

    beat: float
    length: float
    pitch: int
    accent: float = 0.0


class Note(NamedTuple):
    """A performed note: onset and duration in seconds, MIDI pitch, velocity 1 to 127."""

    onset_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclasses.dataclass(frozen=True)
class Part:
    """The performed part of one instrument.

    Attributes:
        instrument: the instrument that plays the part.
        notes: notes in order of onset.
        bend: (time_s, cents) in chronological order: from ``time_s`` on, all sounding notes are
            bent by ``cents``, at most 200 up or down.
        swell: (time_s, gain_db) breakpoints in chronological order, interpolated linearly; 0 dB if
            empty.
        tuning_cents: constant detuning.
    """

    instrument: Instrument
    notes: tuple[Note, ...]
    bend: tuple[tuple[float, float], ...] = ()
    swell: tuple[tuple[float, float], ...] = ()
    tuning_cents: float = 0.0

    def bend_cents(self, times_s: np.ndarray) -> np.ndarray:
        """Return the bend in cents at the given times, (T,), interpolated linearly."""
        bend = np.array(self.bend or [(0.0, 0.0)])
        return np.interp(times_s, bend[:, 0], bend[:, 1])


def notes_between(notes: list[BeatNote], first: float, end: float) -> list[BeatNote]:
    """Return the notes with ``first <= beat < end``, truncated at ``end``."""
    return [
        note._replace(length=min(note.length, end - note.beat))
        for note in notes
        if first <= note.beat < end
    ]
