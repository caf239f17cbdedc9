"""Which files of a folder are the tracks of a recording, and whether they belong together."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from irec_jax import audio
from irec_jax.audio.names import listed, printable
from irec_jax.audio.track_files import check_files
from irec_jax.audio.tracks import Track, ahead, open_track
from irec_jax.errors import UserError
from irec_jax.progress import progress_bar


def find_tracks(folder: Path, *, progress: bool) -> tuple[list[Track], list[str]]:
    """The tracks in a folder, by name, and the names of what else lies there.

    Every audio file is a track but `mix.*`; hidden files are not, and subfolders are not searched.
    Headers are read, and files whose headers do not tell their exact length are decoded.

    Raises:
        UserError: no such folder, fewer than two tracks, a file that cannot be read, tracks of
            unequal length or sample rate, two files that would be written under one name.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror}; name the folder that holds the tracks"
        ) from error
    chosen = [name for name in names if _is_track(folder / name)]
    if len(chosen) < 2:
        raise UserError(
            f"{folder}: holds {len(chosen)} audio files that are tracks; crosstalk needs two at "
            "least, one for each microphone"
        )
    opened = ahead(map(open_track, (folder / name for name in chosen)))
    options = dict(desc="opening", unit="track", delay=1, disable=not progress)
    tracks = list(progress_bar(opened, total=len(chosen), **options))
    for what, unit in (("sample_rate_hz", "Hz"), ("num_samples", "samples")):
        _check_equal(folder, tracks, what, unit)
    first: dict[str, Track] = {}
    for track in tracks:
        other = first.setdefault(track.file_name, track)
        if other is not track:
            raise UserError(
                f"{folder}: {_name(other)} and {_name(track)} would both be written as "
                f"{printable(track.file_name)}; rename one of them"
            )
    return tracks, [printable(name) for name in names if name not in chosen]


def check_place(folder: Path, out: Path, tracks: Sequence[Track], *, overwrite: bool) -> None:
    """Finds out whether the tracks of a folder may be written to `out`.

    Raises:
        UserError: `out` is the folder or lies in it, or as `check_files`.
    """
    real, source = Path(os.path.realpath(out)), Path(os.path.realpath(folder))
    if real == source or source in real.parents:
        raise UserError(
            f"{out}: is or lies in the folder of the tracks; name a folder outside {folder}"
        )
    inputs = [track.path for track in tracks]
    check_files(out, [track.file_name for track in tracks], inputs, overwrite=overwrite)


def mean_of_channels(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """J arrays (C_j, n) as one, float32 (J, n)."""
    return np.stack([block.mean(axis=0, dtype=np.float32) for block in blocks])


def _is_track(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() in audio.SUFFIXES
        and path.stem.lower() != "mix"
    )


def _check_equal(folder: Path, tracks: Sequence[Track], what: str, unit: str) -> None:
    values = [getattr(track, what) for track in tracks]
    usual, _ = collections.Counter(values).most_common(1)[0]
    others = [
        f"{_name(track)} has {value} {unit}"
        for track, value in zip(tracks, values, strict=True)
        if value != usual
    ]
    if others:
        example = _name(tracks[values.index(usual)])
        raise UserError(
            f"{folder}: {listed(others)}, but {example} has {usual}; export all tracks with one "
            "sample rate, one start and one end"
        )


def _name(track: Track) -> str:
    return printable(track.path.name)
