"""Random-access batches of stems: the batch at a step depends only on the seed and the step."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from irec_jax.data import device_audio
from irec_jax.data.device_audio import MEAN_CHANNEL
from irec_jax.data.pipeline import Batch, RandomAccessBatches
from irec_jax.data.stems import Tracks
from irec_jax.labels import STEMS

#: Channel handling for stems: average both channels, or choose one of them or the mean at random.
STEM_CHANNELS = ("mean", "random")
#: Seeds for the random generators that draw the order of the examples and their contents.
_SEEDS = {"order": 0x0DE5, "examples": 0xE8A3}


class _Excerpts(NamedTuple):
    """Positions of the excerpts in a batch; each field is int64 (B, S)."""

    track: np.ndarray
    start: np.ndarray
    channel: np.ndarray


@dataclasses.dataclass(frozen=True)
class StemBatches(RandomAccessBatches):
    """Batches of excerpts from tracks.

    With `shuffle` (training), every example is a random excerpt. The number of examples in a pass
    is the total length of all tracks, measured in windows and rounded up to full batches. The
    concatenated tracks are divided into this number of equal segments, and each segment yields one
    example in the pass: tracks are drawn in proportion to their length, and all start positions
    within a track are equally likely. With probability `remix`, a track and start are instead drawn
    separately for each stem of an example, in the same proportions. `channels` is 'mean' (of both
    channels) or 'random' (left, right or mean). A random channel is drawn separately for each stem
    of a remixed example, and once for all stems of any other example.

    Without `shuffle` (validation), consecutive windows, averaged over both channels, cover every
    track to its end and are accompanied by the released mixture. The last batch is padded with
    examples whose mask is 0.

    A batch holds ``stems``, int16 (B, S, T), in the order of `stems`; ``num_samples``, int32 (B,),
    the number of samples before the padding; ``mask``, float32 (B,); and, without `shuffle`,
    ``mixture``, int16 (B, T).
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
        """Return `TRACK@FIRST_SAMPLE` for each example in the global batch at a step.

        The positions of a remixed example's stems are joined by '+'.
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
                position = track[row, 0], start[row, 0], MEAN_CHANNEL
                self._read("mixture", *position, out=batch["mixture"][row])
        return batch

    def _excerpts(self, step: int) -> _Excerpts:
        """Return the excerpts in the global batch at a step.

        Without `shuffle`, the last batch may be smaller.
        """
        if self.shuffle:
            return self._draw(step)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        track, start = (
            np.repeat(column[rows, None], len(self.stems), axis=1) for column in self._windows
        )
        return _Excerpts(track, start, np.full_like(track, MEAN_CHANNEL))

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
        channel = np.full(shape, MEAN_CHANNEL)
        if self.channels == "random":
            drawn = generator.integers(0, MEAN_CHANNEL + 1, shape)
            channel = np.where(remixed, drawn, drawn[:, :1])
        # Convert relative positions in the concatenated tracks to tracks and starts within them.
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
        if channel != MEAN_CHANNEL:
            out[:] = audio[:, channel]
            return
        out[:] = device_audio.mean_channel(audio)

    def positions(self, step: int) -> Batch:
        excerpts = _Excerpts(*(column[self.local_rows] for column in self._excerpts(step)))
        shape = self.batch_size // self.process_count, len(self.stems)
        padding = device_audio.round_up(len(self.tracks) + 1) - 1
        track, start = np.full(shape, padding, np.int32), np.zeros(shape, np.int32)
        channel = np.full(shape, MEAN_CHANNEL, np.int32)
        for column, values in zip((track, start, channel), excerpts, strict=True):
            column[: len(values)] = values
        return {"track": track, "start": start} | ({"channel": channel} if self._stereo else {})

    @property
    def _stereo(self) -> bool:
        """Whether both channels are stored; otherwise, only their mean is stored."""
        return self.shuffle and self.channels == "random"

    @property
    def _streams(self) -> tuple[str, ...]:
        return self.stems if self.shuffle else (*self.stems, "mixture")

    def _blocks(self) -> tuple[np.ndarray, int]:
        """Return each stream's first block, (N, streams), and the total number of blocks."""
        channels = 2 if self._stereo else 1
        lengths = np.repeat(channels * self.tracks.num_samples[:, None], len(self._streams), axis=1)
        return device_audio.num_blocks(lengths, channels * self.window_samples)

    @property
    def store_bytes(self) -> int:
        return 2 * device_audio.BLOCK_SAMPLES * self._blocks()[1]

    def create_store(self) -> Batch:
        first_block, total = self._blocks()

        def pieces() -> Iterator[np.ndarray]:
            for track, length in enumerate(self.tracks.num_samples.tolist()):
                for stream in self._streams:
                    audio = self.tracks.read(track, stream, 0, length)
                    yield audio.ravel() if self._stereo else device_audio.mean_channel(audio)

        return {
            "audio": device_audio.pack_audio(pieces(), first_block, total),
            "first_block": device_audio.pad_table(first_block, 0),
            "num_samples": device_audio.pad_table(self.tracks.num_samples.astype(np.int32), 0),
        }

    @property
    def cut(self) -> Callable[[Any, Any], Any]:
        return functools.partial(
            device_audio.cut_stems,
            window_samples=self.window_samples,
            num_stems=len(self.stems),
            channels=2 if self._stereo else 1,
        )
