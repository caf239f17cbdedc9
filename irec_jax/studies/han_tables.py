"""Report page for the Han study: results, then the paper's tables and figures."""

from collections.abc import Mapping

from irec_jax.evaluation.recognition import KINDS
from irec_jax.reports.page import measured_table, rendered_banner
from irec_jax.studies import han_visualisations, pages
from irec_jax.studies.published import han as published
from irec_jax.text import class_names, mean_sd, number

_SCORES, _AVERAGES = ("precision", "recall", "f1"), ("micro", "macro")
_HEADER = ["micro P", "R", "F1", "macro P", "R", "F1"]
_KIND_NAMES = {
    "fixed": "fixed, as published",
    "validation": "tuned on validation",
    "validation_per_class": "tuned on validation, per class",
    "oracle": "oracle: best on test",
}


def markdown_page(report: Mapping) -> str:
    """Return the report of `studies.han` as a Markdown page."""
    rows = report["rows"]
    default = rows.get("lrelu_0.33")
    brief = (
        "Quick run: trained for 178 steps of 32 windows; the scores are lower than after full "
        "training."
    )
    introduction = [
        *rendered_banner(report),
        *pages.brief_run(report["settings"], brief),
        _results(report),
        "![Micro and macro F1 of each network at threshold S2 0.50, measured and as published]"
        "(activations.png)",
        _question(report),
        "## Activations (table IV)",
        _activation_table(report),
    ]
    sections = []
    if default:
        sections += [
            "## Other systems (figure 3)",
            "![Precision, recall and F1 compared with published systems and with baselines]"
            "(comparison.png)",
        ]
    sections += [
        "## Windows and thresholds (figure 4)",
        *_window_section(report),
    ]
    if default:
        sections += [
            "## Aggregation (table V)",
            _aggregation_table(report, default),
            "The paper chooses the threshold for each score on the test clips. Validation clips "
            "have a single label and last 3 s, so thresholds tuned on them are biased.",
            "## Classes (figure 5)",
            "![F1 by class](classes.png)",
            _class_table(report, default),
        ]
    if "neighbours" in report:
        sections += [
            "## Layer activations (figure 6)",
            "![t-SNE of each layer's activations, with one colour per class; percentages give "
            "the share of the five nearest neighbours that have the same class](tsne.png)",
            _neighbour_table(report),
            "## Deconvolution (figure 7)",
            "![The two most active units of each block, deconvolved](deconvolution.png)",
            "Each unit is projected back to the spectrogram through the pooling switches, the "
            "activation function and the transposed kernels (Zeiler and Fergus). Each picture has "
            "its own colour scale. `irec explain` draws such pictures for other files and systems.",
        ]
    sections += ["## Training", _training(report)]
    title = "Predominant instrument recognition: tables and figures of Han et al. (2017)"
    return pages.compose(title, report, introduction, sections)


def _fixed(row: Mapping) -> Mapping:
    return row["scores"]["s2"]["fixed"]


def _results(report: Mapping) -> str:
    rows = report["rows"]
    sentences = []
    activations = [row for row in rows.values() if row["window_s"] == 1.0]
    if len(activations) > 1:
        best = max(activations, key=lambda row: _fixed(row)["micro"]["f1"]["mean"])
        f1 = mean_sd(_fixed(best)["micro"]["f1"], 3)
        sentences.append(
            f"Of {len(activations)} activations, {best['label']} has the highest micro F1, {f1}; "
            f"in the paper, LReLU 0.33 has the highest ({_printed(published.S2_MICRO_F1)})."
        )
    if default := rows.get("lrelu_0.33"):
        s1, s2 = (default["scores"][name]["fixed"]["micro"]["f1"]["mean"] for name in ("s1", "s2"))
        order = "above" if s2 > s1 else "below" if s2 < s1 else "equal to"
        sentences.append(
            f"At the published thresholds, the micro F1 of S2, {number(s2)}, is {order} that of "
            f"S1, {number(s1)}; in the paper, S2 reaches "
            f"{_printed(published.S2_MICRO_F1)} and S1 {_printed(published.S1_MICRO_F1)}."
        )
    windows = _windows(report)
    if len(windows) > 1:
        best_s, worst_s = (
            choose(windows, key=lambda s: _fixed(windows[s])["micro"]["f1"]["mean"])
            for choose in (max, min)
        )
        measured = f"Micro F1 is highest with windows of {best_s:g} s and lowest with {worst_s:g} s"
        if best_s == worst_s:
            measured = "All window lengths give the same micro F1"
        sentences.append(
            f"{measured}; in the paper, it is highest with {published.BEST_WINDOW_S:g} s and "
            f"lowest with {published.WORST_WINDOW_S:g} s."
        )
    if not sentences:
        row = next(iter(rows.values()))
        sentences.append(f"{row['label']}: micro F1 {mean_sd(_fixed(row)['micro']['f1'], 3)}.")
    return "**Results.** " + " ".join(sentences)


def _printed(score: float) -> str:
    """Return a published score as the paper prints it, such as '.602'."""
    return number(score).removeprefix("0")


def _question(report: Mapping) -> str:
    counts = report["data"]["test"]
    return (
        "**Question.** Which activation, window length, threshold and aggregation work best for "
        f"{counts['num_clips']} test clips from {counts['num_songs']} songs, with "
        f"{counts['num_labels']} labels and {len(report['classes'])} instruments?"
    )


