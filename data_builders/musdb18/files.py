"""Assignment of files to tracks and streams, in the MUSDB18 and MUSDB18-HQ layouts."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from data_builders.common.archives import File
from data_builders.common.decoding import check_lengths
from data_builders.common.features import STEM_SAMPLE_RATE_HZ
from data_builders.musdb18.tracks import official_split
from irec_jax import audio
from irec_jax.errors import UserError
from irec_jax.labels import STREAMS

#: Splits, which are also the names of their folders.
SPLITS = ("train", "validation", "test")
_FOLDERS = {name: name for name in SPLITS} | {"valid": "validation"}
_STEM_SUFFIXES = (".stem.mp4", ".stem.m4a")
_LAYOUT = f"<track>.stem.mp4 or <track>/{{{','.join(STREAMS)}}}.wav"
_AAC_BYTES_PER_S = 32_000
_WAV_BYTES_PER_S = 4 * STEM_SAMPLE_RATE_HZ


@dataclasses.dataclass(frozen=True)
class TrackFiles:
    """Files of a track: the file and the stream number within it for each of `labels.STREAMS`.

    ``origin`` is the file or folder name that messages show.
    """

    name: str
    origin: str
    streams: Mapping[str, tuple[File, int]]


def find_tracks(source: str | os.PathLike, files: Iterable[File]) -> dict[str, list[TrackFiles]]:
    """Return the tracks in a folder or zip: split -> tracks, sorted by name, without empty splits.

    MUSDB18 tracks are assigned to their official split. Other tracks belong to the split that a
    parent folder is named after: train, validation (or valid), or test. Without such a folder, they
    are used for training.

    Raises:
        UserError: if there are no tracks, a track lacks a stream or occurs twice, or there are
            other audio files.
    """
    source = Path(source)
    folders: dict[PurePosixPath, list[File]] = {}
    tracks: list[tuple[PurePosixPath, TrackFiles]] = []
    for file in files:
        path = PurePosixPath(file.name)
        suffix = next((s for s in _STEM_SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix:
            name = path.name[: -len(suffix)]
            streams = {stream: (file, number) for number, stream in enumerate(STREAMS)}
            tracks.append((path.parent, TrackFiles(name, file.origin, streams)))
        elif path.suffix.lower() in audio.SUFFIXES:
            folders.setdefault(path.parent, []).append(file)
    for folder, contents in folders.items():
        track = _track_in_folder(folder.name or source.name, contents)
        tracks.append((folder.parent, track))
    if not tracks:
        raise UserError(f"{source}: no tracks; expected {_LAYOUT}, optionally in train and test")
    splits: dict[str, dict[str, TrackFiles]] = {split: {} for split in SPLITS}
    seen: dict[str, TrackFiles] = {}
    for folder, track in sorted(tracks, key=lambda pair: pair[1].name):
        if track.name in seen:
            other = seen[track.name].origin
            raise UserError(f"{track.origin}: is the same track as {other}; remove one")
        seen[track.name] = track
        inner_to_outer = (*reversed(folder.parts), source.name)
        split_folders = [
            _FOLDERS[part.lower()] for part in inner_to_outer if part.lower() in _FOLDERS
        ]
        split = official_split(track.name) or (split_folders[0] if split_folders else "train")
        splits[split][track.name] = track
    return {split: list(by_name.values()) for split, by_name in splits.items() if by_name}


def _track_in_folder(name: str, files: Sequence[File]) -> TrackFiles:
    streams: dict[str, tuple[File, int]] = {}
    for file in files:
        stream = PurePosixPath(file.name).stem.lower()
        if stream in streams:
            other = PurePosixPath(streams[stream][0].name).name
            raise UserError(f"{file.origin}: is the same stream as {other}; remove one")
        if stream in STREAMS:  # other files, such as the accompaniment, are sums of stems
            streams[stream] = (file, 0)
    if not streams:
        raise UserError(f"{files[-1].origin}: not a stream of a track; expected {_LAYOUT}")
    missing = [f"{stream}.wav" for stream in STREAMS if stream not in streams]
    origin = os.path.dirname(files[-1].origin)
    if missing:
        raise UserError(f"{origin}: missing {', '.join(missing)}; add them or remove the folder")
    return TrackFiles(name, origin, {stream: streams[stream] for stream in STREAMS})


def check_header(track: TrackFiles) -> float:
    """Check the headers of a track's files and return the track's length in seconds.

    Headers of files in a zip are not checked; the length is estimated from the file size.

    Raises:
        UserError: if a file cannot be read or lacks streams, or streams have different lengths.
    """
    files = {file.name: file for file, _ in track.streams.values()}
    if any(file.path is None for file in files.values()):
        mixture, _ = track.streams["mixture"]
        rate = _WAV_BYTES_PER_S if len(files) > 1 else len(STREAMS) * _AAC_BYTES_PER_S
        return mixture.fingerprint[0] / rate
    lengths_s = {}
    for stream, (file, number) in track.streams.items():
        num_streams = audio.info(file.disk_path).num_streams
        if len(files) == 1 and num_streams != len(STREAMS):
            raise UserError(
                f"{file.origin}: has {num_streams} audio streams, expected {len(STREAMS)} "
                f"({', '.join(STREAMS)}); get the complete file"
            )
        header = audio.info(file.disk_path, stream=number)
        if header.num_samples is not None:
            lengths_s[stream] = header.num_samples / header.sample_rate_hz
    check_lengths(track.origin, lengths_s)
    return min(lengths_s.values(), default=0.0)
