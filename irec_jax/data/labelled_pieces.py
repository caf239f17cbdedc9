"""Mixes and activities of multitrack pieces, stored in the dataset's folder.

    labelled-DIGEST/00007-mix.npy        int16 (T,), the mean of the two channels of the mix
    labelled-DIGEST/00007-activity.npy   float32 (J, F), the activity of each track

The files are computed segment by segment on first use and memory-mapped afterwards, so that memory
never holds an entire piece. An interrupted preparation resumes with the first incomplete piece.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from irec_jax import crosstalk, distributed
from irec_jax.audio import INT16_SCALE, to_float32
from irec_jax.crosstalk import activity
from irec_jax.data.pieces import Pieces
from irec_jax.errors import UserError
from irec_jax.files import atomic_write
from irec_jax.progress import progress_bar

#: Included in the digest; increase it when the contents of the files change.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class LabelledPieces:
    """N pieces with the activity of K classes over time.

    Attributes:
        names: unique names of the pieces.
        mixes: for each piece, int16 (T,).
        peaks: (N,) peak of each mix on a scale of 0..1; 1 for silence.
        activity: for each piece, float32 (K, F): the activity of each class in each frame, 0..1.
            This is the largest activity (RMS relative to the track's maximum) among the class's
            tracks, or 0 if the class has no tracks.
    """

    names: tuple[str, ...]
    mixes: tuple[np.ndarray, ...]
    peaks: np.ndarray
    activity: tuple[np.ndarray, ...]


def load_labelled(pieces: Pieces, folder: str | os.PathLike, *, reduction: bool) -> LabelledPieces:
    """Return the mixes and activities of pieces, computing those that are not stored yet.

    Args:
        pieces: the pieces in all splits of a dataset.
        folder: folder of the prepared dataset.
        reduction: whether to reduce crosstalk in spot microphone signals before measuring
            activity. Dry tracks have no crosstalk.

    Raises:
        UserError: a piece has no tracks or two identical tracks, or the disk is full.
    """
    settings = crosstalk.Settings() if reduction else None
    key = repr((_VERSION, activity.FRAME_LENGTH, settings))
    store = Path(folder) / f"labelled-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    distributed.on_main(lambda: _compute_missing(pieces, store, settings))
    mixes = tuple(_open(store, i, "mix") for i in range(len(pieces)))
    peaks = np.array([_peak(mix) for mix in mixes], np.float32)
    activities = tuple(
        activity.class_activity(_open(store, i, "activity"), instruments, pieces.classes)
        for i, instruments in enumerate(pieces.instruments)
    )
    return LabelledPieces(pieces.names, mixes, peaks, activities)


def _compute_missing(pieces: Pieces, store: Path, settings: crosstalk.Settings | None) -> None:
    missing = [i for i in range(len(pieces)) if not _path(store, i, "activity").exists()]
    total_s = sum(pieces.num_samples[i] for i in missing) / pieces.sample_rate_hz
    bar = progress_bar(
        total=total_s,
        desc="labels from tracks",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        disable=not missing,
    )
    with bar:
        for i in missing:
            _write_mix(pieces, i, _path(store, i, "mix"))
            measured = _measure(pieces, i, settings)
            # Written last: without this file, a piece counts as incomplete.
            with atomic_write(_path(store, i, "activity")) as path, open(path, "wb") as file:
                np.save(file, measured)
            bar.update(pieces.num_samples[i] / pieces.sample_rate_hz)


def _write_mix(pieces: Pieces, index: int, path: Path) -> None:
    with atomic_write(path) as temporary:
        shape = (pieces.num_samples[index],)
        mix = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int16, shape=shape)
        start = 0
        for segment in pieces.segments(index):
            block = np.round(segment["mix"].mean(axis=1, dtype=np.float32))
            mix[start : start + len(block)] = block
            start += len(block)
        mix.flush()


def _measure(pieces: Pieces, index: int, settings: crosstalk.Settings | None) -> np.ndarray:
    """Return the activity of each track, float32 (J, F)."""
    name, tracks = pieces.names[index], pieces.tracks[index]
    first = next(pieces.segments(index))
    kind = "spots" if len(first["spots"]) else "stems"
    if not len(first[kind]):
        raise UserError(f"{pieces.full_name}, {name}: has no tracks; add the piece's tracks")

    def read() -> Iterator[np.ndarray]:
        for segment in pieces.segments(index):
            yield to_float32(np.stack(list(segment[kind])))

    try:
        return activity.track_activity(
            read,
            settings if kind == "spots" and len(tracks) > 1 else None,
            num_samples=pieces.num_samples[index],
            sample_rate_hz=pieces.sample_rate_hz,
            names=tracks,
        )
    except UserError as error:
        raise UserError(f"{pieces.full_name}, {name}: {error}") from error


def _path(store: Path, index: int, kind: str) -> Path:
    return store / f"{index:05d}-{kind}.npy"


def _open(store: Path, index: int, kind: str) -> np.ndarray:
    path = _path(store, index, kind)
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged; delete its folder and repeat the command") from error


def _peak(mix: np.ndarray, block_samples: int = 1 << 22) -> float:
    """Return the peak of int16 samples, read in blocks, on a scale of 0..1; 1 for silence."""
    largest = 0
    for start in range(0, len(mix), block_samples):
        block = mix[start : start + block_samples]
        largest = max(largest, int(block.max()), -int(block.min()))
    return largest / INT16_SCALE if largest else 1.0
