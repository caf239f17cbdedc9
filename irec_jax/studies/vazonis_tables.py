"""Report page for the Vazonis study: results, question and summary, then the tables."""

from collections.abc import Mapping, Sequence

import numpy as np

from irec_jax.reports.page import measured_table, rendered_banner
from irec_jax.studies import pages
from irec_jax.studies.pages import with_interval
from irec_jax.studies.published import vazonis as published
from irec_jax.text import class_names, number, plural

_SCORES = ("precision", "recall", "f1")


def markdown_page(report: Mapping) -> str:
    """Return the report of `studies.vazonis` as a Markdown page."""
    introduction = [
        *rendered_banner(report),
        *pages.brief_run(
            report["settings"], "Quick run: only some of the rows, trained for a few epochs."
        ),
        _results(report),
        "![Micro F1 of every network, measured and published](f1.png)",
        _question(report),
        _summary(report),
    ]
    sections = [
        "## Do the predictions depend on the input?",
        _verdicts(report),
        "## Scores by class",
        _class_table(report),
        "## Training",
        _training(report),
        "![Accuracy and loss by epoch](learning.png)",
        "## Labels of the training clips",
        "![Labels of the training clips](labels.png)",
    ]
    title = "LSTM on samples and dense network on a Fourier transform: Vazonis et al. (2022)"
    return pages.compose(title, report, introduction, sections)


def _question(report: Mapping) -> str:
    clips = "{num_clips} test clips from {num_songs} songs with {num_labels} labels"
    return (
        "**Question.** How well do two networks without prior knowledge of audio recognise the "
        f"instruments in {clips.format(**report['test'])} ({len(report['classes'])} instruments, "
        "threshold 0.5), and do their predictions depend on the input at all? The paper's LSTM "
        "makes nearly the same prediction for every clip."
    )


def _results(report: Mapping) -> str:
    rows = report["rows"].values()
    collapsed = [row["label"] for row in rows if row["collapse"]["collapsed"]]
    others = [row for row in rows if not row["collapse"]["collapsed"]]
    sentences = []
    if collapsed:
        sentences.append(
            f"Collapsed to nearly the same prediction for every clip: {'; '.join(collapsed)}."
        )
    if others:
        best = max(others, key=lambda row: row["micro"]["f1"])
        sentences.append(
            f"Of the networks whose predictions vary, {best['label']} has the highest micro F1, "
            f"{with_interval(best['micro'], 'f1')}."
        )
    names, (_, _, f1) = best_constant(report)
    sentences.append(
        f"The best constant prediction, {', '.join(names)} for every clip, has a micro F1 of "
        f"{number(f1)}; a lower micro F1 is no evidence of learning."
    )
    return "**Results.** " + " ".join(sentences)


def best_constant(report: Mapping) -> tuple[list[str], tuple[float, float, float]]:
    """Return the constant prediction with the highest micro F1 on the test clips.

    Returns:
        The predicted classes, and the micro precision, recall and F1 of this prediction.
    """
    test, per_class = report["test"], next(iter(report["rows"].values()))["per_class"]
    names = sorted(per_class, key=lambda name: -per_class[name]["num_positives"])
    correct = np.cumsum([per_class[name]["num_positives"] for name in names])
    predicted = test["num_clips"] * np.arange(1, len(names) + 1)
    f1 = 2 * correct / (predicted + test["num_labels"])
    k = int(f1.argmax())
    precision, recall = correct[k] / predicted[k], correct[k] / test["num_labels"]
    return names[: k + 1], (float(precision), float(recall), float(f1[k]))


def _summary(report: Mapping) -> str:
    lines = []
    for row in report["rows"].values():
        verdict = "collapsed" if row["collapse"]["collapsed"] else "predictions vary"
        verdict = verdict if row["collapse"]["judged"] else "not judged"
        lines.append([row["label"], *_score_cells(row), verdict])
    for name, baseline in report["baselines"].items():
        lines.append([f"baseline: {name}", *_score_cells(baseline["thresholds"]["fixed"]), "–"])
    names, values = best_constant(report)
    lines.append([f"always {', '.join(names)}", *map(number, values), "–", "constant"])
    for name, values in published.MICRO.items():
        verdict = "collapsed" if name == "LSTM" else "–"
        lines.append([f"reported: {name}", *map(number, values), "–", verdict])
    for name, f1 in published.BOSCH.items():
        lines.append([f"reported: Bosch 2012, {name}", "–", "–", number(f1), "–", "–"])
    caption = (
        "Precision (P), recall (R) and F1 on the test clips at threshold 0.5, with 95 % intervals "
        f"bootstrapped over songs. Reported: {published.CITATION}, on the IRMAS test clips; Bosch "
        "et al. 2012 as cited there."
    )
    header = ["system", "micro P", "R", "F1 [95 %]", "macro F1 [95 %]", "verdict"]
    return measured_table(report, caption, header, lines)


def _score_cells(scores: Mapping) -> list[str]:
    micro = scores["micro"]
    f1 = [with_interval(average, "f1") for average in (micro, scores["macro"])]
    return [number(micro["precision"]), number(micro["recall"]), *f1]


def _verdicts(report: Mapping) -> str:
    num_clips = report["test"]["num_clips"]
    lines = []
    for row in report["rows"].values():
        collapse = row["collapse"]
        most_frequent = collapse["most_frequent_predicted"]
        names = ", ".join(class_names(most_frequent["labels"])) or "no label"
        verdict = collapse["warning"] or (
            "The predictions vary with the clip."
            if collapse["judged"]
            else "Not judged: too few clips, or all clips have the same labels."
        )
        lines.append(
            f"- **{row['label']}**: {verdict} "
            f"{plural(collapse['num_distinct_predicted'], 'distinct prediction')} and "
            f"{plural(collapse['num_distinct_true'], 'distinct label set')} in "
            f"{plural(num_clips, 'clip')}; the most frequent prediction, {names}, is made for "
            f"{most_frequent['share']:.0%} of the clips."
        )
    always = ", ".join(class_names(published.LSTM_ALWAYS))
    lines.append(f"- **Reported, LSTM**: predicts {always} for nearly every clip.")
    return "\n".join(lines)


def _training(report: Mapping) -> str:
    lines = []
    for row in report["rows"].values():
        epoch = f"{row['best_epoch']} of {len(row['history'])}"
        lines.append([row["label"], row["input"], epoch, f"{row['seconds'] / 60:.1f}"])
    caption = "Input, kept epoch and run duration of each network."
    return measured_table(report, caption, ["system", "input", "kept epoch", "minutes"], lines, 2)


def _class_table(report: Mapping) -> str:
    rows = list(report["rows"].values())
    lines = []
    for code, name in zip(report["classes"], class_names(report["classes"]), strict=True):
        cells = [name, str(rows[0]["per_class"][code]["num_positives"])]
        cells += [_triple([row["per_class"][code][key] for key in _SCORES]) for row in rows]
        for per_class in (published.LSTM_PER_CLASS, published.FFT_PER_CLASS):
            cells.append(_triple(per_class.get(code, (None,) * 3)))
        lines.append(cells)
    header = ["class", "test clips", *(row["label"] for row in rows)]
    header += ["reported: LSTM", "reported: FFT"]
    caption = (
        "Precision / recall / F1 by class at threshold 0.5; a dash marks values that the paper "
        "does not state."
    )
    return measured_table(report, caption, header, lines)


def _triple(values: Sequence[float | None]) -> str:
    if all(value is None for value in values):
        return "–"
    return " / ".join(number(value, 2) for value in values)
