"""Previews of audio files for web pages: a compressed mono copy and the waveform's envelope."""

import collections
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator

import numpy as np

from irec_jax import audio

RATE_HZ = 32_000
BIT_RATE = 64_000
NUM_COLUMNS = 800


@dataclasses.dataclass(frozen=True)
class Preview:
    """Preview of an audio file.

    Attributes:
        envelope: peaks of up to `NUM_COLUMNS` segments of equal length.
        mp3: compressed copy of the audio; None if it was not requested.
    """

    envelope: np.ndarray
    mp3: bytes | None


def num_uri_bytes(duration_s: float) -> float:
    """Return the size of a compressed copy as a `data:` URI (640 kB per minute)."""
    return duration_s * BIT_RATE / 8 * 4 / 3


def read_preview(path: str | os.PathLike, duration_s: float, *, with_audio: bool) -> Preview:
    """Create a preview of an audio file, which is read block by block.

    Channels are averaged. If they cancel each other out, the loudest channel is used.

    Args:
        path: path to the file.
        duration_s: duration of the file.
        with_audio: whether to make a compressed copy, which takes 480 kB per minute.

    Raises:
        UserError: the file cannot be read.
    """
    levels = audio.ChannelLevels()
    preview = _read(
        audio.blocks(path, sample_rate_hz=RATE_HZ, levels=levels), duration_s, with_audio
    )
    if levels.cancel:
        blocks = audio.blocks(path, sample_rate_hz=RATE_HZ, channel=levels.loudest)
        preview = _read(blocks, duration_s, with_audio)
    return preview


def _read(blocks: Iterable[np.ndarray], duration_s: float, with_audio: bool) -> Preview:
    peaks: list[float] = []
    step = max(1, -(-round(duration_s * RATE_HZ) // NUM_COLUMNS))
    measured = _measure((block[:, 0] for block in blocks), step, peaks)
    if with_audio:
        copy = io.BytesIO()
        audio.write_mp3(copy, measured, RATE_HZ, bit_rate=BIT_RATE)
        return Preview(np.array(peaks), copy.getvalue())
    collections.deque(measured, maxlen=0)
    return Preview(np.array(peaks), None)


def _measure(blocks: Iterable[np.ndarray], step: int, peaks: list[float]) -> Iterator[np.ndarray]:
    """Yield the blocks (n,), and append the peak of every `step` samples to ``peaks``."""
    num_samples = 0
    for block in blocks:
        offset = num_samples % step
        starts = np.maximum(np.arange(-offset, len(block), step), 0)
        maxima = np.maximum.reduceat(np.abs(block), starts).tolist()
        if offset:
            peaks[-1] = max(peaks[-1], maxima.pop(0))
        peaks += maxima
        num_samples += len(block)
        yield block
