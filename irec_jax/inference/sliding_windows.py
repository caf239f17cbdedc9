"""Sliding windows over clips of any length, packed across clips into full batches.

Windows start one hop apart. The last one is aligned to the end of the clip, so that every sample is
used. Only clips shorter than a window (including empty ones) are zero-padded, to the length of one
window. Audio is read block by block: memory holds the current block and two batches, regardless of
the length of the clip.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped
from numpy.typing import ArrayLike

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ClipAudio:
    """The audio of a clip, as an array or in blocks, and its gain.

    Attributes:
        samples: mono audio, int16 or float32: an array (samples,), or an iterable of such arrays of
            any length.
        gain: absolute peak of the clip, as a float (int16 / 32768). If None, it is measured, which
            requires an array.
    """

    samples: Shaped[np.ndarray, "..."] | Iterable[Shaped[np.ndarray, "..."]]
    gain: float | None = None

    def blocks(self) -> Iterable[Shaped[np.ndarray, "..."]]:
        return [self.samples] if isinstance(self.samples, np.ndarray) else self.samples

    def peak(self) -> float:
        if self.gain is not None:
            return float(self.gain)
        if not isinstance(self.samples, np.ndarray):
            raise ValueError("gain: required for a clip that is read in blocks")
        return float(np.abs(convert_samples(self.samples, np.float32)).max(initial=0.0))


def convert_samples(
    block: Shaped[np.ndarray, "..."], dtype: np.dtype | type
) -> Shaped[np.ndarray, " samples"]:
    """Return mono samples as float32 in -1..1 (int16 / 32768), or int16 samples unchanged."""
    if block.ndim != 1:
        raise ValueError(f"expected mono audio blocks (n,), got {block.shape}")
    if block.dtype == dtype:
        return block
    supported = block.dtype == np.int16 or np.issubdtype(block.dtype, np.floating)
    if np.dtype(dtype) != np.float32 or not supported:
        raise ValueError(f"{block.dtype} audio cannot be used in {np.dtype(dtype)} batches")
    scale = np.float32(1 / 32768) if block.dtype == np.int16 else np.float32(1)
    return block.astype(np.float32) * scale


def _check_sizes(window_samples: int, hop_samples: int) -> None:
    if not 0 < hop_samples <= window_samples:
        raise ValueError(
            f"hop_samples={hop_samples}: expected 1..window_samples ({window_samples}); a longer "
            "hop would skip samples"
        )


def window_starts(
    num_samples: int, *, window_samples: int, hop_samples: int
) -> Int64[np.ndarray, " windows"]:
    """Return the index of the first sample in each window of a clip.

    A clip has 1 + ceil((num_samples - window_samples) / hop_samples) windows, or one if it is
    shorter than a window.
    """
    _check_sizes(window_samples, hop_samples)
    last = max(0, num_samples - window_samples)
    return np.append(np.arange(0, last, hop_samples), last)


def window_centres_s(
    num_samples: int, *, window_samples: int, hop_samples: int, sample_rate_hz: float
) -> Float64[np.ndarray, " windows"]:
    """Return the centre of each window of a clip in seconds.

    For a clip shorter than a window, this is the centre of the clip.
    """
    starts = window_starts(num_samples, window_samples=window_samples, hop_samples=hop_samples)
    return (starts + min(num_samples, window_samples) / 2) / sample_rate_hz


def sliding_windows(
    blocks: Iterable[Shaped[np.ndarray, " _samples"]], *, window_samples: int, hop_samples: int
) -> Iterator[Shaped[np.ndarray, " _samples"]]:
    """Yield the windows of a clip that is read in blocks.

    Args:
        blocks: arrays of any length, all with the same dtype.
        window_samples: length of a window.
        hop_samples: distance between windows, at most the length of a window.

    Yields:
        Windows, each valid until the next one is requested. A clip shorter than a window yields one
        shorter array.
    """
    _check_sizes(window_samples, hop_samples)
    buffer, pending, num_pending = np.zeros(0, np.float32), [], 0
    next_start = 0  # start of the next window within the buffer
    for block in blocks:
        pending.append(block)
        num_pending += len(block)
        if len(buffer) + num_pending < next_start + window_samples:
            continue
        buffer = np.concatenate([buffer, *pending] if len(buffer) else pending)
        pending, num_pending = [], 0
        while next_start + window_samples <= len(buffer):
            yield buffer[next_start : next_start + window_samples]
            next_start += hop_samples
        # The window aligned to the end may start up to a hop before the regular next window.
        unneeded = max(0, next_start - hop_samples)
        buffer, next_start = buffer[unneeded:], next_start - unneeded
    rest = np.concatenate([buffer, *pending] if len(buffer) else (pending or [buffer]))
    covered = next_start - hop_samples + window_samples if next_start else 0
    if len(rest) > covered or not next_start:
        yield rest[-window_samples:]


def levels_db(
    batch: Mapping[str, Shaped[np.ndarray, "windows ..."]],
    first: int = 0,
    num_samples: int | None = None,
) -> list[float]:
    """Return the RMS of the unmasked windows relative to the peak of the clip, in dB.

    For int16 audio, the levels are higher by 20 log10(32768).

    Args:
        batch: a batch of windows.
        first: index of the first sample to measure in each window.
        num_samples: number of samples to measure; None to measure to the end of the window.
    """
    rows = batch["mask"] > 0
    part = slice(first, None if num_samples is None else first + num_samples)
    scaled = batch["audio"][rows, part] / np.maximum(batch["gain"][rows], 1e-9)[:, None]
    counts = batch["num_samples"][rows] if num_samples is None else num_samples
    mean_square = np.sum(np.square(scaled), axis=1) / np.maximum(counts, 1)
    return (10 * np.log10(np.maximum(mean_square, 1e-12))).tolist()


class _Packer:
    """Batches of fixed size, filled with windows from consecutive clips."""

    def __init__(self, window_samples: int, batch_size: int, dtype: np.dtype | type):
        self._shape, self._dtype = (batch_size, window_samples), dtype
        self._new_batch()

    def _new_batch(self) -> None:
        # New arrays each time, because the device may still be reading the previous batch.
        size = self._shape[0]
        self.batch: Batch = {
            "audio": np.zeros(self._shape, self._dtype),
            "gain": np.ones(size, np.float32),
            "num_samples": np.zeros(size, np.int32),
            "mask": np.zeros(size, np.float32),
        }
        self.clip_of_row: list[int] = []

    def add(self, window: np.ndarray, gain: float, clip: int) -> bool:
        """Write a window to the next row; return whether the batch is full."""
        row = len(self.clip_of_row)
        self.batch["audio"][row, : len(window)] = window
        self.batch["gain"][row] = gain
        self.batch["num_samples"][row] = len(window)
        self.batch["mask"][row] = 1.0
        self.clip_of_row.append(clip)
        return row + 1 == self._shape[0]

    def take(self) -> tuple[Batch, list[int]]:
        """Return the batch and the clip of each row, and start a new batch."""
        taken = self.batch, self.clip_of_row
        self._new_batch()
        return taken


def _batches(
    clips: Iterable[ClipAudio],
    *,
    window_samples: int,
    hop_samples: int,
    batch_size: int,
    dtype: np.dtype | type,
) -> Iterator[tuple[Batch, list[int]]]:
    """Yield each batch with the clip indices of its unmasked rows."""
    packer = _Packer(window_samples, batch_size, dtype)
    for index, clip in enumerate(clips):
        gain = clip.peak()
        blocks = (convert_samples(np.asarray(block), dtype) for block in clip.blocks())
        for window in sliding_windows(
            blocks, window_samples=window_samples, hop_samples=hop_samples
        ):
            if packer.add(window, gain, index):
                yield packer.take()
    if packer.clip_of_row:
        yield packer.take()


def predict_clips(
    clips: Iterable[ClipAudio],
    predict: Callable[[Batch], ArrayLike],
    *,
    window_samples: int,
    hop_samples: int,
    batch_size: int,
    dtype: np.dtype | type = np.float32,
) -> Iterator[tuple[int, Float32[np.ndarray, "_windows classes"]]]:
    """Yield the window probabilities of clips of any length, computed in full batches.

    One batch is computed while the next one is being filled. The result depends neither on the
    batch size nor on which clips share a batch, provided that `predict` treats rows independently.

    Args:
        clips: the clips, read one after the other as batches are filled.
        predict: maps a batch of ``audio`` (batch, samples), ``gain``, ``num_samples`` and ``mask``
            (batch,) to probabilities (batch, classes). A batch always has ``batch_size`` rows;
            padding rows have a mask of 0. It may return an array that is still being computed.
        window_samples: length of a window.
        hop_samples: distance between windows, at most the length of a window.
        batch_size: windows per batch.
        dtype: type of the audio in batches: float32 (int16 audio is converted), or int16 if all
            clips are int16.

    Yields:
        The index of each clip and its window probabilities (see `window_starts`), in clip
        order. A clip is yielded as soon as its last window has been computed.

    Raises:
        ValueError: if sizes are invalid, if audio is not mono or does not match ``dtype``, or if a
            clip that is read in blocks has no gain. Errors raised while reading a clip propagate.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    _check_sizes(window_samples, hop_samples)
    parts: list[np.ndarray] = []
    current = 0

    def collect(predictions, clip_of_row: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        nonlocal parts, current
        probabilities = np.asarray(predictions, np.float32)
        for clip, rows in _runs(clip_of_row):
            if clip != current:
                yield current, np.concatenate(parts)
                parts, current = [], clip
            parts.append(probabilities[rows])

    in_flight: collections.deque = collections.deque()
    for batch, clip_of_row in _batches(
        clips,
        window_samples=window_samples,
        hop_samples=hop_samples,
        batch_size=batch_size,
        dtype=dtype,
    ):
        in_flight.append((predict(batch), clip_of_row))
        if len(in_flight) > 1:
            yield from collect(*in_flight.popleft())
    while in_flight:
        yield from collect(*in_flight.popleft())
    if parts:
        yield current, np.concatenate(parts)


def _runs(values: list[int]) -> Iterator[tuple[int, slice]]:
    """Yield the value and the slice of each run of equal values."""
    first = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[first]:
            yield values[first], slice(first, index)
            first = index
