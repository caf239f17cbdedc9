"""Figures of separators, and of the classifiers that hear what they give."""

from collections.abc import Mapping, Sequence

import matplotlib.ticker
import numpy as np
import sklearn.metrics
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from irec_jax.labels import IRMAS_NAMES
from irec_jax.metrics import multilabel
from irec_jax.reports.plots import (
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    clock,
    time_locator,
)

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, GREY)
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_SYSTEMS = {
    "ideal": dict(color=GREEN, marker="^", label="ideal ratio mask"),
    "raw": dict(color=BLUE, marker="o", label="raw"),
    "post": dict(color=VERMILION, marker="s", label="post"),
    "mixture": dict(color=GREY, marker="v", label="mixture (do nothing)"),
}
#: Below the loudest bin of the mixture nothing more than this is drawn.
_RANGE_DB = 75.0
_MAX_NAMED = 30
_TOP_HZ = 16_000


def sdr_per_track(
    names: Sequence[str],
    scores: Mapping[str, Sequence[float]],
    *,
    score_name: str = "amplitude SDR",
    title: str = "",
) -> Figure:
    """A score of every track, those with the lowest first.

    Args:
        names: of the N tracks.
        scores: system to N scores in dB, of which some may be NaN or infinite and are not drawn.
            Tracks are sorted by 'raw', or the first system in its absence; those without it last.
        score_name: of the axis.
        title: above.
    """
    key = np.array(scores["raw" if "raw" in scores else next(iter(scores))], np.float64)
    order = np.argsort(np.where(np.isfinite(key), key, np.inf), kind="stable")
    named = len(names) <= _MAX_NAMED
    figure, axes = _figure(max(7.0, 2.0 + 0.36 * len(names)) if named else 11.0, 4.8)
    spare = iter(_COLOURS[3:] * len(scores))
    for name in [*(n for n in _SYSTEMS if n in scores), *(n for n in scores if n not in _SYSTEMS)]:
        style = _SYSTEMS.get(name) or dict(color=next(spare), marker="D", label=name)
        values = np.array(scores[name], np.float64)[order]
        values[~np.isfinite(values)] = np.nan
        axes.plot(values, linewidth=0.8, markersize=5 if named else 3.5, **style)
    if named:
        shown = [_shortened(names[i]) for i in order]
        axes.set_xticks(range(len(names)), shown, rotation=45, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set(ylabel=f"{score_name} in dB", xlabel="" if named else "tracks, sorted")
    axes.set_title(title or f"{score_name[:1].upper()}{score_name[1:]} by track", loc="left")
    axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def spectrograms(
    levels_db: Mapping[str, np.ndarray],
    *,
    frame_s: float,
    bin_hz: float,
    start_s: float = 0.0,
    title: str = "",
) -> Figure:
    """Spectrograms below one another on one scale of colours.

    Args:
        levels_db: what it is to dB (bins, frames), all of one shape; the range of colours ends at
            the loudest bin of the first.
        frame_s: from one frame to the next.
        bin_hz: from one bin to the next.
        start_s: of the excerpt, for the time axis.
        title: above.
    """
    figure = Figure(figsize=(10.5, 0.6 + 2.1 * len(levels_db)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(levels_db), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    top = float(next(iter(levels_db.values())).max())
    for axes, (name, levels) in zip(panels, levels_db.items(), strict=True):
        num_bins, num_frames = levels.shape
        # Rows of equal height where the axis counts octaves: the lowest bin has none.
        edges_hz = (np.arange(1, num_bins + 1) - 0.5) * bin_hz
        edges_s = start_s + frame_s * np.arange(num_frames + 1)
        image = axes.pcolormesh(
            edges_s, edges_hz, levels[1:], cmap="magma", vmin=top - _RANGE_DB, vmax=top,
            rasterized=True,
        )  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylim(max(30.0, edges_hz[0]), min(_TOP_HZ, edges_hz[-1]))
        ticks = [hz for hz in (100, 1000, 10_000) if edges_hz[0] < hz < edges_hz[-1]]
        axes.set_yticks(ticks, [f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in ticks])
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_ylabel("Hz")
        axes.set_title(name, loc="left", fontsize=10)
    panels[-1].set_xlabel("time")
    panels[-1].xaxis.set_major_locator(time_locator(frame_s * num_frames))
    panels[-1].xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(clock))
    figure.colorbar(image, ax=panels.tolist(), label="dB", pad=0.01, aspect=40)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def loss_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    score: str = "amplitude_sdr",
    score_name: str = "amplitude SDR of segments in dB",
    kept: Mapping[str, int] | None = None,
    title: str = "",
) -> Figure:
    """Losses of runs by epoch, and beside them a score on validation where there is one.

    Args:
        histories: run (at most six) to a dict per epoch with ``epoch``, ``train_loss``,
            ``valid_loss`` and perhaps ``valid_SCORE``.
        score: its name.
        score_name: of its axis.
        kept: run to the epoch whose parameters were kept, which gets a star.
        title: above.
    """
    scored = any(f"valid_{score}" in row for history in histories.values() for row in history)
    figure = Figure(figsize=(11.0 if scored else 7.5, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + scored, squeeze=False)[0]
    single = len(histories) == 1
    for number, (name, history) in enumerate(histories.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        epochs = np.array([row["epoch"] for row in history], float)
        marker = dict(marker="o", markersize=3.5) if len(epochs) <= 30 else {}
        for side, style in (("train", ":"), ("valid", "-")):
            values = _column(history, f"{side}_loss")
            # One run's sides differ in colour, several runs' in their line alone.
            shade = GREY if single and side == "train" else colour
            text = {"train": "training", "valid": "validation"}[side]
            label = text if single else name if side == "valid" else None
            panels[0].plot(epochs, values, color=shade, ls=style, label=label, **marker)
        losses = _column(history, "valid_loss")
        for epoch in np.flatnonzero(epochs == (kept or {}).get(name)):
            panels[0].plot(
                epochs[epoch], losses[epoch], color="black" if single else colour, marker="*",
                markersize=13, ls="", label=f"kept: epoch {epochs[epoch]:g}" if single else None,
            )  # fmt: skip
        if scored:
            values = _column(history, f"valid_{score}")
            panels[1].plot(epochs, values, color=colour, label=name, **marker)
    panels[0].set_ylabel("loss" if single else "loss (dotted: training)")
    if scored:
        panels[1].set_ylabel(f"{score_name}, validation")
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.suptitle(title or "Training", fontsize=12)
    return figure


def roc_curves(
    classes: Sequence[str], labels: np.ndarray, scores: Mapping[str, np.ndarray], *, title: str = ""
) -> Figure:
    """ROC curves, a panel per class and a line per system, with areas.

    Args:
        classes: K names.
        labels: (N, K), non-zero where the class is there.
        scores: system (at most six) to (N, K), finite.
        title: above.
    """
    labels = np.asarray(labels) > 0
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    size = (0.4 + 2.9 * columns, 0.9 + 2.8 * rows)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    areas = {system: multilabel.roc_auc(labels, values) for system, values in scores.items()}
    for k, (axes, name) in enumerate(zip(panels, classes, strict=False)):
        num_positives = int(labels[:, k].sum())
        axes.plot([0, 1], [0, 1], color=LIGHT_GREY, linewidth=1)
        axes.set_title(f"{IRMAS_NAMES.get(name, name)} ({num_positives})", fontsize=10)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        if not 0 < num_positives < len(labels):
            axes.text(0.5, 0.5, "not defined", ha="center", va="center", color=GREY)
            continue
        for number, (system, values) in enumerate(scores.items()):
            false, true, _ = sklearn.metrics.roc_curve(labels[:, k], np.asarray(values)[:, k])
            axes.plot(
                false, true, color=_COLOURS[number], ls=_STYLES[number], linewidth=1.5,
                label=f"{system} {areas[system][k]:.3f}",
            )  # fmt: skip
        axes.legend(frameon=False, fontsize=8, loc="lower right", borderaxespad=0.1)
    for unused in panels[len(classes) :]:
        unused.set_visible(False)
    figure.supxlabel("false positive rate", fontsize=10)
    figure.supylabel("true positive rate", fontsize=10)
    figure.suptitle(title or "ROC curves, and the areas under them", fontsize=12)
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """A value by epoch; NaN for one that is not there."""
    values = [row.get(name) for row in history]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _shortened(name: str, width: int = 28) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def _figure(width: float, height: float) -> tuple[Figure, "matplotlib.axes.Axes"]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
