"""Files that hold tracks: what they are, and their samples, block by block."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from irec_jax import audio
from irec_jax.audio.names import printable
from irec_jax.errors import UserError

# Containers that keep every sample, which libsndfile writes; their content is written in kind.
_LOSSLESS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
_KEPT = (
    *("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
)
_BETTER = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16"}
_BLOCK_SAMPLES = 1 << 16


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


def open_track(path: Path) -> Track:
    """A file as a track, and how one like it is written.

    Containers that keep every sample stay what they are; what lossy ones and strange codings held
    becomes 24-bit wav, 8 bits become 16. A file whose header does not tell its exact length is
    decoded.

    Raises:
        UserError: a file that cannot be read or holds no samples.
    """
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
