"""Random-access batches of windows: the batch at a step depends only on the seed and the step."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from irec_jax.data import device_audio
from irec_jax.data.labelled_clips import Clips, window_positions
from irec_jax.errors import UserError
from irec_jax.losses import example_weights

Batch = dict[str, np.ndarray]


#: Length of a practically endless `MapDataset.range`: more steps than any training run takes.
_ENDLESS = 2**48


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomAccessBatches(abc.ABC):
    """Base class for random-access batches of windows.

    An epoch is one pass over the data, or as many passes as are needed for `min_steps_per_epoch`;
    `max_steps_per_epoch` shortens the passes.

    With P processes, process p holds rows [p * B / P, (p + 1) * B / P) of the global batch, which
    does not depend on P.
    """

    window_samples: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    process_index: int = 0
    process_count: int = 1
    min_steps_per_epoch: int = 0
    max_steps_per_epoch: int = 0

    def __post_init__(self):
        if self.batch_size % self.process_count:
            raise UserError(
                f"training.batch_size={self.batch_size}: expected a multiple of the number of "
                f"processes, {self.process_count}"
            )

    @property
    @abc.abstractmethod
    def steps_per_pass(self) -> int:
        """Number of batches in a pass over the data."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return max(1, -(-self.min_steps_per_epoch // self.steps_per_pass)) * self.steps_per_pass

    @property
    def local_rows(self) -> slice:
        """Rows of the global batch that belong to this process."""
        local = self.batch_size // self.process_count
        return slice(self.process_index * local, (self.process_index + 1) * local)

    @abc.abstractmethod
    def ids(self, step: int) -> list[str]:
        """Return the ids of the examples in the global batch at a step."""

    @abc.abstractmethod
    def __getitem__(self, step: int) -> Batch:
        """Return this process's rows of the batch at a step."""

    @abc.abstractmethod
    def positions(self, step: int) -> Batch:
        """Return the positions in the store, int32 (rows, ...), of the examples in `self[step]`."""

    @property
    @abc.abstractmethod
    def store_bytes(self) -> int:
        """Size of the store's audio in bytes, computed without reading it."""

    @abc.abstractmethod
    def create_store(self) -> Batch:
        """Read the split into a store, from which `cut` cuts batches on a device."""

    @property
    @abc.abstractmethod
    def cut(self) -> Callable[[Any, Any], Any]:
        """Pure function `(store, positions) -> batch`, the same for all seeds of a config."""

    def iterate(self, first_step: int = 0, *, positions: bool = False) -> Iterator[Batch]:
        """Iterate over batches, or their positions, from `first_step` on, prefetching in threads.

        The iterator is endless with `shuffle`; otherwise it stops at the end of the epoch.
        """
        end = _ENDLESS if self.shuffle else self.steps_per_epoch
        read = self.positions if positions else self.__getitem__
        steps = grain.MapDataset.range(first_step, end).map(lambda step: read(int(step)))
        options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
        return iter(steps.to_iter_dataset(options))


