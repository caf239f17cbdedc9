"""Timelines of the instruments in a recording and of the tracks in a session."""

from collections.abc import Sequence

import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from irec_jax.crosstalk.activity import is_active
from irec_jax.inference import aggregation
from irec_jax.inference.segments import runs
from irec_jax.reports.figures import BLUE, GREY, VERMILION, new_axes, time_axis
from irec_jax.text import class_names, shorten

_MAX_COLUMNS = 800
_MAX_NAME = 24
_FLOOR_DB = -60.0
_FAINT = LinearSegmentedColormap.from_list("faint", ["white", GREY])


def instruments_over_time(
    times_s: ArrayLike,
    scores: np.ndarray,
    classes: Sequence[str],
    threshold: float,
    labels: Sequence[str],
) -> Figure:
    """Draw a row per class, shaded by score and underlined where the score reaches the threshold.

    Args:
        times_s: (N,), window centres in seconds, in ascending order
            (`irec_jax.inference.sliding_windows.window_centres_s`).
        scores: (N, K), non-negative window scores.
        classes: K class names.
        threshold: threshold for the scores, in the same units.
        labels: classes recognised in the recording; their names are set in bold.
    """
    scores, times_s = np.asarray(scores, np.float64), np.asarray(times_s, np.float64)
    edges_s, scores = _merge_columns(_window_edges(times_s), scores)
    figure, axes = new_axes(11.0, 1.4 + 0.36 * len(classes))
    top = max(float(scores.max()), float(threshold), 1e-9)
    rows = np.arange(len(classes) + 1) - 0.5
    image = axes.pcolormesh(edges_s, rows, scores.T, cmap="Blues", vmin=0, vmax=top)
    for row, active in enumerate(aggregation.is_active(scores, threshold).T):
        for start, stop in runs(active):
            span_s = edges_s[[start, stop]]
            axes.fill_between(span_s, row + 0.26, row + 0.5, color=VERMILION, linewidth=0)
    _separate_rows(axes, rows, edges_s)
    _class_axis(axes, classes, labels)
    recognised = ", ".join(class_names([name for name in classes if name in labels])) or "none"
    axes.set_title(f"Instruments: {recognised}", loc="left", fontsize=11)
    bar = figure.colorbar(image, ax=axes, label="score", pad=0.01)
    bar.ax.axhline(threshold, color=VERMILION, linewidth=2.5)
    patch = matplotlib.patches.Patch(color=VERMILION, label=f"score ≥ {threshold:.2f}")
    axes.legend(
        handles=[patch], loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderaxespad=0.1
    )
    return figure


def tracks_over_time(
    edges_s: np.ndarray, activity: np.ndarray, names: Sequence[str], threshold_db: float
) -> Figure:
    """Draw a row per track: its level in grey, with bars where the track is active.

    Args:
        edges_s: (N + 1,), frame boundaries in seconds.
        activity: (J, N), activity from 0 to 1 (`irec_jax.crosstalk.activity.track_activity`).
        names: J track names.
        threshold_db: minimum level in dB at which a track counts as active.
    """
    edges_s, activity = _merge_columns(edges_s, activity.T)
    levels_db = 20 * np.log10(np.maximum(activity.T, 10 ** (_FLOOR_DB / 20)))
    figure, axes = new_axes(11.0, 1.4 + 0.36 * len(names))
    rows = np.arange(len(names) + 1) - 0.5
    image = axes.pcolormesh(edges_s, rows, levels_db, cmap=_FAINT, vmin=_FLOOR_DB, vmax=0)
    for row, active in enumerate(is_active(activity.T, threshold_db)):
        bars = [(start_s, stop_s - start_s) for start_s, stop_s in edges_s[runs(active)].tolist()]
        axes.broken_barh(bars, (row - 0.22, 0.44), color=BLUE, linewidth=0)
    _separate_rows(axes, rows, edges_s)
    axes.set_yticks(range(len(names)), [shorten(name, _MAX_NAME) for name in names])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"Track activity (threshold {threshold_db:g} dB)", loc="left", fontsize=11)
    figure.colorbar(image, ax=axes, label="level relative to the peak, dB", pad=0.01)
    return figure


def _separate_rows(axes: Axes, rows: np.ndarray, edges_s: np.ndarray) -> None:
    """Draw lines between the rows and label the time axis."""
    axes.hlines(rows, edges_s[0], edges_s[-1], color="white", linewidth=2.0)
    axes.set_xlim(edges_s[0], edges_s[-1])
    time_axis(axes, edges_s[-1])
    axes.spines[:].set_visible(False)


def _class_axis(axes: Axes, classes: Sequence[str], labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(classes)), class_names(classes))
    for tick, name in zip(axes.get_yticklabels(), classes, strict=True):
        weight, colour = ("bold", "black") if name in labels else ("normal", GREY)
        tick.set(fontweight=weight, color=colour)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def _window_edges(centres_s: np.ndarray) -> np.ndarray:
    """Return boundaries (N + 1,) halfway between the window centres (N,).

    The first window starts at 0 and the last one ends with the recording, so the outer boundaries
    are half a window from the first and last centres.
    """
    halfway_s = (centres_s[:-1] + centres_s[1:]) / 2
    return np.concatenate([[0.0], halfway_s, [centres_s[-1] + max(centres_s[0], 1e-3)]])


def _merge_columns(edges_s: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge adjacent columns by taking their maximum, so that at most `_MAX_COLUMNS` remain.

    The maximum keeps a one-second solo visible in an hour of music.
    """
    step = -(-len(scores) // _MAX_COLUMNS)
    first = np.arange(0, len(scores), step)
    return np.append(edges_s[first], edges_s[-1]), np.maximum.reduceat(scores, first, axis=0)
