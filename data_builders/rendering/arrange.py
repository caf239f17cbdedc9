"""Instruments, roles and parts of an ensemble."""

import dataclasses
from collections.abc import Sequence

from numpy.random import Generator

from data_builders.rendering import parts, performance, rhythm_section, seeding, theory
from data_builders.rendering.instruments import Instrument, of_kind
from data_builders.rendering.score import Part

_ROLES = {**parts.ROLES, "bass": rhythm_section.bass, "drums": rhythm_section.drums}


@dataclasses.dataclass(frozen=True)
class Musician:
    """A player in an ensemble.

    Attributes:
        name: stem name.
        instrument: instrument that the musician plays.
        role: a key of `parts.ROLES`, ``bass`` or ``drums``.
        density: rhythmic density from 0 (calm) to 1 (busy).
        rests: probability that a phrase ends with a rest.
        max_gap_s: longest pause between notes in seconds; None for no limit.
    """

    name: str
    instrument: Instrument
    role: str
    density: float
    rests: float = 0.6
    max_gap_s: float | None = None


def choose_instrument(rng: Generator, kind: str, genre: str) -> Instrument:
    """Draw an instrument of a kind, using the instruments' weights in a genre.

    If all of these are 0, use the sum of each instrument's weights over all genres.
    """
    candidates = {instrument.name: instrument for instrument in of_kind(kind)}
    weights = {name: own.genres.get(genre, 0.0) for name, own in candidates.items()}
    if not any(weights.values()):
        weights = {name: sum(own.genres.values()) for name, own in candidates.items()}
    return candidates[seeding.draw(rng, weights)]


def choose_role(rng: Generator, instrument: Instrument, *, leads: bool) -> str:
    """Draw a lead or backing role that suits an instrument."""
    return seeding.draw(rng, dict(instrument.lead_roles if leads else instrument.backing_roles))


def register(musician: Musician, pattern: Generator) -> tuple[int, int]:
    """Draw a musician's register in a song: the lowest and highest MIDI pitch."""
    low, high = musician.instrument.low, musician.instrument.high
    full_range = ("bass", "drums", "two_hands", "fingerstyle", "strum", "power")
    if musician.role in full_range or high - low <= 20:
        return low, high
    if musician.role in ("pad", "comp", "arpeggio", "chorale"):
        # Chords sound muddy below the middle register and thin above it.
        bottom = max(low, min(45, high - 16))
        return bottom, min(high, max(79, bottom + 16))
    start = low + int(pattern.integers(high - low - 20 + 1))
    return start, min(high, start + int(pattern.integers(20, 30)))


def compose(
    musicians: Sequence[Musician], sheet: theory.LeadSheet, *, song_key: tuple, clip_key: tuple
) -> dict[str, Part]:
    """Compose and perform the parts of an ensemble.

    Args:
        musicians: the ensemble; names are unique.
        sheet: tempo, metre, key and chords of the piece.
        song_key: key for the random generators that control what a song's clips share:
            rhythms, registers and articulation.
        clip_key: key for the random generators that control what differs between a song's clips.

    Returns:
        Musician name -> part for the full piece.
    """
    performed = {}
    for musician in musicians:
        pattern = seeding.generator(*song_key, "pattern", musician.name)
        rng = seeding.generator(*clip_key, "notes", musician.name)
        low, high = register(musician, pattern)
        voice = parts.Voice(sheet, low, high, musician.density, musician.rests, pattern, rng)
        performed[musician.name] = performance.perform(
            _ROLES[musician.role](voice), instrument=musician.instrument, role=musician.role,
            sheet=sheet, pattern=pattern, rng=rng, max_gap_s=musician.max_gap_s,
        )  # fmt: skip
    return performed
