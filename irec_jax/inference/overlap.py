"""Windows and stretches cut from what comes in blocks, and means over windows that overlap."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from irec_jax.frontends import SpectrogramDb

#: Windows (B, window_samples) to features (B, num_bins, num_frames).
Predict = Callable[[np.ndarray], jax.Array | np.ndarray]

# Times this counts a frame that reaches beyond its window.
_LAST_RESORT = np.float32(1e-9)


def _weights(frontend: SpectrogramDb, window_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a window's frames, float32 (N,) above 0, and which lie within it, bool (N,)."""
    index = np.arange(frontend.num_real_frames(window_samples))
    weights = np.square(np.sin(np.pi * (index + 0.5) / len(index)))
    whole = index * frontend.hop_length + frontend.frame_length <= window_samples
    return weights.astype(np.float32), whole


def channels_first(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks (n, C) as float32 (C, n)."""
    num_channels = None
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 2 or not np.issubdtype(block.dtype, np.floating):
            raise ValueError(f"blocks must be floats (n, C), not {block.dtype} {block.shape}")
        num_channels = block.shape[1] if num_channels is None else num_channels
        if block.shape[1] != num_channels:
            raise ValueError(f"a block has {block.shape[1]} channels, the first {num_channels}")
        yield block.T.astype(np.float32)


def after_zeros(parts: Iterable[np.ndarray], num_zeros: int) -> Iterator[np.ndarray]:
    """Zeros (..., num_zeros), then the parts (..., n)."""
    is_first = True
    for part in parts:
        if is_first:
            yield np.zeros((*part.shape[:-1], num_zeros), part.dtype)
        yield part
        is_first = False


def windows(
    blocks: Iterable[np.ndarray], window_samples: int, hop_length: int, hop_frames: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Windows of a recording that comes in blocks (C, n), the last one at its end.

    Yields:
        The first frame and the sound (C, window_samples) of each. Less than a hop of zeros ends the
        last one, more only where the recording is shorter than a window.
    """
    step = hop_frames * hop_length
    pending, num_pending, first, start = [], 0, 0, 0  # first: sample that pending begins with
    for block in blocks:
        pending.append(block)
        num_pending += block.shape[-1]
        if first + num_pending < start + window_samples:
            continue
        held = np.concatenate(pending, axis=-1)
        while start + window_samples <= first + num_pending:
            yield start // hop_length, held[:, start - first : start - first + window_samples]
            start += step
        # The last window begins after the one before it.
        kept = max(start - step, 0)
        pending, num_pending = [held[:, kept - first :]], num_pending - (kept - first)
        first = kept
    end = first + num_pending
    if not pending or (start and start - step + window_samples >= end):
        return
    start = max(0, -(-(end - window_samples) // hop_length)) * hop_length
    rest = np.concatenate(pending, axis=-1)[:, start - first :]
    yield start // hop_length, np.pad(rest, ((0, 0), (0, window_samples - rest.shape[-1])))


def cut(
    blocks: Iterable[np.ndarray], *, length: int, step: int, shared: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Overlapping pieces of what comes in blocks, along the last axis.

    Args:
        blocks: (..., n).
        length, step: of the pieces.
        shared: at the end one more piece is begun where more than this is left for it.

    Yields:
        (..., length), at least one, the last filled with zeros; and how much of it is none.
    """
    pending, num_pending, any_yet = [], 0, False
    for block in blocks:
        pending.append(block)
        num_pending += block.shape[-1]
        if num_pending < length:
            continue
        held, start = np.concatenate(pending, axis=-1), 0
        while start + length <= num_pending:
            yield held[..., start : start + length], length
            start, any_yet = start + step, True
        pending, num_pending = [held[..., start:]], num_pending - start
    if not pending:
        return
    held, start = np.concatenate(pending, axis=-1), 0
    while not any_yet or start + shared < num_pending:
        piece = held[..., start : start + length]
        num_missing = length - piece.shape[-1]
        yield np.pad(piece, [(0, 0)] * (piece.ndim - 1) + [(0, num_missing)]), piece.shape[-1]
        start, any_yet = start + step, True


def predicted(
    windows: Iterable[tuple[int, np.ndarray]],
    predict: Predict,
    window_samples: int,
    batch_size: int,
    num_frames: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """First frame and features (C, num_bins, num_frames) of windows of `windows`, one by one.

    One batch is being computed while the next one is cut.
    """
    num_channels, starts = None, collections.deque()

    def batches() -> Iterator[tuple[np.ndarray, int]]:
        nonlocal num_channels
        batch, num_rows = np.zeros((batch_size, window_samples), np.float32), 0
        for start, window in windows:
            num_channels = len(window)
            starts.append(start)
            for row in window:
                batch[num_rows] = row
                num_rows += 1
                if num_rows == batch_size:
                    yield batch, num_rows
                    # A new one: the device may still read the last.
                    batch, num_rows = np.zeros_like(batch), 0
        if num_rows:
            yield batch, num_rows

    def rows() -> Iterator[np.ndarray]:
        in_flight = None
        for batch, num_rows in batches():
            computed = predict(batch), num_rows
            if in_flight is not None:
                yield from np.asarray(in_flight[0], np.float32)[: in_flight[1]]
            in_flight = computed
        if in_flight is not None:
            yield from np.asarray(in_flight[0], np.float32)[: in_flight[1]]

    features = rows()
    for first in features:
        whole = np.stack([first, *itertools.islice(features, num_channels - 1)])
        yield starts.popleft(), whole[..., :num_frames]


def averaged(
    predicted: Iterator[tuple[int, np.ndarray]], frontend: SpectrogramDb, window_samples: int
) -> Iterator[np.ndarray]:
    """Weighted means of what overlapping windows (C, num_bins, N) tell of each frame, in order."""
    weights, whole = _weights(frontend, window_samples)
    carried, carried_weights = None, np.zeros(0, np.float32)
    following = next(predicted, None)
    while following is not None:
        (start, features), following = following, next(predicted, None)
        # The last window reaches to the end of the recording: its frames lack nothing.
        sums = weights * np.where(whole | (following is None), np.float32(1), _LAST_RESORT)
        total, num_shared = features * sums, len(carried_weights)
        if num_shared:
            total[..., :num_shared] += carried
            sums[:num_shared] += carried_weights
        num_done = len(weights) if following is None else following[0] - start
        yield total[..., :num_done] / sums[:num_done]
        carried, carried_weights = total[..., num_done:], sums[num_done:]
