"""Keys, chords, metres, and the lead sheet that all parts of a piece share."""

import dataclasses
import math
import re

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

_INTERVALS = {
    "": (0, 4, 7), "m": (0, 3, 7), "dim": (0, 3, 6), "sus": (0, 5, 7),
    "6": (0, 4, 7, 9), "7": (0, 4, 7, 10), "9": (0, 4, 7, 10, 14), "M7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10), "m9": (0, 3, 7, 10, 14), "h7": (0, 3, 6, 10), "o7": (0, 3, 6, 9),
}  # fmt: skip
_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_SYMBOL = re.compile(r"^([b#]?)(VII|VI|IV|V|III|II|I)(m7|m9|m|M7|dim|sus|h7|o7|6|7|9)?$")


@dataclasses.dataclass(frozen=True)
class Chord:
    """A chord: the pitch class of its root (0 to 11) and the intervals above it in semitones."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        return tuple((self.root + step) % 12 for step in self.intervals)


def chord(symbol: str, tonic: int) -> Chord:
    """Parse a chord symbol relative to the tonic, e.g. ``bVII``, ``IIm7``, ``V7``.

    Degrees always refer to the major scale, so minor keys use symbols such as ``Im`` and ``bVI``.

    Raises:
        ValueError: if the symbol is unknown.
    """
    match = _SYMBOL.match(symbol)
    if not match:
        raise ValueError(f"unknown chord symbol {symbol!r}")
    accidental, degree, quality = match.groups()
    shift = {"": 0, "b": -1, "#": 1}[accidental]
    return Chord((tonic + _DEGREES[degree] + shift) % 12, _INTERVALS[quality or ""])


@dataclasses.dataclass(frozen=True)
class Metre:
    """Beats per bar and steps per beat (4 for sixteenths; 3 for triplets, 6/8 and 12/8)."""

    beats: int
    steps: int


@dataclasses.dataclass(frozen=True)
class LeadSheet:
    """Tempo, metre, key and chords of a piece.

    Attributes:
        tempo_bpm: tempo in beats per minute.
        metre: beats per bar and steps per beat.
        swing: position of the second eighth note in a beat, 0.5 (straight) to 0.67 (triplet).
        tonic: pitch class of the tonic.
        scale: key of `SCALES`.
        bars: chords in each bar, evenly spaced.
        genre: genre name.
    """

    tempo_bpm: float
    metre: Metre
    swing: float
    tonic: int
    scale: str
    bars: tuple[tuple[Chord, ...], ...]
    genre: str

    @property
    def num_beats(self) -> int:
        return len(self.bars) * self.metre.beats

    @property
    def beat_s(self) -> float:
        return 60.0 / self.tempo_bpm

    def seconds(self, beat: float) -> float:
        """Return the time of a beat in seconds, with swing."""
        start = math.floor(beat)
        phase = beat - start
        if phase < 0.5:
            phase *= self.swing / 0.5
        else:
            phase = self.swing + (phase - 0.5) * (1.0 - self.swing) / 0.5
        return (start + phase) * self.beat_s

    def chord_at(self, beat: float) -> Chord:
        """Return the chord that sounds at ``beat``."""
        return self.chord_spans[self._span_index(beat)][2]

    def chord_end(self, beat: float) -> float:
        """Return the beat at which the chord that sounds at ``beat`` ends."""
        return self.chord_spans[self._span_index(beat)][1]

    @property
    def chord_spans(self) -> list[tuple[float, float, Chord]]:
        """(first beat, end beat, chord) for each chord, in order."""
        spans = []
        for bar, chords in enumerate(self.bars):
            length = self.metre.beats / len(chords)
            for index, harmony in enumerate(chords):
                start = bar * self.metre.beats + index * length
                spans.append((start, start + length, harmony))
        return spans

    def _span_index(self, beat: float) -> int:
        bar = min(max(int(beat // self.metre.beats), 0), len(self.bars) - 1)
        before = sum(len(chords) for chords in self.bars[:bar])
        position = (beat - bar * self.metre.beats) / self.metre.beats * len(self.bars[bar])
        return before + min(max(int(position), 0), len(self.bars[bar]) - 1)

    def scale_pitches(self, low: int, high: int) -> list[int]:
        """Return the pitches in the key from ``low`` to ``high``, inclusive."""
        classes = {(self.tonic + step) % 12 for step in SCALES[self.scale]}
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


def chord_pitches(harmony: Chord, low: int, high: int) -> list[int]:
    """Return all pitches in a chord from ``low`` to ``high``, inclusive."""
    classes = set(harmony.pitch_classes)
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


def voicing(harmony: Chord, centre: float, num_voices: int) -> list[int]:
    """Return a close voicing of ``num_voices`` chord tones around a pitch, lowest first."""
    near = sorted(
        chord_pitches(harmony, math.floor(centre) - 12, math.ceil(centre) + 12),
        key=lambda pitch: (abs(pitch - centre), pitch),
    )
    return sorted(near[:num_voices])
