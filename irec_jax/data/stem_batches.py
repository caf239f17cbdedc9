"""Random-access batches of stems: the batch at a step is a function of (seed, step) alone."""

import dataclasses
from typing import NamedTuple

import numpy as np

from irec_jax.data.pipeline import Batch, RandomAccessBatches
from irec_jax.data.stems import Tracks
from irec_jax.labels import STEMS

#: Treatment of the two channels of a stem.
STEM_CHANNELS = ("mean", "random")
#: Channel number that stands for the mean of both channels.
_MEAN = 2
#: Seeds of the random generators for the order of examples and for their contents.
_SEEDS = {"order": 0x0DE5, "examples": 0xE8A3}


class _Excerpts(NamedTuple):
    """Positions of the examples of a batch, all int64 (B, S)."""

    track: np.ndarray
    start: np.ndarray
    channel: np.ndarray


@dataclasses.dataclass(frozen=True)
class StemBatches(RandomAccessBatches):
    """Batches of excerpts of tracks.

    With `shuffle` (training) every example is a random excerpt. The number of examples in a pass is
    the number of consecutive windows in all tracks, rounded up to full batches. The concatenated
    tracks are divided into this number of equal segments, and each segment gives one example of the
    pass: tracks are drawn in proportion to their length, and all start positions within a track are
    equally likely. With probability `remix` each stem of an example comes from its own track and
    start instead, drawn in the same proportions. `channels`: the 'mean' of both channels, or
    'random' (left, right or mean), drawn for each stem of a remixed example and once for the
    others.

    Without `shuffle` (validation) consecutive windows cover every track to its end, as the mean of
    both channels, with the released mixture. The last batch is filled up with examples of mask 0.

    A batch holds ``stems`` int16 (B, S, T) in the order of `stems`, ``num_samples`` int32 (B,), the
    number of samples before the padding, ``mask`` float32 (B,), and without `shuffle` ``mixture``
    int16 (B, T).
    """

    tracks: Tracks
    _: dataclasses.KW_ONLY
    stems: tuple[str, ...] = STEMS
    remix: float = 0.0
    channels: str = "mean"
    _windows: tuple[np.ndarray, np.ndarray] = dataclasses.field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self):
        super().__post_init__()
        if self.channels not in STEM_CHANNELS:
            raise ValueError(f"channels={self.channels!r}: expected one of {STEM_CHANNELS}")
        if not 0.0 <= self.remix <= 1.0:
            raise ValueError(f"remix={self.remix}: expected a number from 0 to 1")
        per_track = -(-self.tracks.num_samples // self.window_samples)
        track = np.repeat(np.arange(len(self.tracks)), per_track)
        first = np.cumsum(per_track) - per_track
        start = (np.arange(len(track)) - first[track]) * self.window_samples
        object.__setattr__(self, "_windows", (track, start))

    @property
    def num_windows(self) -> int:
        """Number of consecutive windows in all tracks."""
        return len(self._windows[0])

    @property
    def _steps_per_full_pass(self) -> int:
        windows = self.num_windows
        if self.shuffle:
            windows = -(-int(self.tracks.num_samples.sum()) // self.window_samples)
        return -(-windows // self.batch_size)

    @property
    def steps_per_pass(self) -> int:
        return min(self._steps_per_full_pass, self.max_steps_per_epoch or self._steps_per_full_pass)

    def ids(self, step: int) -> list[str]:
        """Return `TRACK@FIRST_SAMPLE` of the examples in the global batch of a step.

        If the stems of an example have different positions, these are joined by +.
        """
        track, start, _ = self._excerpts(step)
        names = np.char.add(np.char.add(self.tracks.names[track], "@"), start.astype(str))
        return ["+".join(dict.fromkeys(row)) for row in names.tolist()]

    def __getitem__(self, step: int) -> Batch:
        local = self.batch_size // self.process_count
        track, start, channel = (column[self.local_rows] for column in self._excerpts(step))
        batch = {
            "stems": np.zeros((local, len(self.stems), self.window_samples), np.int16),
            "num_samples": np.zeros(local, np.int32),
            "mask": np.zeros(local, np.float32),
        }
        remaining = np.minimum(self.tracks.num_samples[track] - start, self.window_samples)
        batch["num_samples"][: len(track)] = remaining.max(axis=1)
        batch["mask"][: len(track)] = 1.0
        for row, stem in np.ndindex(track.shape):
            position = (int(column[row, stem]) for column in (track, start, channel))
            self._read(self.stems[stem], *position, out=batch["stems"][row, stem])
        if not self.shuffle:
            batch["mixture"] = np.zeros((local, self.window_samples), np.int16)
            for row in range(len(track)):
                position = track[row, 0], start[row, 0], _MEAN
                self._read("mixture", *position, out=batch["mixture"][row])
        return batch

    def _excerpts(self, step: int) -> _Excerpts:
        """Return the excerpts of the global batch; without `shuffle` the last may have fewer."""
        if self.shuffle:
            return self._draw(step)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        track, start = (
            np.repeat(column[rows, None], len(self.stems), axis=1) for column in self._windows
        )
        return _Excerpts(track, start, np.full_like(track, _MEAN))

    def _draw(self, step: int) -> _Excerpts:
        pass_number, step_in_pass = divmod(step, self.steps_per_pass)
        size = self._steps_per_full_pass * self.batch_size
        order = np.random.default_rng([self.seed, _SEEDS["order"], pass_number]).permutation(size)
        order = order[step_in_pass * self.batch_size :][: self.batch_size, None]
        generator = np.random.default_rng([self.seed, _SEEDS["examples"], step])
        shape = self.batch_size, len(self.stems)
        remixed = generator.random((self.batch_size, 1)) < self.remix
        position = np.where(
            remixed, generator.random(shape), (order + generator.random(order.shape)) / size
        )
        channel = np.full(shape, _MEAN)
        if self.channels == "random":
            drawn = generator.integers(0, _MEAN + 1, shape)
            channel = np.where(remixed, drawn, drawn[:, :1])
        # From a relative position in the concatenated tracks to a track and a start within it.
        ends = np.cumsum(self.tracks.num_samples)
        position = position * ends[-1]
        track = np.minimum(np.searchsorted(ends, position, side="right"), len(ends) - 1)
        length = self.tracks.num_samples[track]
        relative_start = (position - (ends[track] - length)) / length
        num_starts = np.maximum(length - self.window_samples, 0) + 1
        start = np.minimum((relative_start * num_starts).astype(np.int64), num_starts - 1)
        return _Excerpts(track, start, channel)

    def _read(self, stream: str, track: int, start: int, channel: int, *, out: np.ndarray) -> None:
        audio = self.tracks.read(int(track), stream, int(start), self.window_samples)
        if channel != _MEAN:
            out[:] = audio[:, channel]
            return
        total = np.add(audio[:, 0], audio[:, 1], dtype=np.float32)
        total *= 0.5
        out[:] = np.rint(total, out=total)
