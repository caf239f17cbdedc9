"""Figures that compare the runs of a study with one another and with published results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irec_jax.reports import figures
from irec_jax.reports.figures import BLUE, GREEN, ORANGE, VERMILION

_COLOURS, _MARKERS = (BLUE, VERMILION, GREEN, ORANGE), ("o", "s", "^", "v")
#: Score as (low, value, high); low and high are None if there is no interval.
Interval = tuple[float | None, float, float | None]


def score_points(
    rows: Sequence[str],
    groups: Mapping[str, Mapping[str, Interval]],
    *,
    score: str,
    title: str,
    interval: str = "95 % interval",
    reported: Mapping[str, float] | None = None,
    reported_label: str = "published",
    guess: tuple[str, float] | None = None,
) -> Figure:
    """Draw scores with intervals, one point per group in each row, and mark published scores.

    Args:
        rows: row names, from top to bottom.
        groups: scores by row for each of at most four groups; rows may be missing.
        score: name of the score, which ranges from 0 to 1.
        title: title of the figure.
        interval: what the intervals show, for the axis label.
        reported: published scores by row; None if there are none.
        reported_label: label for the published scores.
        guess: name and score of a baseline without a model, drawn as a dashed line.
    """
    figure, axes = figures.new_axes(9.0, 1.8 + 0.3 * len(rows))
    positions = {row: position for position, row in enumerate(rows)}
    for index, (group, values) in enumerate(groups.items()):
        colour, offset = _COLOURS[index], (index - (len(groups) - 1) / 2) * 0.26
        points = [(positions[row] + offset, values[row]) for row in rows if row in values]
        for y, (low, _, high) in points:
            if low is not None and high is not None:
                axes.plot([low, high], [y, y], color=colour, linewidth=1.6, alpha=0.5)
        y, x = [y for y, _ in points], [value for _, (_, value, _) in points]
        axes.plot(x, y, ls="", marker=_MARKERS[index], color=colour, ms=5, label=group)
    if reported is not None:
        published = [(reported[row], positions[row]) for row in rows if row in reported]
        style: dict[str, Any] = dict(ls="", marker="D", ms=5, markerfacecolor="none", color="black")
        axes.plot(*np.reshape(published, (-1, 2)).T, label=reported_label, **style)
    if guess is not None:
        label, value = f"{guess[0]} ({guess[1]:.2f})", guess[1]
        axes.axvline(value, color="black", ls="--", linewidth=0.9, label=label)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel=f"{score}, {interval}")
    axes.set_title(title, loc="left", fontsize=11)
    figures.grid(axes, "x")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draw accuracy and loss by epoch, with a row of panels per run.

    Each epoch of a history has the keys ``epoch``, ``train_top1``, ``valid_top1``, ``train_loss``
    and ``valid_loss``.
    """
    figure = figures.new_figure(9.0, 0.4 + 2.4 * len(histories))
    panels = figure.subplots(len(histories), 2, squeeze=False)
    splits = (("train", "training", BLUE, "-"), ("valid", "validation", VERMILION, "--"))
    for row, (name, history) in zip(panels, histories.items(), strict=True):
        epochs = [epoch["epoch"] for epoch in history]
        for axes, (key, label) in zip(row, (("top1", "accuracy"), ("loss", "loss")), strict=True):
            for split, text, colour, style in splits:
                values = [epoch[f"{split}_{key}"] for epoch in history]
                axes.plot(epochs, values, color=colour, ls=style, marker="o", ms=3.5, label=text)
            figures.epoch_axis(axes)
            axes.set_ylabel(label)
            axes.set_title(name, loc="left", fontsize=10)
    panels[0][0].legend(frameon=False)
    return figure


def label_histogram(counts: Mapping[str, int], *, title: str) -> Figure:
    """Draw the number of examples per class."""
    figure, axes = figures.new_axes(max(6.0, 1.5 + 0.6 * len(counts)), 3.6)
    _label_bars(axes, counts)
    axes.set_title(title)
    return figure