def _windows(report: Mapping) -> dict[float, Mapping]:
    """Return the rows that use the published activation, keyed by window length in seconds."""
    rows = [row for row in report["rows"].values() if row["activation"] == "lrelu_0.33"]
    return {row["window_s"]: row for row in sorted(rows, key=lambda row: row["window_s"])}


def _cells(block: Mapping) -> list[str]:
    return [mean_sd(block[average][name], 3) for average in _AVERAGES for name in _SCORES]


def _activation_table(report: Mapping) -> str:
    lines = []
    for row in report["rows"].values():
        lines.append([row["label"], str(len(row["seeds"])), *_cells(_fixed(row))])
    for name, block in report["baselines"].items():
        cells = [number(block[a].get(score)) for a in _AVERAGES for score in _SCORES]
        lines.append([f"baseline: {name}", "1", *cells])
    for setting, values in published.SCORES.items():
        name, _, threshold = setting.rpartition(", ")
        if threshold == "S2 0.50":
            lines.append([f"reported: {name}", "3", *map(number, values)])
    caption = (
        "Precision (P), recall (R) and F1 on the test clips at threshold S2 0.50, mean ± standard "
        f"deviation over seeds. Reported: {published.CITATION}, on the IRMAS test clips."
    )
    return measured_table(report, caption, ["activation", "seeds", *_HEADER], lines)


def _window_section(report: Mapping) -> list[str]:
    windows, lines = _windows(report), []
    if not windows:
        return ["No run with LReLU 0.33 has finished."]
    first = next(iter(windows.values()))["sweep"]["s2"]["thresholds"]
    low, high = published.S2_THRESHOLDS
    grid = [threshold for threshold in first if low <= threshold <= high]
    for window_s, row in windows.items():
        sweep = row["sweep"]["s2"]
        shown = dict(zip(sweep["thresholds"], sweep["micro"], strict=True))
        lines.append([f"{window_s:g} s", *(number(shown[t]["mean"]) for t in grid)])
    header = ["window", *(f"{t:.2f}" for t in grid)]
    caption = "Micro F1 on the test clips by window length and threshold on S2, mean over seeds."
    picture = "![Micro and macro F1 against the threshold, for each window](thresholds.png)"
    return [picture, measured_table(report, caption, header, lines)]


def _aggregation_table(report: Mapping, default: Mapping) -> str:
    lines = []
    for name in ("s1", "s2"):
        for kind in KINDS:
            block = default["scores"][name][kind]
            threshold = number(block["threshold"]["mean"], 2) if "threshold" in block else "–"
            lines.append([name.upper(), _KIND_NAMES[kind], threshold, *_cells(block)])
    for setting in ("LReLU 0.33, S1 0.16", "LReLU 0.33, S2 0.50"):
        score, threshold = setting.rpartition(", ")[2].split()
        cells = map(number, published.SCORES[setting])
        lines.append([f"reported: {score}", "best on test", threshold, *cells])
    caption = (
        "Aggregation of the window probabilities by S1 (their mean) or S2 (their sum, divided by "
        "the sum for the strongest class), with LReLU 0.33 and windows of 1 s: mean ± standard "
        f"deviation over seeds. Thresholds are averaged over seeds. Reported: {published.CITATION}."
    )
    header = ["score", "threshold", "value", *_HEADER]
    return measured_table(report, caption, header, lines, 2)


def _class_table(report: Mapping, default: Mapping) -> str:
    blocks = {
        "default": _fixed(default),
        "S1 0.16": default["scores"]["s1"]["fixed"],
        "S2 0.20": default["scores"]["s2"]["low"],
        "per class": default["scores"]["s2"]["validation_per_class"],
    }
    if longest := report["rows"].get("window-3.0"):
        blocks["3 s"] = _fixed(longest)
    lines = []
    for code, name in zip(report["classes"], class_names(report["classes"]), strict=True):
        cells = [mean_sd(block["per_class"][code]["f1"], 3) for block in blocks.values()]
        reported = published.CLASS_F1.get(code)
        lines.append([name, *cells, "–" if reported is None else f"about {reported:.2f}"])
    caption = (
        "F1 by class, mean ± standard deviation over seeds. The column 'per class' uses S2 with a "
        "threshold per class, tuned on validation clips, which the paper proposes as future work. "
        "Reported: F1 with the default settings, for the classes that the text mentions."
    )
    return measured_table(report, caption, ["class", *blocks, "reported"], lines)


def _neighbour_table(report: Mapping) -> str:
    layers = han_visualisations.LAYERS
    lines = [
        [split, *(f"{shares[layer]:.0%}" for layer in layers)]
        for split, shares in report["neighbours"].items()
    ]
    caption = (
        "Share of the five nearest neighbours of a window, among the windows shown, that have the "
        "same class, computed from the activations of each layer. The activations of blocks are "
        "max-pooled over time and frequency."
    )
    return measured_table(report, caption, ["clips", *layers.values()], lines)


def _training(report: Mapping) -> str:
    lines = []
    for row in report["rows"].values():
        epochs = ", ".join(f"{kept} of {count}" for kept, count in row["epochs"])
        seeds = ", ".join(map(str, row["seeds"]))
        lines.append([row["label"], seeds, epochs, f"{row['seconds'] / 60:.1f}"])
    caption = "Seeds and kept epochs for each network, and the total duration over all seeds."
    header = ["network", "seeds", "kept epochs", "minutes"]
    return measured_table(report, caption, header, lines, 3)
