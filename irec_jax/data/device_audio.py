"""Splits held in device memory as int16 audio, and windows cut from them on the device.

The host builds a store of each split once: a dict of arrays that is copied to the devices. For each
batch it then sends only positions, a few integers per example, from which `cut_clips` and
`cut_stems` cut the batch on the device. The result is bit-identical to a batch built on the host.

Audio is divided into blocks, so that 32-bit indices can address more than 2**31 samples.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

DeviceArrays = dict[str, jax.Array]

#: Block size in samples. Every clip, and every stem of a track, starts a new block.
BLOCK_SAMPLES = 1024
#: Channel index that selects the mean of both channels.
MEAN_CHANNEL = 2
_NUM_THREADS = 4
_T = TypeVar("_T")


def num_blocks(num_samples: np.ndarray, window_samples: int) -> tuple[np.ndarray, int]:
    """Return each audio piece's first block, and the total number of blocks.

    Args:
        num_samples: piece lengths, an array of any shape.
        window_samples: length of the longest segment that will be cut.
    """
    per_piece = -(-np.asarray(num_samples, np.int64) // BLOCK_SAMPLES)
    ends = np.cumsum(per_piece.ravel()).reshape(per_piece.shape)
    # A segment may start in the last block, and all blocks that it spans must exist.
    total = int(per_piece.sum()) + _blocks_of_segment(window_samples)
    return (ends - per_piece).astype(np.int32), round_up(total)


def round_up(size: int) -> int:
    """Round a size up to one of eight sizes per power of two.

    Splits drawn with different seeds then usually have equal shapes and share one compiled step.
    """
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def pack_audio(
    pieces: Iterable[np.ndarray], first_block: np.ndarray, total_blocks: int
) -> np.ndarray:
    """Pack int16 pieces (T,), in order, into int16 blocks (total_blocks, BLOCK_SAMPLES)."""
    audio = np.zeros(total_blocks * BLOCK_SAMPLES, np.int16)
    for first, piece in zip(first_block.ravel().tolist(), pieces, strict=True):
        audio[first * BLOCK_SAMPLES :][: len(piece)] = piece
    return audio.reshape(total_blocks, BLOCK_SAMPLES)


def pad_table(values: np.ndarray, padding: float) -> np.ndarray:
    """Append at least one row of `padding`, used by padding examples, to a table (N, ...)."""
    table = np.full((round_up(len(values) + 1), *values.shape[1:]), padding, values.dtype)
    table[: len(values)] = values
    return table


def read_all(read: Callable[[int], _T], count: int) -> Iterable[_T]:
    """Yield `read(0)` to `read(count - 1)` in order, calling `read` in several threads."""
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        # Submitted in groups, so that at most one group of results waits in memory.
        for first in range(0, count, 64):
            yield from pool.map(read, range(first, min(first + 64, count)))


def mean_channel(audio: np.ndarray) -> np.ndarray:
    """Average two channels, int16 (T, 2) to (T,), rounding halves to even."""
    total = np.add(audio[:, 0], audio[:, 1], dtype=np.float32)
    total *= 0.5
    return np.rint(total, out=total).astype(np.int16)


def cut_clips(store: DeviceArrays, positions: DeviceArrays, *, window_samples: int) -> DeviceArrays:
    """Cut a batch of windows from clips; see `pipeline.Batches`.

    Args:
        store: `audio` (blocks, BLOCK_SAMPLES), and for each clip `first_block`, `num_samples`,
            `labels`, `gain` and optionally `weight`. Padding examples use the last row.
        positions: `clip` and `start`, int32 (B,): clip row and first sample of the window.
        window_samples: window length.
    """
    clip, start = positions["clip"], positions["start"]
    num_samples = _num_valid(store["num_samples"][clip], start, window_samples)
    batch = {
        "audio": _cut(
            store["audio"], store["first_block"][clip], start, num_samples, window_samples
        ),
        "labels": store["labels"][clip],
        "gain": store["gain"][clip],
        "num_samples": num_samples,
        "mask": _mask(clip, store["num_samples"]),
    }
    return batch | ({"weight": store["weight"][clip]} if "weight" in store else {})


def cut_stems(
    store: DeviceArrays,
    positions: DeviceArrays,
    *,
    window_samples: int,
    num_stems: int,
    channels: int,
) -> DeviceArrays:
    """Cut a batch of excerpts from tracks; see `stem_batches.StemBatches`.

    Args:
        store: `audio` (blocks, BLOCK_SAMPLES); `first_block` (N, streams), where the streams are
            the stems, optionally followed by the mixture; `num_samples` (N,). Padding examples use
            the last row.
        positions: `track`, `start` and `channel`, int32 (B, S); without `channel`, channels are
            averaged.
        window_samples, num_stems: excerpt length and number of stems S.
        channels: 1 if the store holds the mean channel, 2 if it holds both channels, interleaved.
    """
    track, start = positions["track"], positions["start"]
    channel = positions.get("channel", jnp.full_like(track, MEAN_CHANNEL))

    def excerpts(stream: jax.Array, track: jax.Array, start: jax.Array, channel: jax.Array):
        valid = _num_valid(store["num_samples"][track], start, window_samples)
        first = store["first_block"][track, stream]
        start, valid = channels * start.ravel(), channels * valid.ravel()
        length = channels * window_samples
        audio = _cut(store["audio"], first.ravel(), start, valid, length)
        audio = audio.reshape(*track.shape, window_samples, channels)
        return audio[..., 0] if channels == 1 else _select(audio, channel)

    remaining = _num_valid(store["num_samples"][track], start, window_samples)
    batch = {
        "stems": excerpts(jnp.arange(num_stems), track, start, channel),
        "num_samples": remaining.max(axis=1),
        "mask": _mask(track[:, 0], store["num_samples"]),
    }
    if store["first_block"].shape[1] > num_stems:
        mixture = jnp.full(len(track), num_stems)
        mean = jnp.full(len(track), MEAN_CHANNEL)
        batch["mixture"] = excerpts(mixture, track[:, 0], start[:, 0], mean)
    return batch


def _select(audio: jax.Array, channel: jax.Array) -> jax.Array:
    """Return one channel of int16 audio (..., T, 2), or the mean of both channels."""
    left, right = audio[..., 0], audio[..., 1]
    mean = jnp.round((left.astype(jnp.float32) + right.astype(jnp.float32)) * 0.5)
    channel = channel[..., None]
    one = jnp.where(channel == 0, left, right)
    return jnp.where(channel == MEAN_CHANNEL, mean.astype(jnp.int16), one)


def _num_valid(num_samples: jax.Array, start: jax.Array, window_samples: int) -> jax.Array:
    return jnp.clip(num_samples - start, 0, window_samples)


def _mask(row: jax.Array, table: jax.Array) -> jax.Array:
    """Return 1 for examples and 0 for padding, which uses the last row of the table."""
    return (row != len(table) - 1).astype(jnp.float32)


def _blocks_of_segment(num_samples: int) -> int:
    """Return the maximum number of blocks that a segment spans."""
    return (num_samples + 2 * BLOCK_SAMPLES - 2) // BLOCK_SAMPLES


def _cut(
    audio: jax.Array, first_block: jax.Array, start: jax.Array, num_valid: jax.Array, length: int
) -> jax.Array:
    """Return segments (B, length) that begin at sample `start`, with zeros from `num_valid` on."""
    sizes = (_blocks_of_segment(length), BLOCK_SAMPLES)

    def segment(block: jax.Array, offset: jax.Array) -> jax.Array:
        blocks = jax.lax.dynamic_slice(audio, (block, jnp.zeros_like(block)), sizes)
        return jax.lax.dynamic_slice(blocks.ravel(), (offset,), (length,))

    segments = jax.vmap(segment)(first_block + start // BLOCK_SAMPLES, start % BLOCK_SAMPLES)
    return jnp.where(jnp.arange(length) < num_valid[:, None], segments, jnp.int16(0))
