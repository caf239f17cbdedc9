"""Which files hold which stream of which track, by the layouts of MUSDB18 and MUSDB18-HQ."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from data_builders.common.archives import File
from data_builders.common.features import STEM_SAMPLE_RATE_HZ
from data_builders.musdb18.tracks import official_split
from irec_jax import audio
from irec_jax.errors import UserError
from irec_jax.labels import STREAMS

#: The splits, and the folders that hold their tracks.
SPLITS = ("train", "validation", "test")
_FOLDERS = {name: name for name in SPLITS} | {"valid": "validation"}
_STEM_SUFFIXES = (".stem.mp4", ".stem.m4a")
#: Streams of a track may differ so much in length: codecs pad. They are cut to the shortest.
TOLERANCE_S = 0.1
_LAYOUT = f"<track>.stem.mp4 or <track>/{{{','.join(STREAMS)}}}.wav"
_AAC_BYTES_PER_S = 32_000
_WAV_BYTES_PER_S = 4 * STEM_SAMPLE_RATE_HZ


@dataclasses.dataclass(frozen=True)
class TrackFiles:
    """A track before it is decoded: the file of each of `labels.STREAMS`, and which stream of it.

    ``origin`` names the file or folder in messages.
    """

    name: str
    origin: str
    streams: Mapping[str, tuple[File, int]]


def find_tracks(source: str | os.PathLike, files: Iterable[File]) -> dict[str, list[TrackFiles]]:
    """The tracks of each split that has some, sorted by name.

    A track of MUSDB18 belongs to its official split. Any other goes by the folder train,
    validation (or valid) or test that it lies in, and without one is for training.

    Args:
        source: the folder or zip.
        files: what is in it.

    Raises:
        UserError: no tracks; one that lacks a stream or is there twice; other audio files.
    """
    source = Path(source)
    folders: dict[PurePosixPath, list[File]] = {}
    found: list[tuple[PurePosixPath, TrackFiles]] = []
    for file in files:
        path = PurePosixPath(file.name)
        suffix = next((s for s in _STEM_SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix:
            name = path.name[: -len(suffix)]
            streams = {stream: (file, number) for number, stream in enumerate(STREAMS)}
            found.append((path.parent, TrackFiles(name, file.origin, streams)))
        elif path.suffix.lower() in audio.SUFFIXES:
            folders.setdefault(path.parent, []).append(file)
    for folder, inside in folders.items():
        track = _track_in_folder(folder.name or source.name, inside)
        found.append((folder.parent, track))
    if not found:
        raise UserError(f"{source}: no tracks; expected {_LAYOUT}, below train and test or not")
    splits: dict[str, dict[str, TrackFiles]] = {split: {} for split in SPLITS}
    seen: dict[str, TrackFiles] = {}
    for folder, track in sorted(found, key=lambda pair: pair[1].name):
        if track.name in seen:
            other = seen[track.name].origin
            raise UserError(f"{track.origin}: the track is also in {other}; remove one of the two")
        seen[track.name] = track
        inner_to_outer = (*reversed(folder.parts), source.name)
        named = [_FOLDERS[part.lower()] for part in inner_to_outer if part.lower() in _FOLDERS]
        split = official_split(track.name) or (named[0] if named else "train")
        splits[split][track.name] = track
    return {split: list(tracks.values()) for split, tracks in splits.items() if tracks}


def _track_in_folder(name: str, files: Iterable[File]) -> TrackFiles:
    streams: dict[str, tuple[File, int]] = {}
    for file in files:
        stream = PurePosixPath(file.name).stem.lower()
        if stream in streams:
            other = PurePosixPath(streams[stream][0].name).name
            raise UserError(f"{file.origin}: {other} lies beside it; remove one of the two")
        if stream in STREAMS:  # others, such as the accompaniment, are sums of these
            streams[stream] = (file, 0)
    if not streams:
        raise UserError(f"{file.origin}: is no stream of a track; expected {_LAYOUT}")
    missing = [f"{stream}.wav" for stream in STREAMS if stream not in streams]
    origin = os.path.dirname(file.origin)
    if missing:
        raise UserError(f"{origin}: lacks {', '.join(missing)}; add what is missing, or remove it")
    return TrackFiles(name, origin, {stream: streams[stream] for stream in STREAMS})


def check_header(track: TrackFiles) -> float:
    """The length of a track in seconds, after a look at its headers; of one in a zip, a guess.

    Raises:
        UserError: a file that cannot be read, that lacks streams, or streams of different lengths.
    """
    files = {file.name: file for file, _ in track.streams.values()}
    if any(file.path is None for file in files.values()):
        mixture, _ = track.streams["mixture"]
        rate = _WAV_BYTES_PER_S if len(files) > 1 else len(STREAMS) * _AAC_BYTES_PER_S
        return mixture.fingerprint[0] / rate
    lengths_s = {}
    for stream, (file, number) in track.streams.items():
        num_streams = audio.info(file.path).num_streams
        if len(files) == 1 and num_streams != len(STREAMS):
            raise UserError(
                f"{file.origin}: holds {num_streams} audio streams, not {len(STREAMS)} "
                f"({', '.join(STREAMS)}); get the whole file"
            )
        header = audio.info(file.path, stream=number)
        if header.num_samples is not None:
            lengths_s[stream] = header.num_samples / header.sample_rate_hz
    check_lengths(track, lengths_s)
    return min(lengths_s.values(), default=0.0)


def check_lengths(track: TrackFiles, lengths_s: Mapping[str, float]) -> None:
    """UserError for streams of a track that are not of one length."""
    if not lengths_s:
        return
    short, long = (choose(lengths_s, key=lengths_s.get) for choose in (min, max))
    if lengths_s[long] - lengths_s[short] > TOLERANCE_S:
        raise UserError(
            f"{track.origin}: {short} lasts {lengths_s[short]:.2f} s but {long} "
            f"{lengths_s[long]:.2f} s; export all with one start and one length"
        )
