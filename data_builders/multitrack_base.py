"""What the builders of multitrack datasets share: segments of pieces, and an index of them."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_builders.streaming import StreamingBuilder
from irec_jax.errors import UserError
from irec_jax.files import write_json


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
    """(key, example) of a segment; see `features.multitrack_features`.

    Args:
        tracks: unique name -> class, in order.
        mix: int16 (T, 2).
        spots, stems: int16 (J, T), or None where they are not known.
        mixing: (J, J), or None.
    """
    key = f"{piece}-{segment}"
    return key, {
        "id": key,
        "piece": piece,
        "segment": segment,
        "start_s": start_s,
        "tracks": list(tracks),
        "instruments": list(tracks.values()),
        "mix": mix,
        "spots": [] if spots is None else spots,
        "stems": [] if stems is None else stems,
        "mixing": [] if mixing is None else np.asarray(mixing, np.float32),
        "max_crosstalk_db": max_crosstalk_db,
    }


def ordered(tracks: Iterable[tuple[str, str]], classes: Iterable[str]) -> dict[str, str]:
    """(name, class) pairs as a dict, in the order of the classes and then of the names' numbers."""
    places = {name: place for place, name in enumerate(classes)}

    def place(track: tuple[str, str]) -> tuple:
        name, label = track
        number = name.rpartition("-")[2]
        return places[label], int(number) if number.isdigit() else 0, name

    return dict(sorted(tracks, key=place))


class MultitrackBuilder(StreamingBuilder):
    """Base class of builders whose examples are `features.multitrack_features`."""

    UNIT = "segments"

    def index(self, split: str) -> list[dict[str, Any]]:
        return piece_index(self, split)

    def _write_split(self, split: str, examples: Iterable) -> tfds.core.SplitInfo:
        self._rows: list[dict[str, Any]] = []
        info = super()._write_split(split, examples)
        write_json(_index_path(info.filename_template.data_dir, split), self._rows)
        return info

    def _written(self, split: str, example: Mapping[str, Any]) -> None:
        row = {name: example[name] for name in ("piece", "segment", "tracks", "instruments")}
        self._rows.append(row | {"num_samples": len(example["mix"])})


def piece_index(builder: MultitrackBuilder, split: str) -> list[dict[str, Any]]:
    """What is known of the segments of a prepared split, in the order of ``as_data_source(split)``.

    Returns:
        A dict of each: ``piece``, ``segment``, ``tracks`` and ``instruments`` (names), and
        ``num_samples``.

    Raises:
        UserError: the index is missing or damaged.
    """
    path = _index_path(builder.data_dir, split)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: missing from a prepared dataset; remove the folder to build it again"
        ) from error


def _index_path(data_dir: str | os.PathLike, split: str) -> Path:
    return Path(data_dir, f"piece_index-{split}.json")
