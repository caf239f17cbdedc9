"""Figures of a recognition report."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from irec_jax.reports.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    epoch_axis,
    grid,
    new_axes,
)
from irec_jax.reports.text import class_names

_BAR_COLOURS = (BLUE, ORANGE, GREEN, GREY, PURPLE)
_THRESHOLD_STYLES = (("black", "-"), (ORANGE, "--"), (GREEN, ":"), (PURPLE, "-."))


def class_f1_bars(classes: Sequence[str], f1: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the F1 of each class: a group of bars per class, a colour per setting.

    Args:
        classes: K names.
        f1: setting (at most five) to its K values in 0..1.
    """
    figure, axes = new_axes(max(6.0, 1.5 + 0.75 * len(classes)), 4.0)
    positions, width = np.arange(len(classes)), 0.82 / len(f1)
    for index, (setting, values) in enumerate(f1.items()):
        offset = (index - (len(f1) - 1) / 2) * width
        colour = _BAR_COLOURS[index % len(_BAR_COLOURS)]
        axes.bar(positions + offset, values, 0.92 * width, label=setting, color=colour)
    axes.set_xticks(positions, class_names(classes), rotation=30, ha="right")
    axes.set(ylabel="F1", ylim=(0, 1), title="F1 by class")
    axes.tick_params(axis="x", length=0)
    grid(axes, "y")
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
    """Draw micro and macro F1 on the test split against the threshold.

    Args:
        thresholds: (G,).
        micro_f1: (G,).
        macro_f1: (G,).
        marks: thresholds to mark, by name ('fixed', 'validation', 'oracle').
        score: name of the clip score: 'S2'.
    """
    figure, axes = new_axes(7.0, 4.2)
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
    grid(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix of predominant instruments, shaded by the share of each row.

    Args:
        counts: (K, K), rows: true class, columns: class with the highest score.
        classes: K names.
    """
    counts = np.asarray(counts)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = max(4.5, 2.6 + 0.48 * len(classes))
    figure, axes = new_axes(size + 0.8, size)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        axes.text(
            column, row, counts[row, column], ha="center", va="center", fontsize=8,
            color="white" if shares[row, column] > 0.55 else "black",
        )  # fmt: skip
    names, indices = class_names(classes), range(len(classes))
    axes.set_xticks(indices, names, rotation=45, ha="right")
    with_totals = [f"{name} ({n})" for name, n in zip(names, totals[:, 0], strict=True)]
    axes.set_yticks(indices, with_totals)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class (highest score)", ylabel="true class (number of clips)")
    axes.set_title("Confusion matrix of single-label test clips", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw training and validation loss by epoch, with the best epoch marked.

    Args:
        history: one dict per epoch with ``epoch``, ``train_loss`` and ``valid_loss``.
    """
    figure, axes = new_axes(7.0, 4.0)
    epochs, train, valid = (
        np.array([row[key] for row in history], float)
        for key in ("epoch", "train_loss", "valid_loss")
    )
    axes.plot(epochs, train, color=BLUE, marker="o", ms=4, label="training", linewidth=1.6)
    axes.plot(
        epochs, valid, color=VERMILION, marker="s", ms=4, ls="--", label="validation", linewidth=1.6
    )
    if np.isfinite(valid).any():
        best = int(np.nanargmin(valid))
        label = f"lowest: epoch {epochs[best]:g}, {valid[best]:.3f}"
        axes.plot(epochs[best], valid[best], color="black", marker="*", ms=14, ls="", label=label)
    axes.set(ylabel="loss", title="Training and validation loss")
    epoch_axis(axes)
    grid(axes)
    axes.legend(frameon=False)
    return figure
