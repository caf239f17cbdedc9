"""Plans for the `gm_musdb` songs; size `full` has as many songs as MUSDB18."""

import dataclasses

from data_builders.rendering import seeding

SPLITS = ("train", "validation", "test")
#: Size -> number of songs in each split, and size -> range of durations in seconds.
COUNTS = {"tiny": (3, 1, 1), "small": (24, 6, 8), "full": (86, 14, 50)}
DURATIONS_S = {"tiny": (4.0, 6.0), "small": (18.0, 22.0), "full": (30.0, 60.0)}
SIZES = tuple(COUNTS)


@dataclasses.dataclass(frozen=True)
class SongPlan:
    """Plan for a song; ``name`` is unique within the dataset and seeds the music."""

    name: str
    duration_s: float


def plan_songs(size: str, split: str) -> list[SongPlan]:
    """Return the plans for all songs in a split.

    Raises:
        ValueError: if the size or split is unknown.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}: expected one of {', '.join(SIZES)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    songs = []
    for number in range(1, 1 + COUNTS[size][SPLITS.index(split)]):
        name = f"{split}-{number:03d}"
        rng = seeding.generator("gm_musdb", "plan", name)
        songs.append(SongPlan(name, round(float(rng.uniform(*DURATIONS_S[size])), 3)))
    return songs
