"""Aggregation of window probabilities (Han et al. 2017, section III-D).

Clip scores:

| name | clip score of a class | fixed threshold |
|---|---|---|
| `s1` | mean of its window probabilities | 0.16, the best in the paper |
| `s2` | sum of its window probabilities, divided by the largest such sum | 0.50, as in the paper |
| `max` | maximum of its window probabilities | 0.50, the midpoint of the sigmoid |
| `top` | mean of the largest quarter of its window probabilities | 0.50, as for `max` |

`max` and `top` are not from the paper. With `s2` the strongest class scores exactly 1 and is always
detected, unless all probabilities are 0, in which case all scores are 0. With the other scores, a
clip may have no labels.

Scores over time are computed like `s2`, over a sliding context of a few windows. With `max` and
`top`, they are the window probabilities themselves.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

from irec_jax import registry
from irec_jax.inference.segments import Segment, find_segments


def s1(
    probabilities: Float[np.ndarray, "*batch windows classes"],
) -> Float64[np.ndarray, "*batch classes"]:
    """Return the mean over windows."""
    return np.mean(probabilities, axis=-2, dtype=float)


def s2(
    probabilities: Float[np.ndarray, "*batch windows classes"],
) -> Float64[np.ndarray, "*batch classes"]:
    """Return the sum over windows divided by the largest sum of any class, in 0..1."""
    return _divide_by_largest(np.sum(probabilities, axis=-2, dtype=float))


def maximum(
    probabilities: Float[np.ndarray, "*batch windows classes"],
) -> Float64[np.ndarray, "*batch classes"]:
    """Return the maximum over windows."""
    return np.max(probabilities, axis=-2).astype(np.float64)


def top(
    probabilities: Float[np.ndarray, "*batch windows classes"],
) -> Float64[np.ndarray, "*batch classes"]:
    """Return the mean of the largest quarter (rounded up) of each class's probabilities.

    This detects a class that plays in only part of a long clip, without relying on a single window.
    """
    count = -(-probabilities.shape[-2] // 4)
    return np.sort(probabilities, axis=-2)[..., -count:, :].mean(axis=-2, dtype=float)


def _divide_by_largest(sums: np.ndarray) -> np.ndarray:
    largest = sums.max(axis=-1, keepdims=True)
    return np.divide(sums, largest, out=np.zeros_like(sums), where=largest > 0)


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """A clip score with its fixed threshold and the grid for tuning thresholds.

    The grids contain the paper's values (S1 0.02 .. 0.18, S2 0.20 .. 0.60) and extend beyond them
    with the same step size, for models with a different range of probabilities.
    """

    function: Callable[
        [Float[np.ndarray, "... windows classes"]], Float64[np.ndarray, "... classes"]
    ]
    threshold: float
    grid: tuple[float, ...]

    def __call__(
        self, clips: Iterable[Float[np.ndarray, "_windows classes"]]
    ) -> Float64[np.ndarray, "clips classes"]:
        """Return the scores of each clip, given its window probabilities."""
        scores = []
        for index, probabilities in enumerate(clips):
            if np.ndim(probabilities) != 2 or not len(probabilities):
                raise ValueError(
                    f"clip {index}: expected window probabilities (windows >= 1, K), "
                    f"got {np.shape(probabilities)}"
                )
            scores.append(self.function(probabilities))
        return np.stack(scores)


def _grid(step: float, last: float) -> tuple[float, ...]:
    return tuple(round(step * i, 4) for i in range(1, round(last / step) + 1))


AGGREGATIONS = {
    "s1": Aggregation(s1, 0.16, _grid(0.02, 0.98)),
    "s2": Aggregation(s2, 0.50, _grid(0.05, 1.00)),
    "max": Aggregation(maximum, 0.50, _grid(0.02, 0.98)),
    "top": Aggregation(top, 0.50, _grid(0.02, 0.98)),
}
#: Windows softer than the loudest window of a clip by more than this value in dB count as silent.
AUDIBLE_RANGE_DB = 60.0
#: Aggregations whose thresholds also apply to the probabilities of single windows.
ABSOLUTE = ("max", "top")


def get(name: str, threshold: float | None = None) -> Aggregation:
    """Return an aggregation by name, optionally with a different fixed threshold.

    Raises:
        UserError: if the name is unknown.
    """
    if name not in AGGREGATIONS:
        raise registry.unknown("aggregation", name, AGGREGATIONS)
    aggregation = AGGREGATIONS[name]
    if threshold is None:
        return aggregation
    return dataclasses.replace(aggregation, threshold=float(threshold))


def counting_windows(
    levels_db: Float[np.ndarray, " windows"], *, num_before: int, max_decay_db: float | None
) -> Bool[np.ndarray, " windows"]:
    """Return which windows count towards the clip scores.

    A window in which an earlier sound decays says little about the instrument: without its attack,
    a note of a guitar resembles one of a piano. Such a window does not count; nor does silence.

    Args:
        levels_db: level of each window in dB; the reference is arbitrary.
        num_before: number of earlier windows that a window is compared with.
        max_decay_db: a sound decays in a window that is softer than one of these earlier windows by
            more than this value in dB; None if all windows count.

    Returns:
        True for the windows that count; the loudest window always does.
    """
    levels_db = np.asarray(levels_db, np.float64)
    if max_decay_db is None:
        return np.ones(len(levels_db), bool)
    padded = np.pad(levels_db, (num_before, 0), constant_values=-np.inf)
    loudest_db = np.lib.stride_tricks.sliding_window_view(padded, num_before + 1).max(axis=1)
    is_audible = levels_db >= levels_db.max() - AUDIBLE_RANGE_DB
    return is_audible & (levels_db >= loudest_db - max_decay_db)


def activity(
    probabilities: Float[np.ndarray, "windows classes"],
    audible: Bool[np.ndarray, " windows"],
    *,
    context_windows: int = 5,
) -> Float[np.ndarray, "windows classes"]:
    """Return scores over time: the S2 clip score in a sliding context.

    The probabilities of a window and its neighbours are summed and divided by the largest sum of
    any class; contexts are shorter at the ends of the clip.

    Args:
        probabilities: probabilities of consecutive windows.
        audible: whether each window is audible; silent windows score 0.
        context_windows: odd number of windows in the context, which is centred on a window.

    Returns:
        Scores in 0..1.
    """
    masked = np.where(audible[:, None], probabilities, 0.0)
    reach = context_windows // 2
    sums = np.cumsum(np.pad(masked, ((1, 0), (0, 0))), axis=0)
    index = np.arange(len(masked))
    sums = sums[np.minimum(index + reach + 1, len(masked))] - sums[np.maximum(index - reach, 0)]
    return np.where(audible[:, None], _divide_by_largest(sums), 0.0)


def window_edges_s(
    times_s: Float[np.ndarray, " windows"], duration_s: float
) -> Float[np.ndarray, " edges"]:
    """Return the boundaries, in seconds, of the time spans that windows represent.

    The boundary between two windows is halfway between their centres. The first span starts at 0,
    and the last one ends at `duration_s`.

    Args:
        times_s: centres of the windows in seconds, increasing.
        duration_s: length of the audio in seconds.
    """
    return np.concatenate([[0.0], (times_s[1:] + times_s[:-1]) / 2, [duration_s]])


def is_active(
    activity: Float[np.ndarray, "*shape"], threshold: float | Float[np.ndarray, " classes"]
) -> Bool[np.ndarray, "*shape"]:
    """Return where the activity reaches a threshold; silence (activity 0) is never active.

    Args:
        activity: result of `activity`, or a slice of it.
        threshold: a single threshold, or one per class along the last axis.
    """
    return (activity >= threshold) & (activity > 0)


def segments(
    scores: Float[np.ndarray, "windows classes"],
    times_s: Float[np.ndarray, " windows"],
    thresholds: Float[np.ndarray, " classes"],
    classes: Sequence[str],
    duration_s: float,
) -> list[Segment]:
    """Return the segments in which classes are active (see `is_active`), sorted by start time.

    Args:
        scores: result of `activity`.
        times_s, duration_s: see `window_edges_s`.
        thresholds: threshold of each class.
        classes: names of the classes.
    """
    edges_s = window_edges_s(times_s, duration_s)
    found = find_segments(is_active(scores, thresholds).T, classes, edges_s)
    return sorted(found, key=lambda segment: (segment.start_s, segment.name))
