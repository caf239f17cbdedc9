"""Labelled clips, held as arrays and a read function, and their division into windows and bags."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from irec_jax.audio import INT16_SCALE
from irec_jax.errors import UserError


class Selectable:
    """Base class for dataclasses that hold arrays (N, ...) and a function ``read(i, ...)``."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]
    read: Callable[..., Any]

    def __len__(self) -> int:
        return len(self._columns()[0][1])

    def _columns(self) -> list[tuple[str, np.ndarray]]:
        names = [field.name for field in dataclasses.fields(self) if field.name != "read"]
        return [(name, getattr(self, name)) for name in names]

    def subset(self, indices: Sequence[int] | np.ndarray) -> Self:
        """Return the examples at the given indices, in that order, or where a mask is True."""
        indices = np.asarray(indices)
        indices = np.flatnonzero(indices) if indices.dtype == bool else indices.astype(np.int64)

        def read(i: int, *segment: Any) -> Any:
            return self.read(int(indices[i]), *segment)

        columns = {name: column[indices] for name, column in self._columns()}
        return dataclasses.replace(self, **columns, read=read)


@dataclasses.dataclass(frozen=True)
class Clips(Selectable):
    """Labelled audio examples: clips, channels of clips, or windows of clips.

    `read(i)` returns the mono samples of example i as int16 (T,), and its gain: the peak of the
    full clip (or channel) that the example was taken from, on a scale of -1..1.
    """

    ids: np.ndarray  # (N,) str
    songs: np.ndarray  # (N,) str
    labels: np.ndarray  # (N, K) float32 multi-hot
    num_samples: np.ndarray  # (N,) int64
    contradictory: np.ndarray  # (N,) bool
    read: Callable[[int], tuple[np.ndarray, np.float32]]

    def truncate(self, num_samples: int) -> "Clips":
        """Return the first `num_samples` of each clip; the gain is the peak of that segment."""

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            # Copied, so that caching the segment does not keep the full clip in memory.
            audio = self.read(i)[0][:num_samples].copy()
            return audio, peak(audio)

        return dataclasses.replace(
            self, num_samples=np.minimum(self.num_samples, num_samples), read=read
        )

    def concatenate(self, other: "Clips") -> "Clips":
        """Return these clips followed by the clips of another split with the same classes."""
        count = len(self)
        return Clips(
            **{name: np.concatenate([a, getattr(other, name)]) for name, a in self._columns()},
            read=lambda i: self.read(i) if i < count else other.read(i - count),
        )

    def to_windows(self, *, window_samples: int, hop_samples: int) -> "Clips":
        """Return the windows given by `window_positions`, with ids such as `ID@FIRST_SAMPLE`."""
        clip, start = window_positions(
            self.num_samples, window_samples=window_samples, hop_samples=hop_samples
        ).T
        clips = self.subset(clip)  # the clip of each window

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            audio, gain = clips.read(i)
            return audio[start[i] : start[i] + window_samples], gain

        return dataclasses.replace(
            clips,
            ids=np.array([f"{name}@{first}" for name, first in zip(clips.ids, start, strict=True)]),
            num_samples=np.minimum(clips.num_samples - start, window_samples),
            read=read,
        )

    def to_bags(self, num_instances: int) -> "Clips":
        """Return bags, each of which consists of consecutive examples from one song.

        A song's examples must be adjacent and have equal lengths. A bag's audio is the concatenated
        audio of its examples; a bag's labels are the union of its examples' labels. The last bag of
        a song ends with the song's last example, so it may overlap the previous bag. Songs with
        fewer examples than a bag holds are left out.

        Raises:
            UserError: every song has fewer examples than a bag holds.
        """
        first, count = _runs_of_songs(self.songs)
        starts = [
            start + np.append(np.arange(0, last, num_instances), last)
            for start, last in zip(first, count - num_instances, strict=True)
            if last >= 0
        ]
        if not starts:
            raise UserError(
                f"bag.num_instances={num_instances}: the longest piece has {count.max()} "
                "instances; use shorter windows, smaller bags or longer pieces"
            )
        start = np.concatenate(starts)
        members = start[:, None] + np.arange(num_instances)
        parts = self.subset(members.ravel())

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            instances = [parts.read(num_instances * i + j) for j in range(num_instances)]
            return np.concatenate([audio for audio, _ in instances]), instances[0][1]

        return dataclasses.replace(
            self.subset(start),
            labels=self.labels[members].max(axis=1),
            num_samples=self.num_samples[members].sum(axis=1),
            read=read,
        )


def _runs_of_songs(songs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first example and the length of each run of examples from the same song."""
    first = np.flatnonzero(np.append(True, songs[1:] != songs[:-1]))
    return first, np.diff(np.append(first, len(songs)))


def window_positions(
    num_samples: np.ndarray, *, window_samples: int, hop_samples: int
) -> np.ndarray:
    """Return the positions of all windows that fit in their clips, one window per hop.

    A window that exceeds its clip by at most a thousandth of the window length still counts as
    fitting, since 3-s clips are often one sample short. A clip shorter than a window yields one
    window.

    Args:
        num_samples: (N,) clip lengths.
        window_samples, hop_samples: window length, and distance between successive window starts.

    Returns:
        int64 (M, 2): clip and first sample of each window, in order.
    """
    num_samples = np.asarray(num_samples, np.int64)
    room = num_samples + window_samples // 1000 - window_samples
    per_clip = np.maximum(room // hop_samples + 1, 1)
    clip = np.repeat(np.arange(len(num_samples)), per_clip)
    first = np.cumsum(per_clip) - per_clip
    start = (np.arange(len(clip)) - np.repeat(first, per_clip)) * hop_samples
    return np.stack([clip, start], axis=1)


def peak(audio: np.ndarray) -> np.float32:
    """Return the peak of int16 audio on a scale of -1..1; 1 for a silent clip."""
    # Computed with Python integers, since the absolute value of -32768 does not fit in int16.
    largest = max(int(audio.max(initial=0)), -int(audio.min(initial=0)))
    return np.float32(largest / INT16_SCALE if largest else 1.0)
