"""Figures for recognition reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irec_jax.reports import figures
from irec_jax.reports.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from irec_jax.text import class_names

_BAR_COLOURS = (BLUE, ORANGE, GREEN, GREY, PURPLE)
_THRESHOLD_STYLES = (("black", "-"), (ORANGE, "--"), (GREEN, ":"), (PURPLE, "-."))


def class_f1_bars(classes: Sequence[str], f1: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the F1 of each class as grouped bars, with one colour per setting (at most five)."""
    figure, axes = figures.new_axes(max(6.0, 1.5 + 0.75 * len(classes)), 4.0)
    positions, width = np.arange(len(classes)), 0.82 / len(f1)
    for index, (setting, values) in enumerate(f1.items()):
        offset = (index - (len(f1) - 1) / 2) * width
        colour = _BAR_COLOURS[index % len(_BAR_COLOURS)]
        axes.bar(positions + offset, values, 0.92 * width, label=setting, color=colour)
    figures.class_axis(axes, classes)
    axes.set(ylabel="F1", ylim=(0, 1), title="F1 by class")
    figures.grid(axes, "y")
    figure.legend(loc="outside lower center", ncols=4 if len(classes) > 6 else 2, frameon=False)
    return figure


def threshold_curve(
    thresholds: Sequence[float],
    micro_f1: Sequence[float],
    macro_f1: Sequence[float],
    *,
    marks: Mapping[str, float],
    score: str,
) -> Figure:
    """Draw micro and macro F1 on the test split as functions of the clip score threshold.

    ``marks`` holds the thresholds to mark, by name ('fixed', 'validation', 'oracle'). ``score`` is
    the name of the clip score ('S2').
    """
    figure, axes = figures.new_axes(7.0, 4.2)
    for name, f1, colour, marker, style in (
        ("micro F1", micro_f1, BLUE, "o", "-"),
        ("macro F1", macro_f1, VERMILION, "s", "--"),
    ):
        axes.plot(thresholds, f1, color=colour, marker=marker, ms=3.5, ls=style, label=name)
    for (name, value), (colour, style) in zip(marks.items(), _THRESHOLD_STYLES, strict=False):
        label = f"{name} ({value:.2f})"
        axes.axvline(value, color=colour, ls=style, linewidth=1.8, zorder=0.5, label=label)
    top = max(0.05, *micro_f1, *macro_f1)
    axes.set(xlabel=f"threshold on {score}", ylabel="F1 on the test split")
    axes.set(ylim=(0, min(1, 1.12 * top)), title=f"F1 against the threshold on {score}")
    figures.grid(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix of predominant instruments.

    ``counts`` (K, K) has true classes in rows and predicted classes in columns. Each cell is shaded
    by its share of the true class.
    """
    counts = np.asarray(counts)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = max(4.5, 2.6 + 0.48 * len(classes))
    figure, axes = figures.new_axes(size + 0.8, size)
    texts = np.where(counts, counts.astype(str), "")
    image = figures.heat_map(axes, shares, texts, high=1, fontsize=8)
    names, indices = class_names(classes), range(len(classes))
    axes.set_xticks(indices, names, rotation=45, ha="right")
    with_totals = [f"{name} ({n})" for name, n in zip(names, totals[:, 0], strict=True)]
    axes.set_yticks(indices, with_totals)
    axes.set(xlabel="predicted class (highest score)", ylabel="true class (number of clips)")
    axes.set_title("Confusion matrix of single-label test clips", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw ``train_loss`` and ``valid_loss`` by ``epoch``, and mark the lowest validation loss."""
    figure, axes = figures.new_axes(7.0, 4.0)
    keys = ("epoch", "train_loss", "valid_loss")
    epochs, train, valid = (np.array([row[key] for row in history], float) for key in keys)
    style: dict[str, Any] = dict(ms=4, linewidth=1.6)
    axes.plot(epochs, train, color=BLUE, marker="o", label="training", **style)
    axes.plot(epochs, valid, color=VERMILION, marker="s", ls="--", label="validation", **style)
    if np.isfinite(valid).any():
        best = int(np.nanargmin(valid))
        label = f"lowest: epoch {epochs[best]:g}, {valid[best]:.3f}"
        axes.plot(epochs[best], valid[best], color="black", marker="*", ms=14, ls="", label=label)
    axes.set(ylabel="loss", title="Training and validation loss")
    figures.epoch_axis(axes)
    axes.legend(frameon=False)
    return figure
