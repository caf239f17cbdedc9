"""Figures for separators, and for classifiers that are applied to their estimates."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irec_jax.metrics import multilabel
from irec_jax.reports import figures
from irec_jax.reports.figures import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, VERMILION
from irec_jax.text import class_names, shorten

_History = Sequence[Mapping[str, float]]  # one mapping per epoch
_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, GREY)
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_SYSTEMS: dict[str, dict[str, Any]] = {
    "ideal": dict(color=GREEN, marker="^", label="ideal ratio mask"),
    "raw": dict(color=BLUE, marker="o", label="raw"),
    "post": dict(color=VERMILION, marker="s", label="post"),
    "mixture": dict(color=GREY, marker="v", label="mixture (unprocessed)"),
}
#: Range of the colour scale in dB; the scale ends at the loudest bin of the first spectrogram.
_RANGE_DB = 75.0
_MAX_NAMED_TRACKS = 30
_MAX_TRACK_NAME = 28
_MIN_HZ, _MAX_HZ = 30.0, 16_000.0


def sdr_per_track(
    names: Sequence[str], scores: Mapping[str, Sequence[float]], *, title: str = ""
) -> Figure:
    """Draw the amplitude SDR of every track, sorted by the scores of one system.

    Tracks are sorted by the scores of 'raw', or of the first system if there is no 'raw'. Tracks
    for which this score is not finite come last. ``scores`` holds a score in dB for each system
    and track. NaN and infinite scores are not drawn.
    """
    key = np.array(scores["raw" if "raw" in scores else next(iter(scores))], np.float64)
    order = np.argsort(np.where(np.isfinite(key), key, np.inf), kind="stable")
    named = len(names) <= _MAX_NAMED_TRACKS
    figure, axes = figures.new_axes(max(7.0, 2.0 + 0.36 * len(names)) if named else 11.0, 4.8)
    other_colours = itertools.cycle(_COLOURS[3:])
    systems = [name for name in _SYSTEMS if name in scores]
    for name in [*systems, *(name for name in scores if name not in _SYSTEMS)]:
        style = _SYSTEMS.get(name) or dict(color=next(other_colours), marker="D", label=name)
        values = np.array(scores[name], np.float64)[order]
        values[~np.isfinite(values)] = np.nan
        axes.plot(values, linewidth=0.8, markersize=5 if named else 3.5, **style)
    if named:
        ticks = [shorten(names[int(i)], _MAX_TRACK_NAME, keep="start") for i in order]
        axes.set_xticks(range(len(names)), ticks, rotation=45, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set(ylabel="amplitude SDR (dB)", xlabel="" if named else "tracks, sorted")
    axes.set_title(title or "Amplitude SDR by track", loc="left")
    figures.grid(axes)
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
    """Draw vertically stacked spectrograms with a shared colour scale.

    Args:
        levels_db: levels (bins, frames) in dB by name, all of the same shape; the colour scale ends
            at the loudest bin of the first spectrogram.
        frame_s, bin_hz: frame spacing in seconds and bin spacing in Hz.
        start_s: start of the excerpt, for the time axis.
        title: title of the figure.
    """
    figure = figures.new_figure(10.5, 0.6 + 2.1 * len(levels_db))
    panels = figure.subplots(len(levels_db), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    first = next(iter(levels_db.values()))
    top, (num_bins, num_frames) = float(first.max()), first.shape
    # The lowest bin has no lower edge on a logarithmic axis.
    edges_hz = (np.arange(1, num_bins + 1) - 0.5) * bin_hz
    edges_s = start_s + frame_s * np.arange(num_frames + 1)
    images = []
    for axes, (name, levels) in zip(panels, levels_db.items(), strict=True):
        image = axes.pcolormesh(
            edges_s, edges_hz, levels[1:], cmap="magma", vmin=top - _RANGE_DB, vmax=top,
            rasterized=True,
        )  # fmt: skip
        images.append(image)
        axes.set_yscale("log")
        axes.set_ylim(max(_MIN_HZ, edges_hz[0]), min(_MAX_HZ, edges_hz[-1]))
        ticks_hz = [hz for hz in (100, 1000, 10_000) if edges_hz[0] < hz < edges_hz[-1]]
        axes.set_yticks(ticks_hz, [figures.frequency_label(hz) for hz in ticks_hz])
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_ylabel("frequency (Hz)")
        axes.set_title(name, loc="left", fontsize=10)
    figures.time_axis(panels[-1], frame_s * num_frames)
    figure.colorbar(images[-1], ax=panels.tolist(), label="level (dB)", pad=0.01, aspect=40)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def learning_curves(
    histories: Mapping[str, _History], *, kept: Mapping[str, int] | None = None, title: str = ""
) -> Figure:
    """Draw the losses of runs by epoch and, if available, their validation amplitude SDR.

    Args:
        histories: histories of at most six runs by name, with a dict per epoch that holds
            ``epoch``, ``train_loss``, ``valid_loss`` and optionally ``valid_amplitude_sdr``.
        kept: for each run, the epoch whose parameters were kept; it is marked with a star.
        title: title of the figure.
    """
    scored = any("valid_amplitude_sdr" in row for rows in histories.values() for row in rows)
    figure = figures.new_figure(11.0 if scored else 7.5, 4.2)
    panels = figure.subplots(1, 1 + scored, squeeze=False)[0]
    single = len(histories) == 1
    for (name, history), colour in zip(histories.items(), itertools.cycle(_COLOURS)):
        _loss_lines(panels[0], name, history, colour, single=single, kept=(kept or {}).get(name))
        if scored:
            epochs, sdr_db = _column(history, "epoch"), _column(history, "valid_amplitude_sdr")
            panels[1].plot(epochs, sdr_db, color=colour, label=name, **_markers(history))
    panels[0].set_ylabel("loss" if single else "loss (dotted: training)")
    if scored:
        panels[1].set_ylabel("amplitude SDR of validation segments (dB)")
    for axes in panels:
        figures.epoch_axis(axes)
    panels[0].legend(frameon=False)
    figure.suptitle(title or "Training", fontsize=12)
    return figure


def loss_panels(panels: Mapping[str, Mapping[str, _History]], *, title: str) -> Figure:
    """Draw the losses of runs by epoch in several panels, two per row.

    Args:
        panels: for each panel title, the histories of at most six runs, as for `learning_curves`.
        title: title of the figure.
    """
    rows = -(-len(panels) // 2)
    figure = figures.new_figure(11.0, 0.5 + 3.4 * rows)
    for axes, (name, histories) in zip(
        figure.subplots(rows, 2, squeeze=False).ravel(), panels.items(), strict=False
    ):
        for (run, history), colour in zip(histories.items(), itertools.cycle(_COLOURS)):
            _loss_lines(axes, run, history, colour, single=False, kept=None)
        figures.epoch_axis(axes)
        axes.set_ylabel("loss (dotted: training)")
        axes.set_title(name, loc="left", fontsize=10)
        if histories:
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=12)
    return figure


def auc_curves(panels: Mapping[str, Mapping[str, _History]], *, title: str) -> Figure:
    """Draw the validation AUC by epoch, with a panel per system and a line per run.

    The epoch with the highest AUC is marked with a star. Each epoch of a history has the keys
    ``epoch`` and ``valid_auc``.
    """
    figure = figures.new_figure(1.0 + 3.6 * len(panels), 3.8)
    for axes, (system, histories) in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items(), strict=True
    ):
        for (run, history), colour, style in zip(
            histories.items(), itertools.cycle(_COLOURS), itertools.cycle(_STYLES)
        ):
            epochs, auc = _column(history, "epoch"), _column(history, "valid_auc")
            best = int(np.nanargmax(auc))
            label = f"{run}: {auc[best]:.3f}, epoch {epochs[best]:g}"
            axes.plot(epochs, auc, color=colour, ls=style, label=label, **_markers(history))
            axes.plot(epochs[best], auc[best], color=colour, marker="*", markersize=13, ls="")
        figures.epoch_axis(axes)
        axes.set_title(system, loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.supylabel("macro AUC of the validation clips", fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def _loss_lines(
    axes: Axes, name: str, history: _History, colour: str, *, single: bool, kept: int | None
) -> None:
    """Draw the training and validation loss of a run.

    If the plot shows a single run, the two lines differ in colour. Otherwise, they differ only in
    line style.
    """
    epochs, train, valid = (_column(history, k) for k in ("epoch", "train_loss", "valid_loss"))
    labels = ("training", "validation") if single else (None, name)
    markers = _markers(history)
    axes.plot(epochs, train, color=GREY if single else colour, ls=":", label=labels[0], **markers)
    axes.plot(epochs, valid, color=colour, ls="-", label=labels[1], **markers)
    for i in np.flatnonzero(epochs == kept):
        label = f"kept: epoch {epochs[i]:g}" if single else None
        star: dict[str, Any] = dict(
            color="black" if single else colour, marker="*", markersize=13, ls=""
        )
        axes.plot(epochs[i], valid[i], label=label, **star)


def _markers(history: _History) -> dict:
    """Return the style of the epoch markers; empty if there are too many to distinguish."""
    return dict(marker="o", markersize=3.5) if len(history) <= 30 else {}


def _column(history: _History, name: str) -> np.ndarray:
    """Return the named value of every epoch as float64; missing values are NaN."""
    return np.array([row.get(name) for row in history], np.float64)  # None becomes NaN


def roc_curves(
    classes: Sequence[str], labels: np.ndarray, scores: Mapping[str, np.ndarray], *, title: str = ""
) -> Figure:
    """Draw ROC curves, with a panel per class and a line per system; the legends state the areas.

    ``labels`` (N, K) are non-zero where a clip has a class; ``scores`` maps the names of at most
    six systems to finite scores (N, K).
    """
    labels = np.asarray(labels) > 0
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    figure = figures.new_figure(0.4 + 2.9 * columns, 0.9 + 2.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    from sklearn.metrics import roc_curve  # slow to import, and not needed for training

    areas = {system: multilabel.roc_auc(labels, values) for system, values in scores.items()}
    for k, (axes, name) in enumerate(zip(panels, class_names(classes), strict=False)):
        num_positives = int(labels[:, k].sum())
        axes.plot([0, 1], [0, 1], color=LIGHT_GREY, linewidth=1)
        axes.set_title(f"{name} ({num_positives})", fontsize=10)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        if not 0 < num_positives < len(labels):
            axes.text(0.5, 0.5, "not defined", ha="center", va="center", color=GREY)
            continue
        for i, (system, values) in enumerate(scores.items()):
            false, true, _ = roc_curve(labels[:, k], np.asarray(values)[:, k])
            label = f"{system} {areas[system][k]:.3f}"
            axes.plot(false, true, color=_COLOURS[i], ls=_STYLES[i], linewidth=1.5, label=label)
        axes.legend(frameon=False, fontsize=8, loc="lower right", borderaxespad=0.1)
    for unused in panels[len(classes) :]:
        unused.set_visible(False)
    figure.supxlabel("false positive rate", fontsize=10)
    figure.supylabel("true positive rate", fontsize=10)
    figure.suptitle(title or "ROC curves and the areas under them", fontsize=12)
    return figure
