"""Figures 3 to 7 of Han et al. (2017), and table IV as a plot."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from irec_jax.reports import explanation_figures, figures, recognition_figures, study_figures
from irec_jax.reports.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from irec_jax.studies import han_visualisations
from irec_jax.studies.published import han as published
from irec_jax.text import class_names, number

#: One distinct colour for each IRMAS class.
CLASS_COLOURS = (
    BLUE, ORANGE, GREEN, VERMILION, PURPLE, "#56B4E9", "#F0E442", "black", "#4B0092",
    GREY, "#7FFF00",
)  # fmt: skip
_AVERAGES = ("micro", "macro")
_SCORES = {"precision": "P", "recall": "R", "f1": "F1"}


def draw_activations(report: Mapping) -> Figure:
    """Draw table IV: micro and macro F1 of each network, as mean and range over seeds."""
    rows = {row["label"]: row["scores"]["s2"]["fixed"] for row in report["rows"].values()}

    def point(block: Mapping) -> study_figures.Interval:
        values = block["f1"]["values"]
        return min(values), block["f1"]["mean"], max(values)

    reported = {
        setting.removesuffix(", S2 0.50"): scores[2] for setting, scores in published.SCORES.items()
    }
    rendered = ", rendered audio" if report["rendered"] else ""
    return study_figures.score_points(
        list(rows),
        {f"{name} F1": {label: point(row[name]) for label, row in rows.items()}
         for name in _AVERAGES},
        score="F1 on the test clips at threshold S2 0.50",
        interval="range over seeds",
        reported={label: reported[label] for label in rows if label in reported},
        reported_label="published micro F1",
        title=f"{report['dataset']}{rendered}; published: IRMAS",
    )  # fmt: skip


def draw_comparison(report: Mapping, row: Mapping) -> Figure:
    """Draw figure 3: precision, recall and F1 of the network, published systems and baselines."""
    ours = row["scores"]["s2"]["fixed"]
    han = published.SCORES["LReLU 0.33, S2 0.50"]
    figure = figures.new_figure(11.0, 4.6)
    bars: dict[str, tuple[str, dict[str, list[float]]]] = {
        "measured, ConvNet": (
            BLUE,
            {a: [ours[a][name]["mean"] for name in _SCORES] for a in _AVERAGES},
        )
    }
    for colour, (name, block) in zip(
        (GREY, figures.LIGHT_GREY), report["baselines"].items(), strict=False
    ):
        values = {a: [block[a].get(score, np.nan) for score in _SCORES] for a in _AVERAGES}
        bars[f"measured, {name}"] = (colour, values)
    nan = float("nan")
    bars |= {
        "published, Han et al.": (VERMILION, {"micro": [*han[:3]], "macro": [*han[3:]]}),
        "published, Bosch et al.": (
            ORANGE,
            {a: [nan, nan, f1] for a, f1 in zip(_AVERAGES, published.BOSCH, strict=True)},
        ),
        "published, Fuhrmann and Herrera (approximate)": (
            GREEN,
            {a: [nan, published.FUHRMANN_RECALL, nan] for a in _AVERAGES},
        ),
    }
    width = 0.84 / len(bars)
    for axes, average in zip(figure.subplots(1, 2, sharey=True), _AVERAGES, strict=True):
        for index, (name, (colour, values)) in enumerate(bars.items()):
            x = np.arange(3) + (index - (len(bars) - 1) / 2) * width
            drawn = axes.bar(x, values[average], 0.92 * width, color=colour, label=name)
            texts = ["" if np.isnan(v) else number(v, 2) for v in values[average]]
            axes.bar_label(drawn, texts, fontsize=6.5)
        axes.set_xticks(range(3), list(_SCORES.values()))
        axes.set_ylabel("score on the test clips" if average == "micro" else "")
        axes.set(title=average, ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
        figures.grid(axes, "y")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    where = f"{report['dataset']}, rendered audio" if report["rendered"] else report["dataset"]
    figure.suptitle(f"measured: {where}; published: IRMAS", fontsize=11)
    return figure


def draw_thresholds(windows: Mapping[float, Mapping]) -> Figure:
    """Draw figure 4: F1 against the S2 threshold for each window length.

    Bands show the standard deviation over seeds.

    Args:
        windows: window length in seconds -> results of the row with this window length.
    """
    panels = {}
    for average in _AVERAGES:
        panels[f"{average} F1"] = {}
        for window_s, row in windows.items():
            sweep = row["sweep"]["s2"]
            points = []
            for threshold, block in zip(sweep["thresholds"], sweep[average], strict=True):
                mean, sd = block["mean"], block["sd"]
                ends = (mean - sd, mean + sd) if np.isfinite(sd) else (None, None)
                points.append((threshold, (ends[0], mean, ends[1])))
            panels[f"{average} F1"][f"windows of {window_s:g} s"] = points
    return study_figures.score_curves(
        panels, xlabel="threshold on S2", marks={"published, 0.50": 0.5}
    )


def draw_classes(classes: Sequence[str], default: Mapping, longest: Mapping | None) -> Figure:
    """Draw figure 5: F1 by class with default settings, S1, long windows and a low threshold."""
    bars = {
        "default: S2 0.50, 1 s": default["scores"]["s2"]["fixed"],
        "S1 0.16": default["scores"]["s1"]["fixed"],
        "windows of 3 s": longest and longest["scores"]["s2"]["fixed"],
        "S2 0.20": default["scores"]["s2"]["low"],
    }
    f1 = {
        name: [block["per_class"][code]["f1"]["mean"] for code in classes]
        for name, block in bars.items()
        if block
    }
    return recognition_figures.class_f1_bars(classes, f1)


def draw_tsne(arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw figure 6: t-SNE of each layer's activations.

    The top row shows training clips, the bottom row validation clips. Panel titles give the share
    of nearest neighbours (before t-SNE) that have the same class as the point.
    """
    splits, layers = han_visualisations.SPLITS, han_visualisations.LAYERS
    figure = figures.new_figure(15.0, 6.0)
    panels = figure.subplots(len(splits), len(layers))
    for row, split in zip(panels, splits, strict=True):
        labels = arrays[f"{split}_labels"]
        for axes, (layer, title) in zip(row, layers.items(), strict=True):
            x, y = arrays[f"{split}_{layer}"].T
            for k, name in enumerate(class_names(classes)):
                shown = labels == k
                colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
                axes.scatter(x[shown], y[shown], s=7, color=colour, linewidth=0, label=name)
            share = float(arrays[f"{split}_{layer}_neighbours"])
            axes.set_title(f"{title}, {share:.0%}", fontsize=10)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(split, fontsize=11)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=len(classes), frameon=False,
        markerscale=2.5, handletextpad=0.1, columnspacing=1.0,
    )  # fmt: skip
    return figure


def draw_deconvolution(
    segments: Sequence[explanation_figures.SegmentPicture], frequencies_hz: np.ndarray
) -> Figure:
    """Draw figure 7: the two most active units in each block, for clips of two instruments."""
    return explanation_figures.draw_deconvolution(segments, frequencies_hz)
