"""Pieces of a multitrack dataset, read one at a time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import data_builders
from data_builders.common.features import MULTITRACK_FORMATS
from irec_jax import audio
from irec_jax.data.options import check_kind
from irec_jax.errors import UserError

_SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of J tracks, T samples long.

    Attributes:
        name: unique within the dataset.
        tracks: J unique names, such as violin-2.
        instruments: J classes, in the same order.
        sample_rate_hz: in Hz.
        mix: float32 (T, 2).
        spots: float32 (J, T), what the microphone of each track heard; None where not known.
        stems: float32 (J, T), the tracks dry; None where not known.
        mixing: float32 (J, J), amplitude of stem j in spot l at [l, j], but for a gain that is
            common to all; None where not known.
        max_crosstalk_db: its bound off the diagonal, or None.
    """

    name: str
    tracks: tuple[str, ...]
    instruments: tuple[str, ...]
    sample_rate_hz: int
    mix: np.ndarray
    spots: np.ndarray | None
    stems: np.ndarray | None
    mixing: np.ndarray | None
    max_crosstalk_db: float | None


class Pieces(Sequence):
    """The pieces of a prepared dataset; indexing reads one, whole.

    ``names``, ``num_tracks`` and ``num_samples`` tell of each piece without reading its audio,
    ``classes`` are all instruments of the dataset.
    """

    def __init__(self, builder: Any, splits: Sequence[str], sample_rate_hz: int):
        self.sample_rate_hz = sample_rate_hz
        self.rendered: bool = data_builders.describe(builder.name).rendered
        self.full_name = f"{builder.name}/{builder.builder_config.name}:{builder.version}"
        instruments = builder.info.features["instruments"].feature
        self.classes = tuple(instruments.names)
        self._places: dict[str, list[tuple[Any, int]]] = {}
        num_tracks, num_samples = {}, {}
        for split in splits:
            source = builder.as_data_source(split)
            for i, row in enumerate(builder.index(split)):
                name = row["piece"]
                self._places.setdefault(name, []).append((source, i))
                num_tracks[name] = len(row["tracks"])
                num_samples[name] = num_samples.get(name, 0) + row["num_samples"]
        self.names = tuple(self._places)
        self.num_tracks = tuple(num_tracks.values())
        self.num_samples = tuple(num_samples.values())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Piece:
        name = self.names[index]
        segments = [source[i] for source, i in self._places[name]]
        first = segments[0]
        bound_db = float(first["max_crosstalk_db"])
        return Piece(
            name=name,
            tracks=tuple(track.decode() for track in first["tracks"]),
            instruments=tuple(self.classes[label] for label in first["instruments"]),
            sample_rate_hz=self.sample_rate_hz,
            mix=audio.to_float32(np.concatenate([one["mix"] for one in segments])),
            spots=_joined([one["spots"] for one in segments]),
            stems=_joined([one["stems"] for one in segments]),
            mixing=np.stack(first["mixing"]) if len(first["mixing"]) else None,
            max_crosstalk_db=None if np.isnan(bound_db) else bound_db,
        )


def pieces(
    name: str,
    split: str,
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    **options: Any,
) -> Pieces:
    """The pieces of a multitrack dataset, which is prepared where that has not been done.

    Args:
        name: dataset of the kind "multitrack".
        split: train, test, or all.
        data_dir, manual_dir, options: as for `data_builders.prepare`.

    Raises:
        UserError: an unknown dataset, split or option; files that are missing or cannot be read.
    """
    check_kind(name, "multitrack")
    builder = data_builders.prepare(name, data_dir=data_dir, manual_dir=manual_dir, **options)
    has = [one for one in _SPLITS if one in builder.info.splits]
    if split not in (*has, "all"):
        raise UserError(f"{name}: has no split {split!r}; known are {', '.join(has)} and all")
    rate_hz = MULTITRACK_FORMATS[builder.builder_config.format]
    return Pieces(builder, has if split == "all" else [split], rate_hz)


def _joined(segments: list[Sequence[np.ndarray]]) -> np.ndarray | None:
    """Tracks int16 (T,) of each segment as one float32 (J, T); None where there are none."""
    if not len(segments[0]):
        return None
    num_samples = sum(len(segment[0]) for segment in segments)
    joined = np.empty((len(segments[0]), num_samples), np.float32)
    for row in range(len(joined)):
        start = 0
        for segment in segments:
            end = start + len(segment[row])
            joined[row, start:end] = audio.to_float32(segment[row])
            start = end
    return joined
