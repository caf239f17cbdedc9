"""Genres as distributions of tempo, metre, harmony and groove, and lead sheets drawn from them."""

import dataclasses

import numpy as np
from numpy.random import Generator

from data_builders.rendering import seeding, theory

#: General MIDI percussion keys.
KICK, STICK, SNARE, CLAP, CLOSED_HAT, OPEN_HAT, PEDAL_HAT = 36, 37, 38, 39, 42, 46, 44
RIDE, CRASH, RIDE_BELL, TAMBOURINE, COWBELL = 51, 49, 53, 54, 56
HIGH_CONGA, LOW_CONGA, SHAKER, CLAVE, LOW_TOM, BONGO = 63, 64, 70, 75, 45, 60

#: Chord progressions: (scale, chords in each bar).
_POP = (
    ("major", "I V VIm IV"), ("major", "VIm IV I V"), ("major", "I IV I V"),
    ("major", "I VIm IV V"), ("mixolydian", "I bVII IV I"), ("minor", "Im bVI bIII bVII"),
    ("minor", "Im bVII bVI bVII"), ("dorian", "Im7 IV Im7 IV"), ("minor", "Im IVm bVI V"),
    ("major", "IM7 IIIm7 IVM7 IV,V"), ("minor", "Im Im bVI,bVII Im"),
)  # fmt: skip
_JAZZ = (
    ("major", "IIm7 V7 IM7 VIm7"), ("major", "IM7,VI7 IIm7,V7 IIIm7,VI7 IIm7,V7"),
    ("mixolydian", "I7 IV7 I7 I7 IV7 IV7 I7 VI7 IIm7 V7 I7 V7"),
    ("dorian", "Im7 Im7 bIIm7 Im7"), ("minor", "IIh7 V7 Im Im7"),
    ("major", "IM7 #Io7 IIm9 V9"), ("minor", "Im7 IVm7 IIh7 V7"),
)  # fmt: skip
_CLASSICAL = (
    ("major", "I IV V7 I"), ("major", "I V I,IV V I VIm IIm,V7 I"), ("major", "I IIm V7 VIm"),
    ("minor", "Im IVm V7 Im"), ("minor", "Im bVI IVm V"), ("major", "I,V VIm,IIIm IV,I IV,V"),
    ("minor", "Im V7 Im,IVm V7 bVI bIII IIdim,V7 Im"), ("major", "I II7 V I,V7"),
)  # fmt: skip
_FOLK = (
    ("major", "I I IV V"), ("major", "I V I,IV I,V"), ("mixolydian", "I bVII I bVII"),
    ("dorian", "Im bVII Im bVII"), ("major", "I IV I V7"), ("minor", "Im bVII bVI V"),
    ("major", "I VIm IV V"),
)  # fmt: skip
_LATIN = (
    ("major", "IM7 IM7 II7 II7 IIm7 V7 IM7 V7"), ("minor", "Im IVm V7 Im"),
    ("minor", "Im7 IV7 Im7 IV7"), ("major", "I IV V7 IV"), ("minor", "Im bVII bVI V7"),
    ("major", "IIm7 V7 IM7 IVM7"), ("minor", "IIh7 V7 Im7 Im7"),
)  # fmt: skip

_FOUR, _THREE, _SIX = theory.Metre(4, 4), theory.Metre(3, 4), theory.Metre(2, 3)
_SHUFFLE = theory.Metre(4, 3)

#: One bar of drums: MIDI key -> one character per step (X accent, x stroke, o ghost note, . rest).
Groove = dict[int, str]


@dataclasses.dataclass(frozen=True)
class Genre:
    """Distributions from which the pieces of a genre are drawn.

    Attributes:
        name: genre name, as in IRMAS.
        tempi_bpm: (low, high) ranges; a range is drawn, then a tempo within it.
        metres: weight of each metre.
        progressions: (scale, chord symbols for each bar).
        swing: range of `LeadSheet.swing` in pieces that swing.
        swing_probability: share of pieces in 4/4 that swing.
        drum_probability, bass_probability: share of pieces with drums and with bass.
        bass: styles for `rhythm_section.bass`.
        grooves: one-bar drum grooves for each metre.
        comping: one-bar comping rhythms in 4/4, as (beat, length) pairs.
    """

    name: str
    tempi_bpm: tuple[tuple[float, float], ...]
    metres: dict[theory.Metre, float]
    progressions: tuple[tuple[str, str], ...]
    swing: tuple[float, float]
    swing_probability: float
    drum_probability: float
    bass_probability: float
    bass: tuple[str, ...]
    grooves: dict[theory.Metre, tuple[Groove, ...]]
    comping: tuple[tuple[tuple[float, float], ...], ...]


