"""Gives an ensemble its roles and lets it play: names of seats to stems."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_builders.rendering import parts, performance, rhythm_section, seeding, theory
from data_builders.rendering.instruments import Instrument, of_kind
from data_builders.rendering.score import Part


@dataclasses.dataclass(frozen=True)
class Musician:
    """One player of an ensemble.

    ``name`` names the stem; ``role`` is a key of `parts.ROLES`, ``bass`` or ``drums``; ``density``
    0 (calm) to 1 (busy); ``rests`` how likely phrases end in a rest; with ``max_gap_s`` no pause
    between notes is longer.
    """

    name: str
    instrument: Instrument
    role: str
    density: float
    rests: float = 0.6
    max_gap_s: float | None = None


def choose_instrument(rng: np.random.Generator, kind: str, genre: str) -> Instrument:
    """An instrument of a class that is at home in a genre; any of the class where none is."""
    players = {one.name: one for one in of_kind(kind)}
    weights = {name: one.genres.get(genre, 0.0) for name, one in players.items()}
    if not any(weights.values()):
        weights = {name: sum(one.genres.values()) for name, one in players.items()}
    return players[seeding.draw(rng, weights)]


def choose_role(rng: np.random.Generator, instrument: Instrument, *, leads: bool) -> str:
    """A role that suits an instrument."""
    return seeding.draw(rng, dict(instrument.lead_roles if leads else instrument.backing_roles))


def register(musician: Musician, pattern: np.random.Generator) -> tuple[int, int]:
    """Where in its register a player plays in this song: most of it, not always the same."""
    low, high = musician.instrument.low, musician.instrument.high
    if musician.role in ("bass", "drums") or high - low <= 20:
        return low, high
    if musician.role in ("two_hands", "fingerstyle", "strum", "power"):
        return low, high
    if musician.role in ("pad", "comp", "arpeggio", "chorale"):
        # Chords stand in the middle: below they are muddy, above thin.
        bottom = max(low, min(45, high - 16))
        return bottom, min(high, max(79, bottom + 16))
    start = low + int(pattern.integers(high - low - 20 + 1))
    return start, min(high, start + int(pattern.integers(20, 30)))


def compose(
    musicians: Sequence[Musician], sheet: theory.LeadSheet, *, song_key: tuple, clip_key: tuple
) -> dict[str, Part]:
    """Parts of an ensemble.

    Args:
        seats: who plays, each name once.
        frame: what all share.
        song_key: key of `seeding.generator`: clips of one song share rhythms, registers and manner.
        clip_key: the same for what differs between clips of a song.

    Returns:
        name of the seat -> its part, from time 0 over the whole frame.
    """
    played = {}
    for musician in musicians:
        pattern = seeding.generator(*song_key, "pattern", musician.name)
        rng = seeding.generator(*clip_key, "notes", musician.name)
        low, high = register(musician, pattern)
        voice = parts.Voice(sheet, low, high, musician.density, musician.rests, pattern, rng)
        roles = {**parts.ROLES, "bass": rhythm_section.bass, "drums": rhythm_section.drums}
        played[musician.name] = performance.perform(
            roles[musician.role](voice),
            instrument=musician.instrument,
            role=musician.role,
            sheet=sheet,
            pattern=pattern,
            rng=rng,
            max_gap_s=musician.max_gap_s,
        )
    return played
