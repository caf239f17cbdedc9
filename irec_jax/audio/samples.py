"""Resampling and conversion of samples, as numpy arrays.

Resampling is soxr's 'HQ'; T samples at ``a`` Hz become exactly ``ceil(T * b / a)`` at ``b`` Hz.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

#: An int16 sample of full scale.
INT16_SCALE = 32_768.0
BLOCK_SAMPLES = 1 << 16


def num_resampled(num_samples: int, old_rate_hz: int, new_rate_hz: int) -> int:
    """Length after resampling: ``ceil(num_samples * new / old)``, in exact integers."""
    return -(-num_samples * new_rate_hz // old_rate_hz)


def resample(samples: np.ndarray, old_rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """Resamples float32 (T, C) to (ceil(T * new / old), C), just as `read` does."""
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 2:
        raise ValueError(f"samples: expected (T, C), got shape {samples.shape}")
    pieces = (samples[i : i + BLOCK_SAMPLES] for i in range(0, len(samples), BLOCK_SAMPLES))
    resampled = list(resample_pieces(pieces, old_rate_hz, new_rate_hz))
    return np.concatenate(resampled) if resampled else samples


def resample_pieces(
    pieces: Iterable[np.ndarray], old_rate_hz: int, new_rate_hz: int
) -> Iterator[np.ndarray]:
    """Resamples float32 (n, C) of any lengths as one signal, in memory that does not grow."""
    if new_rate_hz == old_rate_hz:
        yield from pieces
        return
    stream, num_in, num_out = None, 0, 0
    for piece in pieces:
        if stream is None:
            stream = soxr.ResampleStream(
                old_rate_hz, new_rate_hz, piece.shape[1], dtype="float32", quality="HQ"
            )
        num_in += len(piece)
        resampled = stream.resample_chunk(np.ascontiguousarray(piece))
        num_out += len(resampled)
        if len(resampled):
            yield resampled
    if stream is None:
        return
    # soxr rounds the length to the nearest; enough zeros behind the end, then a cut, give ceil.
    padding = np.zeros((2 * old_rate_hz // new_rate_hz + 2, piece.shape[1]), np.float32)
    rest = stream.resample_chunk(padding, last=True)
    yield rest[: num_resampled(num_in, old_rate_hz, new_rate_hz) - num_out]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples to int16: times 32768, rounded to the nearest (even), clipped."""
    return np.clip(np.rint(samples * np.float32(INT16_SCALE)), -32768, 32767).astype(np.int16)


def to_float32(samples: np.ndarray) -> np.ndarray:
    """int16 samples to float32 within [-1, 1): divided by 32768, without loss."""
    return samples.astype(np.float32) / np.float32(INT16_SCALE)
