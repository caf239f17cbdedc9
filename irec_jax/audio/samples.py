"""Resampling and conversion of samples as NumPy arrays.

Resampling uses soxr's 'HQ'; T samples at ``a`` Hz become exactly ``ceil(T * b / a)`` at ``b`` Hz.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr

#: Full scale of int16 samples.
INT16_SCALE = 32_768.0
BLOCK_SAMPLES = 1 << 16

#: Ratio of the energy of the mean of channels to their mean energy below which they cancel. It is
#: 0.43 or more in MUSDB18, except in one stem with inverted channels.
CANCELLATION = 0.1


class ChannelLevels:
    """Levels of the channels of a signal that is read in pieces, before they are averaged.

    Attributes:
        energies: (C,) sum of the squares of each channel.
        ranges: (C,) largest minus smallest sample of each channel.
        cancel: whether the mean of the channels has hardly any of their energy.
    """

    def __init__(self) -> None:
        self.energies = np.zeros(0)
        self._mean_energy = 0.0
        self._extremes: np.ndarray | None = None

    def add(self, piece: np.ndarray) -> None:
        """Add consecutive samples (n, C)."""
        if not len(piece):
            return
        energies = np.einsum("tc,tc->c", piece, piece, dtype=np.float64)
        extremes = np.stack([piece.min(axis=0), -piece.max(axis=0)])
        if self._extremes is None:
            self.energies, self._extremes = energies, extremes
        else:
            self.energies = self.energies + energies
            self._extremes = np.minimum(self._extremes, extremes)
        mean = piece.mean(axis=1)
        self._mean_energy += float(np.einsum("t,t->", mean, mean, dtype=np.float64))

    @property
    def ranges(self) -> np.ndarray:
        return np.zeros(0) if self._extremes is None else -self._extremes.sum(axis=0)

    @property
    def cancel(self) -> bool:
        return self._mean_energy < CANCELLATION * float(np.mean(self.energies))


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
    """Resample consecutive pieces, float32 (n, C) of any lengths, as one signal."""
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
    """Convert int16 samples of NumPy or JAX to float32 within [-1, 1), dividing by 32768.

    The conversion is lossless. Samples of other types are returned unchanged.
    """
    return (
        samples.astype(np.float32) / np.float32(INT16_SCALE)
        if samples.dtype == np.int16
        else samples
    )
