"""Window probabilities to who plays when."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """A class that is on without a break, in seconds."""

    label: str
    start_s: float
    end_s: float


def activity(
    probabilities: np.ndarray, audible: np.ndarray, *, context_windows: int = 5
) -> np.ndarray:
    """Scores over time that mean the same as the clip score S2, in a short context.

    The probabilities of a window and its neighbours are summed and divided by the largest
    class's sum, as S2 does for a whole clip; the ends use what neighbours they have.

    Args:
        probabilities: (W, K) window probabilities.
        audible: bool (W,); windows that are not score 0.
        context_windows: odd number of windows that are summed, centred.

    Returns:
        float64 (W, K), 0..1.
    """
    masked = np.where(audible[:, None], probabilities, 0.0)
    reach = context_windows // 2
    sums = np.cumsum(np.pad(masked, ((1, 0), (0, 0))), axis=0)
    index = np.arange(len(masked))
    total = sums[np.minimum(index + reach + 1, len(masked))] - sums[np.maximum(index - reach, 0)]
    largest = total.max(axis=1, keepdims=True)
    scores = np.divide(total, largest, out=np.zeros_like(total), where=largest > 0)
    return np.where(audible[:, None], scores, 0.0)


def segments(
    scores: np.ndarray,
    times_s: np.ndarray,
    thresholds: np.ndarray,
    classes: Sequence[str],
    duration_s: float,
) -> list[Segment]:
    """Spans in which a class's score reaches its threshold, by start.

    A window stands for the time from halfway to the one before it to halfway to the one after.

    Args:
        scores: (W, K) of `activity`.
        times_s: (W,) middles of the windows, rising.
        thresholds: (K,).
        classes: K names.
        duration_s: of the audio; the last window reaches to it.
    """
    edges = np.concatenate([[0.0], (times_s[1:] + times_s[:-1]) / 2, [duration_s]])
    found = []
    for k, name in enumerate(classes):
        on = np.pad(scores[:, k] >= thresholds[k], 1).astype(np.int8)
        change = np.diff(on)
        for start, end in zip(
            np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True
        ):
            found.append(Segment(name, float(edges[start]), float(edges[end])))
    return sorted(found, key=lambda s: (s.start_s, s.label))
