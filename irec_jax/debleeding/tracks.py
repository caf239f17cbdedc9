"""Which files of a folder are the tracks of a recording, and whether they belong together."""

import collections
import concurrent.futures
import dataclasses
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from irec_jax import audio
from irec_jax.errors import UserError

# Containers that keep every sample, which libsndfile writes; their content is written in kind.
_LOSSLESS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
_KEPT = (
    *("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
)
_BETTER = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16"}
_BLOCK_SAMPLES = 1 << 16
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Track:
    """A file that holds a track, and what becomes of it.

    ``format`` and ``subtype`` are soundfile's names of the container and the coding to write.
    ``changed`` says that they are not those of the file.
    """

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    file_name: str
    format: str
    subtype: str
    changed: bool

    @property
    def name(self) -> str:
        """The file's name without its suffix, to be shown."""
        return printable(self.path.stem)


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
    opened = ahead(map(_open, (folder / name for name in chosen)))
    options = dict(desc="opening", unit="track", leave=False, delay=1, disable=not progress)
    tracks = list(tqdm(opened, total=len(chosen), **options))
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


def read(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    """All tracks side by side: lists of J float32 arrays (C_j, n).

    Raises:
        UserError: a file that is damaged or was changed meanwhile.
    """
    return ahead(_read(tracks))


def _read(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    options = dict(mono=False, block_samples=_BLOCK_SAMPLES)
    streams = [audio.blocks(track.path, **options) for track in tracks]
    num_read, num_samples = 0, tracks[0].num_samples
    while num_read < num_samples:
        blocks = []
        for track, stream in zip(tracks, streams, strict=True):
            block = next(stream, None)
            if block is None or len(block) != min(_BLOCK_SAMPLES, num_samples - num_read):
                raise UserError(
                    f"{printable(track.path)}: does not hold the {num_samples} samples that its "
                    "header tells of; export it again"
                )
            blocks.append(block.T)
        num_read += blocks[0].shape[1]
        yield blocks


def ahead(blocks: Iterator[Any]) -> Iterator[Any]:
    """The same blocks, each read in a thread while the one before is worked on.

    libsndfile reads through functions of Python, which ignore exceptions: in the main thread Ctrl-C
    would be lost there, and a part of the audio with it. Other threads never see it.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = pool.submit(next, blocks, None)
            yield block


def mean_of_channels(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """J arrays (C_j, n) as one, float32 (J, n)."""
    return np.stack([block.mean(axis=0, dtype=np.float32) for block in blocks])


def printable(name: str | os.PathLike) -> str:
    """A name on one line, with composed letters, whatever bytes it is made of."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def listed(names: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_track(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() in audio.SUFFIXES
        and path.stem.lower() != "mix"
    )


def _open(path: Path) -> Track:
    header = audio.info(path)
    file_name, file_format, subtype, changed = f"{path.stem}.wav", "WAV", "PCM_24", True
    num_samples = None
    try:
        found = soundfile.info(os.fsencode(path))
    except soundfile.SoundFileError:  # FFmpeg's
        found = None
    if found is not None and found.format in _LOSSLESS:
        file_name, file_format = path.name, found.format
        subtype = found.subtype if found.subtype in _KEPT else _BETTER.get(found.subtype, "PCM_24")
        changed = subtype != found.subtype
        if found.subtype in (*_KEPT, *_BETTER):
            num_samples = header.num_samples
    if num_samples is None:  # a guess, or none
        num_samples = sum(len(block) for block in audio.blocks(path))
    if not num_samples:
        raise UserError(f"{printable(path)}: holds no samples; export it again")
    return Track(
        path, header.sample_rate_hz, header.num_channels, num_samples,
        file_name, file_format, subtype, changed,
    )  # fmt: skip


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
