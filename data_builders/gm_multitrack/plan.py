"""Plans for the `gm_multitrack` pieces, with instruments in proportions similar to Seipel's.

In the 115 pieces of size `full`, each instrument occurs about as often as in Seipel's 116 pieces
(2018, table 4.2; see `SEIPEL_PIECES`). The split into 92 and 23 pieces is also Seipel's.
"""

import dataclasses
from collections import Counter
from typing import NamedTuple

from data_builders.rendering import seeding

#: Instrument -> number of Seipel's pieces in which it plays.
SEIPEL_PIECES = {
    "bassoon": 51, "clarinet": 48, "double_bass": 54, "flute": 39, "french_horn": 51, "oboe": 39,
    "piano": 72, "trombone": 28, "trumpet": 28, "tuba": 24, "viola": 75, "violin": 87,
    "violoncello": 104,
}  # fmt: skip
SPLITS = ("train", "test")
#: Maximum crosstalk in dB, assigned to the pieces in rotation.
MAX_CROSSTALK_DB = (-6, -12, -18)


class Ensemble(NamedTuple):
    """Instruments that play together, and the number of (train, test) pieces for each size."""

    instruments: tuple[str, ...]
    tiny: tuple[int, int]
    small: tuple[int, int]
    full: tuple[int, int]
    long: tuple[int, int] = (0, 0)


def _ensemble(instruments: str, tiny, small, full, long=(0, 0)) -> Ensemble:
    return Ensemble(tuple(instruments.split()), tiny, small, full, long)


_WINDS = "flute oboe clarinet bassoon french_horn"
_STRINGS = "violin violin viola violoncello double_bass"
_BRASS = "trumpet trombone tuba"
#: Name -> ensemble: instruments, and numbers of pieces for sizes tiny, small, full and long.
ENSEMBLES = {
    "string_trio": _ensemble("violin viola violoncello", (0, 0), (0, 0), (2, 0)),
    "string_quartet": _ensemble("violin violin viola violoncello", (0, 1), (2, 1), (6, 2), (1, 0)),
    "piano_trio": _ensemble("violin violoncello piano", (1, 0), (2, 1), (8, 2), (1, 0)),
    "piano_quartet": _ensemble("violin viola violoncello piano", (0, 0), (1, 0), (6, 1)),
    "piano_quintet": _ensemble(
        "violin violin viola violoncello piano", (0, 0), (2, 1), (8, 2), (1, 0)
    ),
    "trout_quintet": _ensemble(
        "violin viola violoncello double_bass piano", (1, 0), (2, 1), (6, 2), (2, 1)
    ),
    "clarinet_trio": _ensemble(
        "clarinet violoncello piano", (0, 0), (1, 0), (3, 1), (1, 0)
    ),
    "flute_trio": _ensemble("flute violoncello piano", (0, 0), (1, 0), (3, 1), (1, 0)),
    "bassoon_trio": _ensemble("bassoon violoncello piano", (0, 0), (1, 0), (4, 1)),
    "oboe_trio": _ensemble("oboe bassoon piano", (0, 0), (1, 0), (3, 1), (1, 0)),
    "horn_trio": _ensemble("violin french_horn piano", (0, 0), (0, 0), (1, 0), (1, 0)),
    "wind_quintet": _ensemble(_WINDS, (1, 0), (1, 1), (2, 0), (2, 1)),
    "piano_and_winds": _ensemble("oboe clarinet french_horn bassoon piano", (0, 0), (0, 0), (1, 0)),
    "brass_quintet": _ensemble(
        f"trumpet french_horn {_BRASS}", (1, 0), (1, 1), (4, 1), (2, 1)
    ),
    "brass_and_piano": _ensemble(
        "trumpet french_horn trombone violoncello piano", (0, 0), (1, 0), (2, 1), (1, 1)
    ),
    "septet": _ensemble(
        "clarinet french_horn bassoon violin viola violoncello double_bass",
        (0, 0), (0, 0), (2, 0), (1, 0),
    ),
    "octet": _ensemble(
        f"clarinet french_horn bassoon {_STRINGS}", (0, 0), (1, 0), (5, 1), (1, 1)
    ),
    "salon_orchestra": _ensemble(
        "flute clarinet trumpet trombone piano violin violoncello double_bass",
        (0, 0), (1, 0), (2, 0),
    ),
    "nonet": _ensemble(
        f"{_WINDS} violin viola violoncello double_bass", (0, 1), (1, 1), (3, 1), (1, 0)
    ),
    "chamber_orchestra": _ensemble(
        f"{_WINDS} french_horn {_STRINGS}", (0, 0), (2, 1), (7, 2), (1, 0)
    ),
    "symphony_orchestra": _ensemble(
        f"{_WINDS} {_BRASS} {_STRINGS}", (0, 0), (1, 1), (5, 1), (2, 1)
    ),
    "symphony_orchestra_with_piano": _ensemble(
        f"{_WINDS} {_BRASS} {_STRINGS} piano", (0, 0), (2, 1), (9, 3)
    ),
}  # fmt: skip

#: Size -> ranges of `PiecePlan.max_duration_s` for up to eight tracks and for more than eight.
DURATIONS_S = {
    "tiny": ((19.0, 21.0), (12.0, 12.0)),
    "small": ((20.0, 32.0), (20.0, 25.0)),
    "full": ((30.0, 60.0), (30.0, 45.0)),
    "long": ((120.0, 300.0), (120.0, 150.0)),
}
SIZES = tuple(DURATIONS_S)


@dataclasses.dataclass(frozen=True)
class PiecePlan:
    """Plan for a piece.

    Attributes:
        split: ``train`` or ``test``.
        ensemble: key of `ENSEMBLES`.
        number: number of the piece within its split and ensemble, from 1.
        tracks: (unique name, class) for each track.
        max_duration_s: upper bound on the duration; the piece has as many bars as fit.
        max_crosstalk_db: maximum crosstalk in the spot microphone signals.
    """

    split: str
    ensemble: str
    number: int
    tracks: tuple[tuple[str, str], ...]
    max_duration_s: float
    max_crosstalk_db: int

    @property
    def name(self) -> str:
        return f"{self.ensemble}-{self.split}-{self.number}"


def plan_pieces(size: str, split: str) -> list[PiecePlan]:
    """Return the plans for all pieces in a split.

    Raises:
        ValueError: if the size or split is unknown.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}: expected one of {', '.join(SIZES)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected train or test")
    pieces = []
    for name, ensemble in ENSEMBLES.items():
        tracks = name_tracks(ensemble.instruments)
        for number in range(1, 1 + getattr(ensemble, size)[SPLITS.index(split)]):
            rng = seeding.generator("gm_multitrack", "plan", split, name, number)
            shortest_s, longest_s = DURATIONS_S[size][len(tracks) >= 9]
            max_duration_s = shortest_s + (longest_s - shortest_s) * rng.random()
            max_crosstalk_db = MAX_CROSSTALK_DB[len(pieces) % len(MAX_CROSSTALK_DB)]
            piece = PiecePlan(split, name, number, tracks, max_duration_s, max_crosstalk_db)
            pieces.append(piece)
    return pieces


def name_tracks(instruments: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return (name, class) for each player, sorted; players of the same class are numbered."""
    names: list[tuple[str, str]] = []
    for label, count in sorted(Counter(instruments).items()):
        numbers = [f"-{number}" for number in range(1, count + 1)] if count > 1 else [""]
        names += [(label + number, label) for number in numbers]
    return tuple(names)
