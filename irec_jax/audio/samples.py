"""Resampling and sample format conversion for NumPy arrays.

Resampling uses soxr's 'HQ' quality. T samples at ``a`` Hz become exactly ``ceil(T * b / a)``
samples at ``b`` Hz.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr

#: Full scale of int16 samples.
INT16_SCALE = 32_768.0
BLOCK_SAMPLES = 1 << 16

#: Channels count as cancelling if the energy of their mean, divided by their mean energy, is below
#: this value. In MUSDB18 this ratio is at least 0.43, except in one stem with an inverted channel.
CANCELLATION = 0.1


class ChannelLevels:
    """Channel levels of a signal that is read in pieces.

    Attributes:
        products: (C, C) inner products of channels; the diagonal contains the channel energies.
        ranges: (C,) difference between the largest and smallest sample in each channel.
        cancel: whether averaging the channels would remove nearly all of their energy.
        loudest: index of the channel with the most energy.
    """

    def __init__(self) -> None:
        self.products = np.zeros((1, 1))
        self._extremes: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, piece: np.ndarray) -> None:
        """Add the next samples, (n, C)."""
        if not len(piece):
            return
        channels = piece.T
        lowest = np.array([channel.min() for channel in channels])
        highest = np.array([channel.max() for channel in channels])
        if self._extremes is not None:
            lowest = np.minimum(self._extremes[0], lowest)
            highest = np.maximum(self._extremes[1], highest)
        self._extremes = lowest, highest
        self.products = self.products + (channels @ piece).astype(np.float64)

    @property
    def ranges(self) -> np.ndarray:
        lowest, highest = self._extremes or (np.zeros(1), np.zeros(1))
        return highest - lowest

    @property
    def cancel(self) -> bool:
        # The mean of C uncorrelated channels has 1 / C of their mean energy.
        limit = min(CANCELLATION, 0.5 / len(self.products))
        return bool(self.products.mean() < limit * np.diagonal(self.products).mean())

    @property
    def loudest(self) -> int:
        return int(np.argmax(np.diagonal(self.products)))


def num_resampled(num_samples: int, old_rate_hz: int, new_rate_hz: int) -> int:
    """Return the length after resampling, ``ceil(num_samples * new / old)``."""
    return -(-num_samples * new_rate_hz // old_rate_hz)


def resample(samples: np.ndarray, old_rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """Resample float32 (T, C) to (ceil(T * new / old), C), as `read` does."""
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 2:
        raise ValueError(f"samples: expected shape (T, C), got {samples.shape}")
    pieces = (samples[i : i + BLOCK_SAMPLES] for i in range(0, len(samples), BLOCK_SAMPLES))
    resampled = list(resample_pieces(pieces, old_rate_hz, new_rate_hz))
    return np.concatenate(resampled) if resampled else samples


def resample_pieces(
    pieces: Iterable[np.ndarray], old_rate_hz: int, new_rate_hz: int
) -> Iterator[np.ndarray]:
    """Resample consecutive float32 (n, C) pieces of any length as one signal."""
    if new_rate_hz == old_rate_hz:
        yield from pieces
        return
    stream, num_channels, num_in, num_out = None, 0, 0, 0
    for piece in pieces:
        if stream is None:
            num_channels = piece.shape[1]
            stream = soxr.ResampleStream(
                old_rate_hz, new_rate_hz, num_channels, dtype="float32", quality="HQ"
            )
        num_in += len(piece)
        resampled = stream.resample_chunk(np.ascontiguousarray(piece))
        num_out += len(resampled)
        if len(resampled):
            yield resampled
    if stream is None:
        return
    # soxr rounds the length to the nearest integer; padding with zeros and trimming gives ceil.
    padding = np.zeros((2 * old_rate_hz // new_rate_hz + 2, num_channels), np.float32)
    tail = stream.resample_chunk(padding, last=True)
    yield tail[: num_resampled(num_in, old_rate_hz, new_rate_hz) - num_out]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Convert float samples to int16: multiply by 32768, round half to even, clip."""
    return np.clip(np.rint(samples * np.float32(INT16_SCALE)), -32768, 32767).astype(np.int16)


def to_float32(samples: Any) -> Any:
    """Convert int16 samples (NumPy or JAX) to float32 within [-1, 1), dividing by 32768.

    The conversion is lossless. Samples of other types are returned unchanged.
    """
    return (
        samples.astype(np.float32) / np.float32(INT16_SCALE)
        if samples.dtype == np.int16
        else samples
    )
