"""Figures of a recognition report; matplotlib's objects only, so that no global state is touched.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.patches
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from irec_jax.errors import UserError
from irec_jax.files import write_bytes
from irec_jax.labels import IRMAS_NAMES

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7F7F7F", "#D9D9D9"
_BAR_COLOURS = (BLUE, ORANGE, GREEN, GREY, PURPLE)


def _figure(width: float, height: float) -> tuple[Figure, "matplotlib.axes.Axes"]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def encode(figure: Figure, file_format: str) -> bytes:
    """The figure as 'png', 'pdf' or 'svg'."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        figure.savefig(buffer, format=file_format)
    return buffer.getvalue()


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure, whole or not at all, in the format that the name ends with.

    Raises:
        UserError: another ending than .png, .pdf or .svg, or the file cannot be written.
    """
    file_format = Path(path).suffix.lower().removeprefix(".")
    if file_format not in ("png", "pdf", "svg"):
        raise UserError(f"{path}: a plot's name must end with .png, .pdf or .svg")
    write_bytes(path, encode(figure, file_format))


def _full_names(classes: Sequence[str]) -> list[str]:
    """Codes of IRMAS written out; other names as they are."""
    return [IRMAS_NAMES.get(name, name) for name in classes]


def class_f1_bars(classes: Sequence[str], f1: Mapping[str, Sequence[float]]) -> Figure:
    """Class-wise F1: a group of bars per class, a colour per setting.

    Args:
        classes: K names.
        f1: name of a setting to its K values in 0..1; at most five settings.
    """
    figure, axes = _figure(max(6.0, 1.5 + 0.75 * len(classes)), 4.0)
    positions, width = np.arange(len(classes)), 0.82 / len(f1)
    for number, (name, values) in enumerate(f1.items()):
        offset = (number - (len(f1) - 1) / 2) * width
        colour = _BAR_COLOURS[number % len(_BAR_COLOURS)]
        axes.bar(positions + offset, values, 0.92 * width, label=name, color=colour)
    axes.set_xticks(positions, _full_names(classes), rotation=30, ha="right")
    axes.set(ylabel="F1", ylim=(0, 1), title="F1 by class")
    axes.tick_params(axis="x", length=0)
    axes.yaxis.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4 if len(classes) > 6 else 2, frameon=False)
    return figure


def threshold_curve(
    thresholds: Sequence[float],
    micro_f1: Sequence[float],
    macro_f1: Sequence[float],
    *,
    marks: Mapping[str, float],
    name: str,
) -> Figure:
    """Micro and macro F1 on the test split against the threshold.

    Args:
        thresholds: (G,).
        micro_f1: (G,).
        macro_f1: (G,).
        marks: thresholds to mark, by name ('fixed', 'validation', 'oracle').
        name: of the clip score: 'S2'.
    """
    figure, axes = _figure(7.0, 4.2)
    axes.plot(thresholds, micro_f1, color=BLUE, marker="o", markersize=3.5, label="micro F1")
    axes.plot(
        thresholds, macro_f1, color=VERMILION, marker="s", markersize=3.5, ls="--", label="macro F1"
    )
    styles = (("#000000", "-"), (ORANGE, "--"), (GREEN, ":"), (PURPLE, "-."))
    for (kind, value), (colour, style) in zip(marks.items(), styles, strict=False):
        axes.axvline(
            value, color=colour, ls=style, linewidth=1.8, zorder=0.5, label=f"{kind} ({value:.2f})"
        )
    top = max(0.05, *micro_f1, *macro_f1)
    axes.set(
        xlabel=f"threshold on {name}", ylabel="F1 on the test split", ylim=(0, min(1, 1.12 * top))
    )
    axes.set_title(f"F1 against the threshold on {name}")
    axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Confusion of predominant instruments: counts in the cells, colour their share of the row.

    Args:
        matrix: counts (K, K), row: true class, column: strongest class.
        classes: K names.
    """
    matrix = np.asarray(matrix)
    totals = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = max(4.5, 2.6 + 0.48 * len(classes))
    figure, axes = _figure(side + 0.8, side)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(
            column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8
        )
    names = _full_names(classes)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(
        range(len(names)), [f"{n} ({t})" for n, t in zip(names, totals[:, 0], strict=True)]
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="strongest class", ylabel="only label (clips)")
    axes.set_title("Predominant instrument of single-label test clips", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8)
    return figure


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Training and validation loss by epoch, the best epoch marked.

    Args:
        history: one dict per epoch with ``epoch``, ``train_loss`` and ``valid_loss``.
    """
    figure, axes = _figure(7.0, 4.0)
    epochs, train, valid = (
        np.array([row[key] for row in history], float)
        for key in ("epoch", "train_loss", "valid_loss")
    )
    options = {"markersize": 4, "linewidth": 1.6}
    axes.plot(epochs, train, color=BLUE, marker="o", label="training", **options)
    axes.plot(epochs, valid, color=VERMILION, marker="s", ls="--", label="validation", **options)
    if np.isfinite(valid).any():
        best = int(np.nanargmin(valid))
        axes.plot(
            epochs[best],
            valid[best],
            color="black",
            marker="*",
            markersize=14,
            ls="",
            label=f"lowest: epoch {epochs[best]:g}, {valid[best]:.3f}",
        )
    axes.set(xlabel="epoch", ylabel="loss", title="Training")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.legend(frameon=False)
    return figure


def instruments_over_time(
    times_s: Sequence[float],
    scores: np.ndarray,
    classes: Sequence[str],
    threshold: float,
    labels: Sequence[str],
) -> Figure:
    """Who plays when: a row per class, shaded by its score, underlined where it is on.

    Args:
        times_s: (N,) rising, the middles of the windows in seconds (`inference.sliding_windows`).
        scores: (N, K) scores of the windows, at least 0.
        classes: K names.
        threshold: on the scores, in their units.
        labels: the classes that were found in the clip as a whole; their names stand out.
    """
    scores, times_s = np.asarray(scores, np.float64), np.asarray(times_s, np.float64)
    edges, scores = _shorten(_edges(times_s), scores)
    figure, axes = _figure(11.0, 1.4 + 0.36 * len(classes))
    top = max(float(scores.max()), float(threshold), 1e-9)
    rows = np.arange(len(classes) + 1) - 0.5
    image = axes.pcolormesh(edges, rows, scores.T, cmap="Blues", vmin=0, vmax=top)
    for row, on in enumerate((scores >= threshold).T):
        for first, last in _runs(on):
            axes.fill_between(
                edges[[first, last]], row + 0.26, row + 0.5, color=VERMILION, linewidth=0
            )
    axes.hlines(rows, edges[0], edges[-1], color="white", linewidth=2.0)
    axes.set_yticks(range(len(classes)), _full_names(classes))
    for tick, name in zip(axes.get_yticklabels(), classes, strict=True):
        tick.set(fontweight="bold" if name in labels else "normal")
        tick.set_color("black" if name in labels else GREY)
    axes.invert_yaxis()
    axes.set(xlim=(edges[0], edges[-1]), xlabel="time")
    axes.xaxis.set_major_locator(time_locator(edges[-1]))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(clock))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    names = ", ".join(_full_names([name for name in classes if name in labels])) or "none"
    axes.set_title(f"Instruments: {names}", loc="left", fontsize=11)
    bar = figure.colorbar(image, ax=axes, label="score", pad=0.01)
    bar.ax.axhline(threshold, color=VERMILION, linewidth=2.5)
    patch = matplotlib.patches.Patch(color=VERMILION, label=f"score ≥ {threshold:.2f}")
    axes.legend(
        handles=[patch], loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderaxespad=0.1
    )
    return figure


def _edges(times_s: np.ndarray) -> np.ndarray:
    """Borders (N + 1,) between window middles (N,), from the clip's start to its end.

    The first window begins at 0 and the last one ends with the clip, so the first middle is half
    a window.
    """
    middles = (times_s[:-1] + times_s[1:]) / 2
    return np.concatenate([[0.0], middles, [times_s[-1] + max(times_s[0], 1e-3)]])


def _shorten(edges: np.ndarray, scores: np.ndarray, num_columns: int = 800):
    """At most ``num_columns`` columns: neighbours are merged, the larger score wins.

    So a solo of a second is still seen in an hour.
    """
    step = -(-len(scores) // num_columns)
    first = np.arange(0, len(scores), step)
    return np.append(edges[first], edges[-1]), np.maximum.reduceat(scores, first, axis=0)


def _runs(on: np.ndarray) -> np.ndarray:
    """First and last-plus-one index (R, 2) of the runs of True in bool (N,)."""
    changes = np.diff(np.concatenate([[0], on.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)], axis=1)


def time_locator(duration_s: float) -> matplotlib.ticker.Locator:
    """Ticks at round times: about ten of them."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    wanted = duration_s / 12
    return matplotlib.ticker.MultipleLocator(next((s for s in steps if s >= wanted), wanted))


def clock(seconds: float, _position: int | None = None) -> str:
    """Seconds as m:ss, with hours or tenths where needed."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    text = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"
