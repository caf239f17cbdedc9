"""Clips of a split, and windows of them, as plain arrays and a function that reads one."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from irec_jax.audio import INT16_SCALE


@dataclasses.dataclass(frozen=True)
class Clips:
    """Labelled examples of audio: clips, channels of clips, or windows of clips.

    `read(i)` gives the mono samples of example i as int16 (T,), and its gain: the peak of the whole
    clip (or channel) that it was taken from, on a scale of -1..1.
    """

    ids: np.ndarray  # (N,) str
    songs: np.ndarray  # (N,) str
    labels: np.ndarray  # (N, K) float32 multi-hot
    num_samples: np.ndarray  # (N,) int64
    contradictory: np.ndarray  # (N,) bool
    read: Callable[[int], tuple[np.ndarray, np.float32]]

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Clips":
        """The clips at these indices, in this order."""
        indices = np.asarray(indices, np.int64)
        return Clips(
            ids=self.ids[indices],
            songs=self.songs[indices],
            labels=self.labels[indices],
            num_samples=self.num_samples[indices],
            contradictory=self.contradictory[indices],
            read=lambda i: self.read(int(indices[i])),
        )

    def first(self, num_samples: int) -> "Clips":
        """Of each clip only its beginning; its gain is the peak of that."""

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            # Copied, so that keeping it does not keep the whole clip.
            audio = self.read(i)[0][:num_samples].copy()
            return audio, peak(audio)

        return dataclasses.replace(
            self, num_samples=np.minimum(self.num_samples, num_samples), read=read
        )

    def followed_by(self, other: "Clips") -> "Clips":
        """These clips and then those of another split of the same classes."""
        count = len(self)

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(other, name)])

        return Clips(
            ids=joined("ids"),
            songs=joined("songs"),
            labels=joined("labels"),
            num_samples=joined("num_samples"),
            contradictory=joined("contradictory"),
            read=lambda i: self.read(i) if i < count else other.read(i - count),
        )

    def windows(self, *, window_samples: int, hop_samples: int) -> "Clips":
        """The windows of `cut`, each an example of its own: `ID@FIRST_SAMPLE`."""
        clip, start = cut(
            self.num_samples, window_samples=window_samples, hop_samples=hop_samples
        ).T
        whole = self.subset(clip)

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            audio, gain = whole.read(i)
            return audio[start[i] : start[i] + window_samples], gain

        return dataclasses.replace(
            whole,
            ids=np.array([f"{name}@{first}" for name, first in zip(whole.ids, start, strict=True)]),
            num_samples=np.minimum(whole.num_samples - start, window_samples),
            read=read,
        )


def cut(num_samples: np.ndarray, *, window_samples: int, hop_samples: int) -> np.ndarray:
    """Where training windows lie: every hop as long as they fit in their clip.

    What lacks less than a thousandth of a window fits, since clips of 3 s are often a sample
    short of it. A clip shorter than a window has one.

    Args:
        num_samples: (N,) lengths of clips.
        window_samples: length of a window.
        hop_samples: distance of windows.

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
    """Largest absolute value of int16 audio on a scale of -1..1; 1 for a silent clip."""
    # As a number, since the absolute value of -32768 is not an int16.
    largest = max(int(audio.max(initial=0)), -int(audio.min(initial=0)))
    return np.float32(largest / INT16_SCALE if largest else 1.0)
