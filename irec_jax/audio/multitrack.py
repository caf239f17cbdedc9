"""Multitrack sessions: folders whose audio files are the tracks of one recording."""

import collections
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from irec_jax import audio
from irec_jax.audio.samples import ChannelLevels
from irec_jax.audio.tracks import Track, open_track, prefetch, read_tracks
from irec_jax.audio.writing import check_output_files
from irec_jax.errors import UserError
from irec_jax.progress import progress_bar
from irec_jax.text import join_names, plural, printable

#: File names that denote a session's mix, reduced to lower-case letters.
MIX_NAMES = frozenset(
    ("mix", "mixture", "mixdown", "master", "fullmix", "stereomix", "roughmix", "finalmix")
)


def is_mix(stem: str) -> bool:
    """Return whether a file name without suffix denotes the mix of a session.

    Case, spaces, punctuation and numbers are ignored: `Rough Mix 2` is a mix.
    """
    return re.sub(r"[\W\d_]+", "", stem).casefold() in MIX_NAMES


def find_tracks(
    folder: Path, *, min_tracks: int = 1, progress: bool
) -> tuple[list[Track], list[str]]:
    """Open the tracks of a multitrack session.

    Every audio file is a track, except for the mix (see `is_mix`) and hidden files. Subfolders are
    not searched. Files whose headers do not state their exact length are decoded to measure it.

    Args:
        folder: the session folder.
        min_tracks: minimum number of tracks.
        progress: show a progress bar.

    Returns:
        The tracks sorted by file name, and the printable names of all other files and folders.

    Raises:
        UserError: the folder does not exist or holds fewer than `min_tracks` tracks, a file cannot
            be read, or tracks differ in length or sample rate.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror}; name the folder that holds the tracks"
        ) from error
    track_names = [name for name in names if _is_track(folder / name)]
    if len(track_names) < min_tracks:
        raise UserError(
            f"{folder}: contains {plural(len(track_names), 'track')}; expected at least "
            f"{min_tracks}, one audio file for each microphone"
        )
    opened = prefetch(map(open_track, (folder / name for name in track_names)))
    options = dict(desc="opening", unit="track", delay=1, disable=not progress)
    tracks = list(progress_bar(opened, total=len(track_names), **options))
    for attribute, unit in (("sample_rate_hz", "Hz"), ("num_samples", "samples")):
        _check_equal(folder, tracks, attribute, unit)
    return tracks, [printable(name) for name in names if name not in track_names]


def check_distinct(folder: Path, tracks: Sequence[Track], names: Sequence[str], verb: str) -> None:
    """Raise UserError if two tracks share a name; the message uses `verb`, such as 'written as'."""
    first: dict[str, Track] = {}
    for track, name in zip(tracks, names, strict=True):
        other = first.setdefault(name, track)
        if other is not track:
            raise UserError(
                f"{folder}: {_name(other)} and {_name(track)} would both be {verb} "
                f"{printable(name)}; rename one of them"
            )


def check_output_folder(
    folder: Path, out: Path, tracks: Sequence[Track], names: Sequence[str], *, overwrite: bool
) -> None:
    """Check that files with these names, made from a session's tracks, can be written to `out`.

    Raises:
        UserError: `out` is the session folder or lies within it; see also `check_output_files`.
    """
    real_out, real_folder = Path(os.path.realpath(out)), Path(os.path.realpath(folder))
    if real_out == real_folder or real_folder in real_out.parents:
        raise UserError(
            f"{out}: is the folder of the tracks or within it; name a folder outside {folder}"
        )
    check_output_files(out, names, [track.path for track in tracks], overwrite=overwrite)


def polarities(tracks: Sequence[Track]) -> list[np.ndarray | None]:
    """Return the signs (C, 1) to apply to the channels of each track before averaging them.

    None means that a track's channels are left unchanged. Signs are needed only where channels
    nearly cancel, as in a stereo pair with one channel inverted, because crosstalk could not be
    measured in their mean. Each channel then takes the sign of its correlation with the loudest
    channel.
    """
    signs: list[np.ndarray | None] = [None] * len(tracks)
    several = [j for j, track in enumerate(tracks) if track.num_channels > 1]
    if not several:
        return signs
    levels = [ChannelLevels() for _ in several]
    for block in read_tracks([tracks[j] for j in several]):
        for track_levels, track in zip(levels, block, strict=True):
            track_levels.add(track.T)
    for j, track_levels in zip(several, levels, strict=True):
        if track_levels.cancel:
            products = track_levels.products[track_levels.loudest]
            signs[j] = np.where(products < 0, -1, 1).astype(np.float32)[:, None]
    return signs


def apply_polarities(
    block: Sequence[np.ndarray], signs: Sequence[np.ndarray | None]
) -> list[np.ndarray]:
    """Multiply the channels (C_j, n) of J tracks by the signs that `polarities` returns."""
    return [
        track if sign is None else sign * track for track, sign in zip(block, signs, strict=True)
    ]


def downmix(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Average the channels of J arrays (C_j, n); return float32 (J, n)."""
    return np.stack([block.mean(axis=0, dtype=np.float32) for block in blocks])


def _is_track(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() in audio.SUFFIXES
        and not is_mix(path.stem)
    )


def _check_equal(folder: Path, tracks: Sequence[Track], attribute: str, unit: str) -> None:
    values = [getattr(track, attribute) for track in tracks]
    common, _ = collections.Counter(values).most_common(1)[0]
    outliers = [
        f"{_name(track)} has {value} {unit}"
        for track, value in zip(tracks, values, strict=True)
        if value != common
    ]
    if outliers:
        example = _name(tracks[values.index(common)])
        raise UserError(
            f"{folder}: {join_names(outliers)}, but {example} has {common}; export all tracks with "
            "the same sample rate, start and end"
        )


def _name(track: Track) -> str:
    return printable(track.path.name)