def label_distributions(splits: Mapping[str, Mapping[str, int]], *, title: str) -> Figure:
    """Draw the number of examples per class in several splits, with one panel per split."""
    num_classes = max(map(len, splits.values()))
    figure = figures.new_figure(max(6.0, 1.5 + 0.6 * num_classes), 0.6 + 3.0 * len(splits))
    panels = figure.subplots(len(splits), 1, squeeze=False)[:, 0]
    for axes, (split, counts) in zip(panels, splits.items(), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        _label_bars(axes, counts)
        axes.set_title(split, loc="left", fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def _label_bars(axes: Axes, counts: Mapping[str, int]) -> None:
    """Draw a bar for each class, with its number of examples above it."""
    bars = axes.bar(range(len(counts)), list(counts.values()), 0.7, color=BLUE)
    axes.bar_label(bars, fontsize=8)
    figures.class_axis(axes, counts)
    axes.set_ylabel("number of examples")


def score_curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, Interval]]]],
    *,
    xlabel: str,
    marks: Mapping[str, float],
) -> Figure:
    """Draw scores against a setting in one or more panels, with intervals as bands.

    Args:
        panels: for each panel title, at most five curves by name; each point of a curve consists
            of a setting and a score in 0..1.
        xlabel: name of the setting.
        marks: settings to mark with a vertical line, by name.
    """
    figure = figures.new_figure(max(7.0, 5.0 * len(panels)), 4.4)
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for (name, points), colour, marker in zip(
            curves.items(), (*_COLOURS, figures.PURPLE), (*_MARKERS, "D"), strict=False
        ):
            x = [setting for setting, _ in points]
            low, value, high = np.array([tuple(ends) for _, ends in points], float).reshape(-1, 3).T
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(x, value, color=colour, marker=marker, ms=4.5, label=name)
        for name, setting in marks.items():
            axes.axvline(setting, color="black", ls=":", linewidth=1.0, label=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(xlabel=xlabel, ylabel="score", ylim=(0, 1))
        axes.set_title(title, loc="left", fontsize=11)
        figures.grid(axes)
        axes.legend(frameon=False, fontsize=8)
    return figure


def threshold_curves(
    thresholds_db: Sequence[float], f1: Mapping[str, Sequence[float]], *, mark_db: float
) -> Figure:
    """Draw the F1 of the labels against the activity threshold, with one threshold marked.

    Curves are named 'CONDITION, METHOD'. Curves for the same condition have the same colour, and
    curves without crosstalk reduction are dashed.
    """
    figure, axes = figures.new_axes(8.5, 4.6)
    conditions = dict.fromkeys(name.rpartition(", ")[0] for name in f1)
    palette = ("black", *_COLOURS, figures.PURPLE, figures.GREY)
    colours = dict(zip(conditions, palette, strict=False))
    for name, values in f1.items():
        condition, _, method = name.rpartition(", ")
        style = "--" if method == "unreduced" else "-"
        axes.plot(thresholds_db, values, color=colours[condition], ls=style, label=name)
    axes.axvline(mark_db, color="black", ls=":", linewidth=1.0, label=f"default, {mark_db:g} dB")
    axes.set(xlabel="threshold relative to the peak activity of a track (dB)")
    axes.set(ylabel="F1 of labels", ylim=(0, 1), title="F1 of labels against the composed notes")
    figures.grid(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


def length_histogram(lengths_s: Sequence[float]) -> Figure:
    """Draw a histogram of piece lengths."""
    figure, axes = figures.new_axes(7.0, 3.6)
    axes.hist(lengths_s, bins=min(20, max(5, len(lengths_s) // 3)), color=BLUE, edgecolor="white")
    axes.set(xlabel="length (s)", ylabel="number of pieces", title="Lengths of the pieces")
    figures.grid(axes, "y")
    return figure
