"""Example creation for multitrack datasets, and the base class for their builders."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from data_builders.common.streaming import IndexedBuilder


def segment_example(
    *,
    piece: str,
    segment: int,
    start_s: float,
    tracks: Mapping[str, str],
    mix: np.ndarray,
    spots: np.ndarray | None = None,
    stems: np.ndarray | None = None,
    mixing: np.ndarray | None = None,
    max_crosstalk_db: float = np.nan,
) -> tuple[str, dict[str, Any]]:
    """Return the (key, example) pair for a segment; see `features.multitrack_features`.

    ``tracks`` maps the unique name of each of the J tracks to its class. ``spots`` and ``stems``,
    int16 (J, T), and ``mixing``, (J, J), are None if unknown.
    """
    key = f"{piece}-{segment}"
    example: dict[str, Any] = dict(id=key, piece=piece, segment=segment, start_s=start_s, mix=mix)
    return key, example | {
        "tracks": list(tracks),
        "instruments": list(tracks.values()),
        "spots": [] if spots is None else spots,
        "stems": [] if stems is None else stems,
        "mixing": [] if mixing is None else np.asarray(mixing, np.float32),
        "max_crosstalk_db": max_crosstalk_db,
    }


def sort_tracks(tracks: Iterable[tuple[str, str]], classes: Iterable[str]) -> dict[str, str]:
    """Return (name, class) pairs as a dict, sorted by class (in the given order) and number."""
    ranks = {name: rank for rank, name in enumerate(classes)}

    def key(track: tuple[str, str]) -> tuple:
        name, label = track
        number = name.rpartition("-")[2]
        return ranks[label], int(number) if number.isdigit() else 0, name

    return dict(sorted(tracks, key=key))


class MultitrackBuilder(IndexedBuilder):
    """Base class for multitrack dataset builders; see `features.multitrack_features`.

    Each index row consists of ``piece``, ``segment``, ``tracks``, ``instruments`` (class
    names) and ``num_samples``.
    """

    INDEX = "piece_index"

    def note_activity(
        self, split: str, piece: str, *, num_frames: int, frame_length: int
    ) -> np.ndarray | None:
        """Return whether each track plays in each frame, as bool (J, F); None if unknown."""
        del split, piece, num_frames, frame_length
        return None

    def _row(self, example: Mapping[str, Any]) -> dict[str, Any]:
        row = {name: example[name] for name in ("piece", "segment", "tracks", "instruments")}
        return row | {"num_samples": len(example["mix"])}
