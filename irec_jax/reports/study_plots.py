"""Figures of studies: many runs side by side, with what was published."""

from collections.abc import Mapping, Sequence

import matplotlib.ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.plots import BLUE, GREEN, LIGHT_GREY, ORANGE, VERMILION

_COLOURS, _MARKERS = (BLUE, VERMILION, GREEN, ORANGE), ("o", "s", "^", "v")
#: (low, value, high); low and high are None where there is no interval.
Interval = tuple[float | None, float, float | None]


def accuracies(
    rows: Sequence[str],
    found: Mapping[str, Mapping[str, Interval]],
    *,
    reported: Mapping[str, float],
    chance: float,
    title: str,
) -> Figure:
    """A line per row, on it a point with its interval for every group, and what was published.

    Args:
        rows: names, from top to bottom.
        found: group (at most four) to row to interval; rows may lack.
        reported: row to a published accuracy.
        chance: accuracy of guessing, a dashed line.
        title: above.
    """
    figure, axes = _figure(9.0, 1.8 + 0.3 * len(rows))
    for number, (group, values) in enumerate(found.items()):
        offset = (number - (len(found) - 1) / 2) * 0.26
        style = dict(color=_COLOURS[number], markersize=5, linewidth=1.6)
        at = [(place + offset, values[row]) for place, row in enumerate(rows) if row in values]
        for y, (low, _, high) in at:
            if low is not None and high is not None:
                axes.plot([low, high], [y, y], color=_COLOURS[number], linewidth=1.6, alpha=0.5)
        axes.plot(
            [value for _, (_, value, _) in at],
            [y for y, _ in at],
            ls="",
            marker=_MARKERS[number],
            label=group,
            **style,
        )
    at = [(place, reported[row]) for place, row in enumerate(rows) if row in reported]
    axes.plot(
        [value for _, value in at],
        [place for place, _ in at],
        ls="",
        marker="D",
        markersize=5,
        markerfacecolor="none",
        color="black",
        label="reported",
    )
    axes.axvline(chance, color="black", ls="--", linewidth=0.9, label=f"chance ({chance:.2f})")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="accuracy on test, 95 % interval")
    axes.set_title(title, loc="left", fontsize=11)
    axes.xaxis.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def learning(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Accuracy and loss by epoch, a line of panels per run.

    Args:
        histories: run to one dict per epoch with ``epoch``, ``train_top1``, ``valid_top1``,
            ``train_loss`` and ``valid_loss``.
    """
    figure = Figure(figsize=(9.0, 0.4 + 2.4 * len(histories)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(histories), 2, squeeze=False)
    for line, (name, history) in zip(panels, histories.items(), strict=True):
        epochs = [row["epoch"] for row in history]
        for axes, (key, label) in zip(line, (("top1", "accuracy"), ("loss", "loss")), strict=True):
            for side, colour, style in (("train", BLUE, "-"), ("valid", VERMILION, "--")):
                values = [row[f"{side}_{key}"] for row in history]
                text = {"train": "training", "valid": "validation"}[side]
                axes.plot(epochs, values, color=colour, ls=style, marker="o", ms=3.5, label=text)
            axes.set(xlabel="epoch", ylabel=label)
            axes.set_title(name, loc="left", fontsize=10)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
            axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(frameon=False)
    return figure


def label_histogram(counts: Mapping[str, int], *, title: str) -> Figure:
    """How many examples show each class."""
    figure, axes = _figure(max(6.0, 1.5 + 0.6 * len(counts)), 3.6)
    bars = axes.bar(range(len(counts)), list(counts.values()), 0.7, color=BLUE)
    axes.bar_label(bars, fontsize=8)
    names = [IRMAS_NAMES.get(name, name) for name in counts]
    axes.set_xticks(range(len(counts)), names, rotation=30, ha="right")
    axes.set(ylabel="examples", title=title)
    axes.tick_params(axis="x", length=0)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, "matplotlib.axes.Axes"]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