_ROCK_GROOVES = (
    {KICK: "X.......X.......", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
    {KICK: "X..x..x.X.......", SNARE: "....X.......X..o", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
    {KICK: "X...x...X...x...", SNARE: "....X.......X...", OPEN_HAT: "..x...x...x...x."},
    {KICK: "X......xX.x.....", SNARE: "....X..o....X...", RIDE: "x.x.x.x.x.x.x.x."},
    {KICK: "X.x...x...x.....", SNARE: "........X.......", CLOSED_HAT: "x...x...x...x..."},
    {KICK: "X.....x.x.......", CLAP: "....X.......X...", SHAKER: "xoxoxoxoxoxoxoxo"},
)
_WALTZ_GROOVES = (
    {KICK: "X...........", SNARE: "....x...x...", CLOSED_HAT: "x.x.x.x.x.x."},
    {KICK: "X.........x.", RIDE: "x...x.x.x...", STICK: "....x......."},
)
_COMPOUND_GROOVES = (
    {KICK: "X..x..", SNARE: "...X..", CLOSED_HAT: "xoxxox"},
    {KICK: "X.....", SNARE: "...X.o", TAMBOURINE: "x.xx.x"},
)
_SHUFFLE_GROOVES = (
    {KICK: "X.....X..x..", SNARE: "...X.....X..", CLOSED_HAT: "x.xx.xx.xx.x"},
    {KICK: "X..x..x..x..", SNARE: "...X.....X.o", RIDE: "x..x.xx..x.x"},
)
_JAZZ_GROOVES = (
    {RIDE: "x...x.x.x...x.x.", PEDAL_HAT: "....x.......x...", KICK: "o...o...o...o..."},
    {RIDE: "x...x.x.x...x.x.", PEDAL_HAT: "....x.......x...", SNARE: "......o.......o."},
    {SNARE: "x.o.x.x.x.o.x.x.", PEDAL_HAT: "....x.......x...", KICK: "x.......o......."},
    {RIDE: "x.x.x.x.x.x.x.x.", STICK: "......x...x.....", KICK: "x..xx..xx..xx..x"},
)
_FOLK_GROOVES = (
    {KICK: "X.......x.......", SNARE: "....x..o....x..o", CLOSED_HAT: "..x...x...x...x."},
    {KICK: "X.......X.......", SNARE: "o.x.x.x.o.x.x.x.", TAMBOURINE: "....x.......x..."},
    {SNARE: "xoXoxoXoxoXoxoXo", KICK: "X.......x......."},
)
_LATIN_GROOVES = (
    {KICK: "X..xX..xX..xX..x", STICK: "x..x..x...x..x..", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
    {CLAVE: "x..x..x...x.x...", HIGH_CONGA: "o..xo.x.o..xo...", LOW_CONGA: "......xx......xx",
     SHAKER: "x.x.x.x.x.x.x.x."},
    {KICK: "X...X...X...X...", SNARE: "...x..x....x..x.", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
    {COWBELL: "x...x.x.x...x.x.", HIGH_CONGA: "..x.....xx..x...", LOW_CONGA: "......xx......xx",
     BONGO: "x.oxx.oxx.oxx.ox"},
)  # fmt: skip

GENRES = {
    "pop_roc": Genre(
        "pop_roc", ((68, 96), (96, 128), (120, 160)), {_FOUR: 8, _SHUFFLE: 1, _SIX: 1}, _POP,
        (0.54, 0.6), 0.12, 0.8, 0.9, ("eighths", "roots", "octaves", "syncopated"),
        {_FOUR: _ROCK_GROOVES, _SHUFFLE: _SHUFFLE_GROOVES, _SIX: _COMPOUND_GROOVES},
        (((0, 1), (1, 1), (2, 1), (3, 1)), ((0, 2), (2, 1.5), (3.5, 0.5)),
         ((0, 0.5), (1.5, 0.5), (2, 0.5), (3, 0.5)), ((0, 0.5), (0.5, 0.5), (1.5, 1), (2.5, 1.5)),
         ((0, 1.5), (1.5, 1.5), (3, 1))),
    ),
    "jaz_blu": Genre(
        "jaz_blu", ((60, 92), (100, 150), (150, 220)), {_FOUR: 7, _SHUFFLE: 1.5, _THREE: 1}, _JAZZ,
        (0.58, 0.67), 0.85, 0.65, 0.8, ("walking", "walking", "roots", "two_feel"),
        {_FOUR: _JAZZ_GROOVES, _SHUFFLE: _SHUFFLE_GROOVES, _THREE: _WALTZ_GROOVES},
        (((0, 1.5), (1.5, 0.5)), ((1.5, 0.5), (3.5, 0.5)), ((0, 0.5), (1.5, 1), (3, 0.5)),
         ((0.5, 0.5), (2, 1.5)), ((0, 1), (1, 1), (2, 1), (3, 1)), ((0, 3), (3.5, 0.5))),
    ),
    "cla": Genre(
        "cla", ((54, 80), (80, 116), (116, 150)), {_FOUR: 5, _THREE: 3, _SIX: 2}, _CLASSICAL,
        (0.5, 0.5), 0.0, 0.02, 0.08, ("roots", "two_feel"),
        {_FOUR: _FOLK_GROOVES, _THREE: _WALTZ_GROOVES, _SIX: _COMPOUND_GROOVES},
        (((0, 1), (1, 1), (2, 1), (3, 1)), ((0, 2), (2, 2)), ((0, 4),),
         ((0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)),
         ((0.5, 0.5), (1.5, 0.5), (2.5, 0.5), (3.5, 0.5))),
    ),
    "cou_fol": Genre(
        "cou_fol", ((70, 100), (96, 130), (125, 165)), {_FOUR: 6, _THREE: 2, _SIX: 2}, _FOLK,
        (0.54, 0.62), 0.2, 0.45, 0.65, ("two_feel", "two_feel", "roots", "eighths"),
        {_FOUR: _FOLK_GROOVES, _THREE: _WALTZ_GROOVES, _SIX: _COMPOUND_GROOVES},
        (((0, 0.5), (1, 0.5), (1.5, 0.5), (2, 0.5), (3, 0.5), (3.5, 0.5)),
         ((0, 1), (1, 1), (2, 1), (3, 1)), ((1, 0.5), (3, 0.5)),
         ((0, 2), (2, 2)), ((0, 1), (1, 0.5), (1.5, 1), (2.5, 0.5), (3, 1))),
    ),
    "lat_sou": Genre(
        "lat_sou", ((70, 100), (96, 126), (120, 150)), {_FOUR: 9, _SIX: 1}, _LATIN,
        (0.5, 0.53), 0.2, 0.7, 0.85, ("bossa", "tumbao", "bossa", "syncopated"),
        {_FOUR: _LATIN_GROOVES, _SIX: _COMPOUND_GROOVES},
        (((0, 0.5), (1, 0.5), (1.5, 1), (3, 0.5), (3.5, 0.5)),
         ((0, 0.5), (1.5, 0.5), (2.5, 0.5), (3.5, 0.5)),
         ((0.5, 0.5), (1.5, 0.5), (2.5, 1), (3.5, 0.5)), ((0, 1.5), (1.5, 1.5), (3, 1))),
    ),
}  # fmt: skip


def draw_lead_sheet(
    rng: Generator, genre: str, *, duration_s: float, first_bar: int = 0
) -> theory.LeadSheet:
    """Draw the tempo, metre, key and chord progression of a piece.

    Args:
        rng: random generator.
        genre: key of `GENRES`.
        duration_s: minimum length in seconds; affects only the number of bars.
        first_bar: number of bars to skip at the start of the progression.
    """
    style = GENRES[genre]
    tempo_bpm = rng.uniform(*seeding.choice(rng, style.tempi_bpm))
    metre = seeding.draw(rng, style.metres)
    swings = rng.random() < style.swing_probability and metre.steps == 4
    swing = rng.uniform(*style.swing) if swings else 0.5
    tonic = int(rng.integers(12))
    scale, symbols = seeding.choice(rng, style.progressions)
    if metre.steps == 3 and metre.beats == 2:  # dotted beats of 6/8
        tempo_bpm *= 0.6
    loop = [tuple(theory.chord(s, tonic) for s in bar.split(",")) for bar in symbols.split()]
    num_bars = int(np.ceil(duration_s * tempo_bpm / 60.0 / metre.beats)) + 1
    bars = tuple(loop[(first_bar + index) % len(loop)] for index in range(num_bars))
    return theory.LeadSheet(tempo_bpm, metre, swing, tonic, scale, bars, genre)
