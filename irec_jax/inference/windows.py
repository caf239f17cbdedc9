"""Sliding windows over clips of any length, packed across clips into full batches.

Windows start every hop. The last one is aligned to the clip's end, so that every sample is heard
and no window but that of a clip shorter than a window holds padding; such a clip (an empty one
too) is zero-padded to one window. Audio is read block by block: memory holds the current block and
two batches, whatever the length of a clip.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Clip:
    """Audio of a clip, whole or in blocks, and its gain.

    Attributes:
        audio: mono samples, int16 or float32: an array (T,), or an iterable of blocks (n,) of any
            lengths.
        gain: absolute peak of the whole clip as float (int16 / 32768). None measures it, which
            needs the whole array.
    """

    audio: np.ndarray | Iterable[np.ndarray]
    gain: float | None = None

    def blocks(self) -> Iterable[np.ndarray]:
        return [self.audio] if isinstance(self.audio, np.ndarray) else self.audio

    def peak(self) -> float:
        if self.gain is not None:
            return float(self.gain)
        if not isinstance(self.audio, np.ndarray):
            raise ValueError("gain: needed for a clip that is read in blocks")
        return float(np.abs(convert(self.audio, np.float32)).max(initial=0.0))


def convert(block: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """int16 or floating samples (n,) as float32 in -1..1 (int16 / 32768), or int16 as it is."""
    if block.ndim != 1:
        raise ValueError(f"audio blocks must be mono (n,), not {block.shape}")
    if block.dtype == dtype:
        return block
    known = block.dtype == np.int16 or np.issubdtype(block.dtype, np.floating)
    if np.dtype(dtype) != np.float32 or not known:
        raise ValueError(f"{block.dtype} audio does not go into batches of {np.dtype(dtype)}")
    scale = np.float32(1 / 32768) if block.dtype == np.int16 else np.float32(1)
    return block.astype(np.float32) * scale


def _check(window_samples: int, hop_samples: int) -> None:
    if not 0 < hop_samples <= window_samples:
        raise ValueError(
            f"hop_samples {hop_samples} must lie in 1..window_samples ({window_samples}): "
            "a longer hop would leave audio unheard"
        )


def starts(num_samples: int, *, window_samples: int, hop_samples: int) -> np.ndarray:
    """First sample of every window of a clip, int64 (W,), W >= 1.

    W = 1 + ceil((num_samples - window_samples) / hop_samples) for a clip of at least a window.
    """
    _check(window_samples, hop_samples)
    last = max(0, num_samples - window_samples)
    return np.append(np.arange(0, last, hop_samples), last)


def centres_s(
    num_samples: int, *, window_samples: int, hop_samples: int, sample_rate_hz: float
) -> np.ndarray:
    """Time of the middle of every window of a clip in seconds, float64 (W,).

    A window that is longer than its clip counts as far as the clip goes.
    """
    first = starts(num_samples, window_samples=window_samples, hop_samples=hop_samples)
    return (first + min(num_samples, window_samples) / 2) / sample_rate_hz


def cut(
    blocks: Iterable[np.ndarray], *, window_samples: int, hop_samples: int
) -> Iterator[np.ndarray]:
    """Windows of a clip that comes in blocks.

    Args:
        blocks: arrays (n,) of one dtype and any lengths.
        window_samples: length of a window.
        hop_samples: distance of windows, at most a window.

    Yields:
        arrays (window_samples,), valid until the next one is asked for; of a clip shorter than a
        window one array that is shorter.
    """
    _check(window_samples, hop_samples)
    held, pending, num_pending = np.zeros(0, np.float32), [], 0
    next_start = 0  # of the next window, within held
    for block in blocks:
        pending.append(block)
        num_pending += len(block)
        if len(held) + num_pending < next_start + window_samples:
            continue
        held = np.concatenate([held, *pending] if len(held) else pending)
        pending, num_pending = [], 0
        while next_start + window_samples <= len(held):
            yield held[next_start : next_start + window_samples]
            next_start += hop_samples
        # One hop before the next window stays: the window aligned to the end may begin there.
        unneeded = max(0, next_start - hop_samples)
        held, next_start = held[unneeded:], next_start - unneeded
    rest = np.concatenate([held, *pending] if len(held) else (pending or [held]))
    covered = next_start - hop_samples + window_samples if next_start else 0
    if len(rest) > covered or not next_start:
        yield rest[-window_samples:]


class _Packer:
    """Fills batches of fixed size with windows of consecutive clips."""

    def __init__(self, window_samples: int, batch_size: int, dtype: np.dtype | type):
        self._shape, self._dtype = (batch_size, window_samples), dtype
        self._new_batch()

    def _new_batch(self) -> None:
        # New arrays each time: the last batch may still be read by the device.
        size = self._shape[0]
        self.batch: Batch = {
            "audio": np.zeros(self._shape, self._dtype),
            "gain": np.ones(size, np.float32),
            "num_samples": np.zeros(size, np.int32),
            "mask": np.zeros(size, np.float32),
        }
        self.owners: list[int] = []

    def add(self, window: np.ndarray, gain: float, clip: int) -> bool:
        """Puts a window in the next row; True when the batch is full."""
        row = len(self.owners)
        self.batch["audio"][row, : len(window)] = window
        self.batch["gain"][row] = gain
        self.batch["num_samples"][row] = len(window)
        self.batch["mask"][row] = 1.0
        self.owners.append(clip)
        return row + 1 == self._shape[0]

    def take(self) -> tuple[Batch, list[int]]:
        taken = self.batch, self.owners
        self._new_batch()
        return taken


def _batches(
    clips: Iterable[Clip],
    *,
    window_samples: int,
    hop_samples: int,
    batch_size: int,
    dtype: np.dtype | type,
) -> Iterator[tuple[Batch, list[int]]]:
    """Batches and, for each of their unmasked rows, the index of its clip."""
    packer = _Packer(window_samples, batch_size, dtype)
    for index, clip in enumerate(clips):
        gain = clip.peak()
        blocks = (convert(np.asarray(block), dtype) for block in clip.blocks())
        for window in cut(blocks, window_samples=window_samples, hop_samples=hop_samples):
            if packer.add(window, gain, index):
                yield packer.take()
    if packer.owners:
        yield packer.take()


def predict_clips(
    clips: Iterable[Clip],
    predict: Callable[[Batch], np.ndarray],
    *,
    window_samples: int,
    hop_samples: int,
    batch_size: int,
    dtype: np.dtype | type = np.float32,
) -> Iterator[tuple[int, np.ndarray]]:
    """Window probabilities of clips of any length, from full batches.

    One batch is being computed while the next one is cut. The result depends neither on the batch
    size nor on which clips share a batch, as long as `predict` treats rows independently.

    Args:
        clips: consumed one after the other, as batches are needed.
        predict: batch of ``audio`` (B, window), ``gain``, ``num_samples`` and ``mask`` (B,) to
            probabilities (B, K); B is always ``batch_size``, padding rows have mask 0. May return
            an array that is still being computed.
        window_samples: length of a window.
        hop_samples: distance of windows, at most a window.
        batch_size: B.
        dtype: of the batches' audio: float32, to which int16 audio is converted, or int16 for
            clips that are all int16.

    Yields:
        (index of the clip, float32 (W, K)), in the order of the clips, each as soon as its last
        window is known; the windows are those of `starts`.

    Raises:
        ValueError: bad sizes, audio that is not mono or not of ``dtype``, or a clip in blocks
            without its gain. Errors of reading a clip pass through.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be at least 1")
    _check(window_samples, hop_samples)
    parts: list[np.ndarray] = []
    current = 0

    def collect(computed, owners: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        nonlocal parts, current
        rows = np.asarray(computed, np.float32)
        for clip, group in _runs(owners):
            if clip != current:
                yield current, np.concatenate(parts)
                parts, current = [], clip
            parts.append(rows[group])

    in_flight: collections.deque = collections.deque()
    for batch, owners in _batches(
        clips,
        window_samples=window_samples,
        hop_samples=hop_samples,
        batch_size=batch_size,
        dtype=dtype,
    ):
        in_flight.append((predict(batch), owners))
        if len(in_flight) > 1:
            yield from collect(*in_flight.popleft())
    while in_flight:
        yield from collect(*in_flight.popleft())
    if parts:
        yield current, np.concatenate(parts)


def _runs(owners: list[int]) -> Iterator[tuple[int, slice]]:
    """Consecutive equal values with the rows they fill."""
    first = 0
    for row in range(1, len(owners) + 1):
        if row == len(owners) or owners[row] != owners[first]:
            yield owners[first], slice(first, row)
            first = row
