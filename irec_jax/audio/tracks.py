"""Audio files that are read in parallel as the tracks of a recording."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from irec_jax.audio import containers, reading
from irec_jax.audio.parts import Window
from irec_jax.audio.samples import BLOCK_SAMPLES
from irec_jax.errors import UserError
from irec_jax.text import printable

# Lossless containers that libsndfile can write; processed tracks keep them.
_LOSSLESS_KINDS = ("wav", "w64", "aiff", "au", "caf", "flac")
#: Encodings that processed tracks keep.
KEPT_SUBTYPES = (
    *("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
)
_WIDENED_SUBTYPES = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16"}


@dataclasses.dataclass(frozen=True)
class Track:
    """An audio file, and the format in which its processed version is written.

    Attributes:
        path: path of the file.
        sample_rate_hz, num_channels, num_samples: properties of the file; ``num_samples`` is exact.
        file_name: name of the file to write.
        format, subtype: soundfile's names for the container and encoding to write.
        changed: whether the container or encoding differs from the original file's.
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
        """Printable name of the file without its suffix."""
        return printable(self.path.stem)


def open_track(path: Path) -> Track:
    """Open a file as a track and choose the format of its processed version.

    Lossless containers and encodings are kept; lossy and unusual ones become 24-bit wav, and 8-bit
    samples become 16-bit. A file whose header does not state its exact length is decoded to measure
    it.

    Raises:
        UserError: the file cannot be read or contains no samples.
    """
    header = reading.info(path)
    file_name, file_format, subtype, changed = f"{path.stem}.wav", "WAV", "PCM_24", True
    num_samples = None
    coding = _coding(path)
    if coding is not None:
        file_name, (file_format, subtype) = path.name, coding
        if subtype not in KEPT_SUBTYPES:
            subtype = _WIDENED_SUBTYPES.get(subtype, "PCM_24")
        changed = subtype != coding[1]
        if coding[1] in (*KEPT_SUBTYPES, *_WIDENED_SUBTYPES):
            num_samples = header.num_samples
    if num_samples is None:  # unknown or inexact
        num_samples = sum(len(block) for block in reading.blocks(path))
    if not num_samples:
        raise UserError(f"{printable(path)}: contains no samples; export it again")
    return Track(
        path, header.sample_rate_hz, header.num_channels, num_samples,
        file_name, file_format, subtype, changed,
    )  # fmt: skip


def _coding(path: Path) -> tuple[str, str] | None:
    """Return soundfile's names for a lossless container and its encoding; None for other files."""
    with open(path, "rb") as file:
        parts = containers.split(file)
        if len(parts) == 1 and parts[0].kind in _LOSSLESS_KINDS:
            with contextlib.suppress(soundfile.SoundFileError):
                source: Any = Window(file, parts[0])  # a type that soundfile does not declare
                with soundfile.SoundFile(source) as sound:
                    return sound.format, sound.subtype
    return None


def read_tracks(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    """Read J tracks in parallel, block by block.

    Yields:
        Lists of J float32 arrays (C_j, n).

    Raises:
        UserError: a file is damaged or was changed while being read.
    """
    return prefetch(_read_blocks(tracks))


def _read_blocks(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    streams = [
        reading.blocks(track.path, mono=False, block_samples=BLOCK_SAMPLES) for track in tracks
    ]
    num_read, num_samples = 0, tracks[0].num_samples
    while num_read < num_samples:
        blocks = []
        for track, stream in zip(tracks, streams, strict=True):
            block = next(stream, None)
            if block is None or len(block) != min(BLOCK_SAMPLES, num_samples - num_read):
                raise UserError(
                    f"{printable(track.path)}: does not contain the {num_samples} samples that its "
                    "header states; export it again"
                )
            blocks.append(block.T)
        num_read += blocks[0].shape[1]
        yield blocks


def prefetch(blocks: Iterator[Any]) -> Iterator[Any]:
    """Yield the blocks, reading each in a thread while the previous one is processed.

    libsndfile reads through Python callbacks that swallow exceptions. In the main thread, Ctrl-C
    would therefore be lost, along with some audio. Other threads never receive Ctrl-C.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, blocks, None)
            yield block
