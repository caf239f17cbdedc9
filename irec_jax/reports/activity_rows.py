"""Timeline rows: the instruments in a recording and their activity over time."""

from typing import Any, NamedTuple

import numpy as np

from irec_jax.inference.aggregation import is_active, window_edges_s
from irec_jax.text import class_names


class ActivityRow(NamedTuple):
    """An instrument's activity in the C columns of a timeline.

    Attributes:
        name: instrument name, with IRMAS codes written out.
        is_label: whether the instrument is recognised in the recording.
        threshold: minimum activity at which the instrument counts as active.
        activity: (C,), maximum activity within each column, 0..1.
    """

    name: str
    is_label: bool
    threshold: float
    activity: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """Whether the instrument is active in each column: bool (C,)."""
        return is_active(self.activity, self.threshold)


def activity_rows(result: Any, num_columns: int) -> list[ActivityRow]:
    """Return a row for each instrument that is recognised or ever active, highest score first.

    Args:
        result: an `irec_jax.systems.recognized.Recognized`.
        num_columns: number of columns C, all of the same duration.
    """
    classes = list(result.scores)
    thresholds = np.array([result.thresholds[name] for name in classes])
    is_label = np.array([name in result.labels for name in classes])
    is_shown = is_label | is_active(result.activity, thresholds).any(axis=0)
    ranked = np.argsort([-result.scores[name] for name in classes], kind="stable")
    edges_s = window_edges_s(result.times_s, result.duration_s)
    columns = _columns(result.activity, edges_s, num_columns)
    names = class_names(classes)
    return [
        ActivityRow(names[k], bool(is_label[k]), float(thresholds[k]), columns[:, k])
        for k in ranked
        if is_shown[k]
    ]


def _columns(activity: np.ndarray, edges_s: np.ndarray, num_columns: int) -> np.ndarray:
    """Return the maximum activity (C, K) over the windows (W, K) that overlap each column.

    Taking the maximum keeps a one-second solo visible in an hour of music.
    """
    borders_s = np.linspace(0, edges_s[-1], num_columns + 1)
    first = np.searchsorted(edges_s, borders_s[:-1], side="right") - 1
    last = np.maximum(np.searchsorted(edges_s, borders_s[1:], side="left"), first + 1)
    return np.stack([activity[a:b].max(axis=0) for a, b in zip(first, last, strict=True)])
