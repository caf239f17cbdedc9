"""Overlapping windows and segments of audio read in blocks, and averaging where they overlap."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Shaped

from irec_jax.frontends import SpectrogramDb

#: A function that maps windows to features.
Predict = Callable[
    [Float32[np.ndarray, "batch samples"]], Float[Array | np.ndarray, "batch bins frames"]
]

# Weight factor for frames that extend beyond their window.
_INCOMPLETE_FRAME_WEIGHT = np.float32(1e-9)


def _frame_weights(frontend: SpectrogramDb, window_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positive weights (N,) for the frames of a window, and a mask of complete frames."""
    index = np.arange(frontend.num_real_frames(window_samples))
    weights = np.square(np.sin(np.pi * (index + 0.5) / len(index)))
    is_complete = index * frontend.hop_length + frontend.frame_length <= window_samples
    return weights.astype(np.float32), is_complete


def channels_first(
    blocks: Iterable[Shaped[np.ndarray, "..."]],
) -> Iterator[Float32[np.ndarray, "channels _samples"]]:
    """Convert blocks of floats (samples, channels) to float32 (channels, samples)."""
    num_channels = None
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 2 or not np.issubdtype(block.dtype, np.floating):
            raise ValueError(f"expected blocks of floats (n, C), got {block.dtype} {block.shape}")
        num_channels = block.shape[1] if num_channels is None else num_channels
        if block.shape[1] != num_channels:
            raise ValueError(
                f"blocks: expected equal numbers of channels, got {block.shape[1]} after "
                f"{num_channels}"
            )
        yield block.T.astype(np.float32)


def prepend_zeros(
    blocks: Iterable[Float[np.ndarray, "... _length"]], num_zeros: int
) -> Iterator[Float[np.ndarray, "... _length"]]:
    """Yield a block of `num_zeros` zeros along the last axis, then the blocks."""
    is_first = True
    for block in blocks:
        if is_first:
            yield np.zeros((*block.shape[:-1], num_zeros), block.dtype)
        yield block
        is_first = False


