"""Multitrack pieces, read one at a time."""

import dataclasses
from collections.abc import Iterator, Sequence
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
    """A piece with J tracks of T samples each.

    Attributes:
        name: name of the piece, unique within the dataset.
        tracks: J unique names, such as violin-2.
        instruments: J classes, in the same order.
        mix: float32 (T, 2).
        spots: float32 (J, T), the spot microphone signal of each track; None if unknown.
        stems: float32 (J, T), the dry tracks; None if unknown.
        mixing: float32 (J, J), where [l, j] is the amplitude of stem j in spot l, up to a common
            gain; None if unknown.
        max_crosstalk_db: upper bound on the off-diagonal elements of `mixing` in dB, or None.
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


class Pieces:
    """The pieces of a prepared dataset; indexing reads all segments of a piece.

    ``names``, ``splits``, ``tracks``, ``instruments``, ``num_tracks`` and ``num_samples`` describe
    each piece without reading its audio; ``classes`` holds all instruments in the dataset.
    """

    def __init__(self, builder: Any, splits: Sequence[str], sample_rate_hz: int):
        self.sample_rate_hz = sample_rate_hz
        self.rendered = data_builders.describe(builder.name).rendered
        self.full_name = f"{builder.name}/{builder.builder_config.name}:{builder.version}"
        self.classes = tuple(builder.info.features["instruments"].feature.names)
        self._builder = builder
        self._records: dict[str, list[tuple[Any, int]]] = {}  # name -> (data source, index)
        tracks, instruments, num_samples, split_of = {}, {}, {}, {}
        for split in splits:
            source = builder.as_data_source(split)
            for i, row in enumerate(builder.index(split)):
                name = row["piece"]
                self._records.setdefault(name, []).append((source, i))
                tracks[name], instruments[name] = tuple(row["tracks"]), tuple(row["instruments"])
                split_of[name] = split
                num_samples[name] = num_samples.get(name, 0) + row["num_samples"]
        self.names = tuple(self._records)
        self.splits: tuple[str, ...] = tuple(split_of.values())
        self.tracks: tuple[tuple[str, ...], ...] = tuple(tracks.values())
        self.instruments: tuple[tuple[str, ...], ...] = tuple(instruments.values())
        self.num_tracks = tuple(map(len, self.tracks))
        self.num_samples = tuple(num_samples.values())

    def __len__(self) -> int:
        return len(self.names)

    def segments(self, index: int) -> Iterator[dict[str, Any]]:
        """Yield the segments of a piece; see `features.multitrack_features`."""
        for source, i in self._records[self.names[index]]:
            yield source[i]

    def __getitem__(self, index: int) -> Piece:
        name = self.names[index]
        segments = list(self.segments(index))
        first = segments[0]
        bound_db = float(first["max_crosstalk_db"])
        return Piece(
            name=name,
            tracks=tuple(track.decode() for track in first["tracks"]),
            instruments=tuple(self.classes[label] for label in first["instruments"]),
            sample_rate_hz=self.sample_rate_hz,
            mix=audio.to_float32(np.concatenate([segment["mix"] for segment in segments])),
            spots=_join_segments([segment["spots"] for segment in segments]),
            stems=_join_segments([segment["stems"] for segment in segments]),
            mixing=np.stack(first["mixing"]) if len(first["mixing"]) else None,
            max_crosstalk_db=None if np.isnan(bound_db) else bound_db,
        )

    def note_activity(self, index: int, *, frame_length: int) -> np.ndarray | None:
        """Return whether each track of a piece plays a note in each frame.

        Args:
            index: index of the piece.
            frame_length: frame length in samples; the last frame may be incomplete.

        Returns:
            bool (J, F), derived from the composed notes of a rendered piece; None for recordings.
        """
        name = self.names[index]
        num_frames = -(-self.num_samples[index] // frame_length)
        return self._builder.note_activity(
            self.splits[index], name, num_frames=num_frames, frame_length=frame_length
        )


def load_pieces(name: str, split: str, **arguments: Any) -> Pieces:
    """Return a multitrack dataset's pieces, preparing the dataset on first use.

    Args:
        name: name of a multitrack dataset.
        split: train, test, or all.
        **arguments: see `data_builders.prepare`.

    Raises:
        UserError: unknown dataset, split or option; missing or unreadable files.
    """
    check_kind(name, "multitrack")
    builder = data_builders.prepare(name, **arguments)
    available = [split_name for split_name in _SPLITS if split_name in builder.info.splits]
    if split not in (*available, "all"):
        raise UserError(f"{name}: has no {split!r} split; choose {', '.join(available)} or all")
    rate_hz = MULTITRACK_FORMATS[builder.builder_config.format]
    return Pieces(builder, available if split == "all" else [split], rate_hz)


def _join_segments(segments: list[Sequence[np.ndarray]]) -> np.ndarray | None:
    """Concatenate the segments of J int16 tracks into float32 (J, T); return None if J is 0."""
    if not len(segments[0]):
        return None
    num_samples = sum(len(segment[0]) for segment in segments)
    joined = np.empty((len(segments[0]), num_samples), np.float32)
    for row, parts in zip(joined, zip(*segments, strict=True), strict=True):
        row[:] = audio.to_float32(np.concatenate(parts))
    return joined
