"""Random-access excerpts of stems: the batch at a step is a function of (seed, step) alone."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np

from irec_jax import registry
from irec_jax.data.pipeline import Batch
from irec_jax.data.stems import Tracks
from irec_jax.errors import UserError
from irec_jax.labels import STEMS

#: What an example hears of the two channels of a stem.
STEM_CHANNELS = ("mean", "random")
#: Channel numbers; what is no channel is the mean of both.
_MEAN = 2
#: What is drawn -> its random stream.
_STREAMS = {"order": 0x0DE5, "examples": 0xE8A3}
#: `range` datasets have an end: beyond what any training reaches.
_ENDLESS = 2**48


class _Excerpts(NamedTuple):
    """Where the examples of a batch come from, all int64 (B, S)."""

    track: np.ndarray
    start: np.ndarray
    channel: np.ndarray


@dataclasses.dataclass(frozen=True)
class StemBatches:
    """Excerpts of tracks in batches.

    With `shuffle` (training) every example is an excerpt at random. A pass has as many examples as
    windows fit into the tracks side by side, made up to whole batches; the tracks, laid end to end,
    are divided into as many equal stretches, each of which gives one example of the pass. So
    tracks come in proportion to their length, and any start within a track is as likely. With
    probability `remix` each stem of an example comes from a track and a start of its own instead,
    drawn in the same proportions. `channels`: the 'mean' of both, or at 'random' left, right or
    mean, for each stem by itself where it is re-mixed and alike otherwise. An epoch is one pass,
    or as many as give `min_steps_per_epoch`; `max_steps_per_epoch` cuts passes short.

    Without `shuffle` (validation) windows lie side by side over every track to its end, as the
    mean of both channels, with the mixture as it was released. The last batch is filled with
    examples of mask 0.

    A batch holds ``stems`` int16 (B, S, T) in the order of `stems`, ``num_samples`` int32 (B,), how
    many of the T samples are not padding, ``mask`` float32 (B,), and without `shuffle` ``mixture``
    int16 (B, T). With several processes, process p holds rows [p * B / P, (p + 1) * B / P) of the
    same global batch, whatever their number.
    """

    tracks: Tracks
    window_samples: int
    batch_size: int
    stems: tuple[str, ...] = STEMS
    remix: float = 0.0
    channels: str = "mean"
    seed: int = 0
    shuffle: bool = True
    process_index: int = 0
    process_count: int = 1
    min_steps_per_epoch: int = 0
    max_steps_per_epoch: int = 0

    def __post_init__(self):
        if self.batch_size % self.process_count:
            raise UserError(
                f"config key training.batch_size={self.batch_size} is not a multiple of the "
                f"{self.process_count} processes"
            )
        if self.channels not in STEM_CHANNELS:
            raise registry.unknown("config key data.channels", self.channels, STEM_CHANNELS)
        if not 0.0 <= self.remix <= 1.0:
            raise UserError(f"config key data.remix={self.remix}: must lie between 0 and 1")
        per_track = -(-self.tracks.num_samples // self.window_samples)
        track = np.repeat(np.arange(len(self.tracks)), per_track)
        first = np.cumsum(per_track) - per_track
        start = (np.arange(len(track)) - first[track]) * self.window_samples
        object.__setattr__(self, "_windows", (track, start))

    @property
    def num_windows(self) -> int:
        """Windows that lie side by side in the tracks."""
        return len(self._windows[0])

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return max(1, -(-self.min_steps_per_epoch // self._steps_per_pass)) * self._steps_per_pass

    @property
    def _whole_pass(self) -> int:
        windows = self.num_windows
        if self.shuffle:
            windows = -(-int(self.tracks.num_samples.sum()) // self.window_samples)
        return -(-windows // self.batch_size)

    @property
    def _steps_per_pass(self) -> int:
        return min(self._whole_pass, self.max_steps_per_epoch or self._whole_pass)

    def ids(self, step: int) -> list[str]:
        """`TRACK@FIRST_SAMPLE` of the examples in the global batch of a step; where stems come
        from several places, those of all stems, joined by +."""
        track, start, _ = self._excerpts(step)
        names = np.char.add(np.char.add(self.tracks.names[track], "@"), start.astype(str))
        return ["+".join(dict.fromkeys(row)) for row in names.tolist()]

    def __getitem__(self, step: int) -> Batch:
        """This process's rows of the batch of a step."""
        local = self.batch_size // self.process_count
        first = self.process_index * local
        excerpts = self._excerpts(step)
        track, start, channel = (one[first : first + local] for one in excerpts)
        batch = {
            "stems": np.zeros((local, len(self.stems), self.window_samples), np.int16),
            "num_samples": np.zeros(local, np.int32),
            "mask": np.zeros(local, np.float32),
        }
        left = np.minimum(self.tracks.num_samples[track] - start, self.window_samples)
        batch["num_samples"][: len(track)] = left.max(axis=1)
        batch["mask"][: len(track)] = 1.0
        for row, stem in np.ndindex(track.shape):
            place = track[row, stem], start[row, stem], channel[row, stem]
            self._read(self.stems[stem], *place, batch["stems"][row, stem])
        if not self.shuffle:
            batch["mixture"] = np.zeros((local, self.window_samples), np.int16)
            for row in range(len(track)):
                place = track[row, 0], start[row, 0], _MEAN
                self._read("mixture", *place, batch["mixture"][row])
        return batch

    def iterate(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches from a step on, read ahead in threads: without end when shuffled, else to the
        end of the epoch."""
        end = _ENDLESS if self.shuffle else self.steps_per_epoch
        steps = grain.MapDataset.range(first_step, end).map(lambda step: self[int(step)])
        options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
        return iter(steps.to_iter_dataset(options))

    def _excerpts(self, step: int) -> _Excerpts:
        """Of the global batch; without `shuffle` the last one may be shorter than the others."""
        if self.shuffle:
            return self._draw(step)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        track, start = (
            np.repeat(column[rows, None], len(self.stems), axis=1) for column in self._windows
        )
        return _Excerpts(track, start, np.full_like(track, _MEAN))

    def _draw(self, step: int) -> _Excerpts:
        number, place = divmod(step, self._steps_per_pass)
        size = self._whole_pass * self.batch_size
        order = np.random.default_rng([self.seed, _STREAMS["order"], number]).permutation(size)
        order = order[place * self.batch_size : (place + 1) * self.batch_size, None]
        generator = np.random.default_rng([self.seed, _STREAMS["examples"], step])
        shape = self.batch_size, len(self.stems)
        mixed = generator.random((self.batch_size, 1)) < self.remix
        along = np.where(
            mixed, generator.random(shape), (order + generator.random(order.shape)) / size
        )
        channel = np.full(shape, _MEAN)
        if self.channels == "random":
            drawn = generator.integers(0, _MEAN + 1, shape)
            channel = np.where(mixed, drawn, drawn[:, :1])
        # From a share of the tracks laid end to end to a track, and a share of that.
        ends = np.cumsum(self.tracks.num_samples)
        position = along * ends[-1]
        track = np.minimum(np.searchsorted(ends, position, side="right"), len(ends) - 1)
        length = self.tracks.num_samples[track]
        share = (position - (ends[track] - length)) / length
        num_starts = np.maximum(length - self.window_samples, 0) + 1
        start = np.minimum((share * num_starts).astype(np.int64), num_starts - 1)
        return _Excerpts(track, start, channel)

    def _read(self, stream: str, track: int, start: int, channel: int, out: np.ndarray) -> None:
        audio = self.tracks.read(int(track), stream, int(start), self.window_samples)
        if channel != _MEAN:
            out[:] = audio[:, channel]
            return
        total = np.add(audio[:, 0], audio[:, 1], dtype=np.float32)
        total *= 0.5
        out[:] = np.rint(total, out=total)