@dataclasses.dataclass(frozen=True)
class Batches(RandomAccessBatches):
    """Batches of windows cut from clips.

    Clips are divided into windows by `window_positions`, without overlap if `hop_samples` is 0;
    short windows are zero-padded. The last batch of a pass is padded with examples whose mask is
    0, so that every pass over the data contains every window once. With `shuffle`, each pass has
    a different order. With `class_weights` (K,), a batch also contains each example's `weight`; see
    `losses.example_weights`.
    """

    clips: Clips
    _: dataclasses.KW_ONLY
    hop_samples: int = 0
    class_weights: np.ndarray | None = None
    _windows: np.ndarray = dataclasses.field(init=False, repr=False, compare=False)
    _steps_per_pass: int = dataclasses.field(init=False, repr=False, compare=False)
    _rows: Sequence[np.ndarray] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self):
        super().__post_init__()
        windows = window_positions(
            self.clips.num_samples,
            window_samples=self.window_samples,
            hop_samples=self.hop_samples or self.window_samples,
        )
        object.__setattr__(self, "_windows", windows)
        rows = grain.MapDataset.range(len(windows))
        if self.shuffle:
            rows = rows.seed(self.seed).shuffle()
        rows = rows.batch(self.batch_size, drop_remainder=False)
        if self.max_steps_per_epoch:
            rows = rows[: self.max_steps_per_epoch]
        object.__setattr__(self, "_steps_per_pass", len(rows))
        object.__setattr__(self, "_rows", rows.repeat() if self.shuffle else rows)

    @property
    def num_windows(self) -> int:
        """Number of windows in a pass over the data."""
        return len(self._windows)

    @property
    def class_counts(self) -> np.ndarray:
        """Number of windows labelled with each class in a pass over the data, (K,)."""
        return (self.clips.labels[self._windows[:, 0]] > 0).sum(axis=0)

    @property
    def steps_per_pass(self) -> int:
        return self._steps_per_pass

    def ids(self, step: int) -> list[str]:
        """Return the ids of the clips in the global batch at a step."""
        return [str(self.clips.ids[self._windows[row, 0]]) for row in self._rows[step]]

    def __getitem__(self, step: int) -> Batch:
        rows = self._rows[step][self.local_rows]
        local = self.batch_size // self.process_count
        batch = {
            "audio": np.zeros((local, self.window_samples), np.int16),
            "labels": np.zeros((local, self.clips.labels.shape[1]), np.float32),
            "gain": np.ones(local, np.float32),
            "num_samples": np.zeros(local, np.int32),
            "mask": np.zeros(local, np.float32),
        }
        for i, row in enumerate(rows):
            clip, start = self._windows[row]
            audio, gain = self.clips.read(int(clip))
            window = audio[start : start + self.window_samples]
            batch["audio"][i, : len(window)] = window
            batch["labels"][i] = self.clips.labels[clip]
            batch["gain"][i] = gain
            batch["num_samples"][i] = len(window)
            batch["mask"][i] = 1.0
        if self.class_weights is not None:
            weights = example_weights(batch["labels"], self.class_weights)
            batch["weight"] = weights.astype(np.float32)
        return batch

    def positions(self, step: int) -> Batch:
        rows = self._rows[step][self.local_rows]
        padding = device_audio.round_up(len(self.clips) + 1) - 1
        clip, start = np.full((2, self.batch_size // self.process_count), padding, np.int32)
        start[:] = 0
        clip[: len(rows)], start[: len(rows)] = self._windows[rows].T
        return {"clip": clip, "start": start}

    @property
    def store_bytes(self) -> int:
        total = device_audio.num_blocks(self.clips.num_samples, self.window_samples)[1]
        return 2 * device_audio.BLOCK_SAMPLES * total

    def create_store(self) -> Batch:
        clips, gain = self.clips, np.ones(len(self.clips), np.float32)
        first_block, total = device_audio.num_blocks(clips.num_samples, self.window_samples)

        def pieces() -> Iterator[np.ndarray]:
            for i, (audio, clip_gain) in enumerate(device_audio.read_all(clips.read, len(clips))):
                gain[i] = clip_gain
                yield audio

        audio = device_audio.pack_audio(pieces(), first_block, total)
        tables = {
            "first_block": device_audio.pad_table(first_block, 0),
            "num_samples": device_audio.pad_table(clips.num_samples.astype(np.int32), 0),
            "labels": device_audio.pad_table(clips.labels, 0),
            "gain": device_audio.pad_table(gain, 1),
        }
        if self.class_weights is not None:
            weights = example_weights(tables["labels"], self.class_weights)
            tables["weight"] = weights.astype(np.float32)
        return tables | {"audio": audio}

    @property
    def cut(self) -> Callable[[Any, Any], Any]:
        return functools.partial(device_audio.cut_clips, window_samples=self.window_samples)