def frame_aligned_windows(
    blocks: Iterable[Float[np.ndarray, "channels _samples"]],
    window_samples: int,
    hop_length: int,
    hop_frames: int,
) -> Iterator[tuple[int, Float[np.ndarray, "channels {window_samples}"]]]:
    """Yield windows of a recording that is read in blocks, the last one aligned to the end.

    Yields:
        The first frame index and the samples of each window. The last window is zero-padded by less
        than a hop, or by more if the recording is shorter than a window.
    """
    step = hop_frames * hop_length
    pending, num_pending, first, start = [], 0, 0, 0  # `pending` starts at the sample `first`
    for block in blocks:
        pending.append(block)
        num_pending += block.shape[-1]
        if first + num_pending < start + window_samples:
            continue
        buffer = np.concatenate(pending, axis=-1)
        while start + window_samples <= first + num_pending:
            yield start // hop_length, buffer[:, start - first : start - first + window_samples]
            start += step
        # The last window may start anywhere after the start of the previous one.
        kept = max(start - step, 0)
        pending, num_pending = [buffer[:, kept - first :]], num_pending - (kept - first)
        first = kept
    end = first + num_pending
    if not pending or (start and start - step + window_samples >= end):
        return
    start = max(0, -(-(end - window_samples) // hop_length)) * hop_length
    rest = np.concatenate(pending, axis=-1)[:, start - first :]
    yield start // hop_length, np.pad(rest, ((0, 0), (0, window_samples - rest.shape[-1])))


def overlapping_segments(
    blocks: Iterable[Shaped[np.ndarray, "... _length"]], *, length: int, step: int, overlap: int
) -> Iterator[tuple[Shaped[np.ndarray, "... {length}"], int]]:
    """Yield overlapping segments of an array that is read in blocks along its last axis.

    Args:
        blocks: consecutive parts of the array.
        length: length of a segment.
        step: distance between the starts of segments.
        overlap: the rest of the array forms another segment only if it is longer than this.

    Yields:
        Each segment, the last one zero-padded, and its length without padding. There is at least
        one segment.
    """
    pending, num_pending, is_empty = [], 0, True
    for block in blocks:
        pending.append(block)
        num_pending += block.shape[-1]
        if num_pending < length:
            continue
        buffer, start = np.concatenate(pending, axis=-1), 0
        while start + length <= num_pending:
            yield buffer[..., start : start + length], length
            start, is_empty = start + step, False
        pending, num_pending = [buffer[..., start:]], num_pending - start
    if not pending:
        return
    buffer, start = np.concatenate(pending, axis=-1), 0
    while is_empty or start + overlap < num_pending:
        segment = buffer[..., start : start + length]
        padding = [(0, 0)] * (segment.ndim - 1) + [(0, length - segment.shape[-1])]
        yield np.pad(segment, padding), segment.shape[-1]
        start, is_empty = start + step, False


def predict_windows(
    windows: Iterable[tuple[int, Float[np.ndarray, "channels {window_samples}"]]],
    predict: Predict,
    window_samples: int,
    batch_size: int,
    num_frames: int,
) -> Iterator[tuple[int, Float32[np.ndarray, "channels bins {num_frames}"]]]:
    """Yield the first frame index and the features of each window.

    The windows come from `frame_aligned_windows`. One batch is computed while the next one is
    being filled.
    """
    num_channels, starts = 0, collections.deque()

    def batches() -> Iterator[tuple[np.ndarray, int]]:
        nonlocal num_channels
        batch, num_rows = np.zeros((batch_size, window_samples), np.float32), 0
        for start, window in windows:
            num_channels = len(window)
            starts.append(start)
            for channel in window:
                batch[num_rows] = channel
                num_rows += 1
                if num_rows == batch_size:
                    yield batch, num_rows
                    # A new array, because the device may still be reading the previous one.
                    batch, num_rows = np.zeros_like(batch), 0
        if num_rows:
            yield batch, num_rows

    def rows() -> Iterator[np.ndarray]:
        in_flight = None
        for batch, num_rows in batches():
            predictions = predict(batch), num_rows
            if in_flight is not None:
                yield from np.asarray(in_flight[0], np.float32)[: in_flight[1]]
            in_flight = predictions
        if in_flight is not None:
            yield from np.asarray(in_flight[0], np.float32)[: in_flight[1]]

    features = rows()
    for first in features:
        channels = np.stack([first, *itertools.islice(features, num_channels - 1)])
        yield starts.popleft(), channels[..., :num_frames]


def average_overlaps(
    window_features: Iterator[tuple[int, Float[np.ndarray, "channels bins frames"]]],
    frontend: SpectrogramDb,
    window_samples: int,
) -> Iterator[Float[np.ndarray, "channels bins _frames"]]:
    """Yield features averaged over overlapping windows, in order.

    Args:
        window_features: the first frame index and the features of each window.
        frontend: the front end of the features.
        window_samples: length of a window.

    Yields:
        Features of consecutive frames.
    """
    weights, is_complete = _frame_weights(frontend, window_samples)
    carried, carried_weights = None, np.zeros(0, np.float32)
    following = next(window_features, None)
    while following is not None:
        (start, features), following = following, next(window_features, None)
        # Only zeros follow the last window, so all of its frames are complete.
        counted = is_complete | (following is None)
        sums = weights * np.where(counted, np.float32(1), _INCOMPLETE_FRAME_WEIGHT)
        total, num_shared = features * sums, len(carried_weights)
        if num_shared:
            total[..., :num_shared] += carried
            sums[:num_shared] += carried_weights
        num_done = len(weights) if following is None else following[0] - start
        yield total[..., :num_done] / sums[:num_done]
        carried, carried_weights = total[..., num_done:], sums[num_done:]
