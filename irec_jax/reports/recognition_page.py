"""Markdown page for a recognition report."""

import itertools
from collections.abc import Mapping

from irec_jax.evaluation.recognition import KINDS
from irec_jax.reports import piece_tables
from irec_jax.reports.page import (
    CLIP_SCORES,
    averaging_note,
    debug_banner,
    measured_table,
    picture,
    provenance_table,
    rendered_banner,
    repeats_heading,
)
from irec_jax.reports.tables import captioned_table, escape
from irec_jax.text import class_names, mean_sd, number, plural

_THRESHOLD_NAMES = {
    "fixed": "fixed in advance",
    "validation": "tuned on validation",
    "validation_per_class": "tuned on validation, per class",
    "oracle": "oracle (best micro F1 on test)",
}
_AVERAGES = ["micro P", "R", "F1", "macro P", "R", "F1"]
_WITH_INTERVALS = ["micro P", "R", "F1 [95 %]", "macro P", "R", "F1 [95 %]"]


def markdown_page(report: Mapping, captions: Mapping[str, str]) -> str:
    """Return the Markdown page for a report from `recognition_report.assemble`.

    The figures are stored beside the page; ``captions`` maps their file names to captions.
    """
    headline = "confusion.png" if report["predominant"]["all_clips"] else "class_f1.png"
    others = {name: caption for name, caption in captions.items() if name != headline}
    parts = [
        f"# {report['system']} on {report['dataset']}: predominant instruments",
        *rendered_banner(report),
        *debug_banner(report),
        _headline(report),
        *_warnings(report),
        *picture(captions, headline),
        "## Scores on the test split",
        _score_table(report),
        _explanation(report),
        *_repeats(report),
        *_reported(report),
        *piece_tables.sections(report),
        "## Scores by class",
        _class_table(report),
        *picture(others, "class_f1.png"),
        "## Thresholds and aggregation",
        _aggregation_table(report),
        *picture(others, "thresholds.png"),
        "## Confusion matrix",
        _confusion(report),
        *picture(others, "confusion.png"),
        *_data_splits(report),
        *picture(others, "training.png", heading="## Training"),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _score(block: Mapping, name: str = "f1") -> str:
    return piece_tables.with_interval(block, name)


def _headline(report: Mapping) -> str:
    """Return the main scores: accuracy and F1 if every clip has one label, otherwise only F1."""
    fixed, sizes = report["thresholds"]["fixed"], report["data"]["test"]
    protocol, accuracy = report.get("protocol"), report["predominant"]
    split, unit = "", "clips"
    if protocol:
        split, unit = f", split by *{protocol['description']}*", protocol["unit"]
    data = (
        f"the test split of {report['dataset']}{split} ("
        f"{plural(sizes['num_clips'], unit.removesuffix('s'))} of "
        f"{plural(sizes['num_songs'], 'song')}, {plural(sizes['num_labels'], 'label')}, "
        f"{plural(len(report['classes']), 'class', 'classes')})"
    )
    score, definition = CLIP_SCORES[report["aggregation"]]
    threshold = f"at the fixed threshold {score} ≥ {fixed['threshold']:.2f} ({score}: {definition})"
    f1 = f"Micro F1 {_score(fixed['micro'])}, macro F1 {_score(fixed['macro'])}"
    baselines = report.get("baselines", {})
    baseline_f1 = ""
    if baselines:
        blocks = {name: baseline["thresholds"]["fixed"] for name, baseline in baselines.items()}
        baseline_f1 = "; ".join(
            f"{name} {number(block['micro']['f1'])} and {number(block['macro']['f1'])}"
            for name, block in blocks.items()
        )
        baseline_f1 = f" Baselines (micro and macro F1): {baseline_f1}."
    if not accuracy["all_clips"]:
        return f"**{f1}** on {data}, {threshold}.{baseline_f1}"
    others = [f"chance {number(accuracy['chance'])}"]
    if "majority" in accuracy:
        others.append(f"the most frequent class {_score(accuracy['majority'], 'accuracy')}")
    others += [
        f"{name} {_score(baseline['predominant'], 'accuracy')}"
        for name, baseline in baselines.items()
        if name != "majority"
    ]
    return (
        f"**Accuracy {_score(accuracy, 'accuracy')}, balanced accuracy "
        f"{_score(accuracy, 'balanced_accuracy')}** on {data}; the prediction is the class with "
        f"the highest score. For comparison: {'; '.join(others)}.\n\n{f1} {threshold}.{baseline_f1}"
    )


def _warnings(report: Mapping) -> list[str]:
    warnings = []
    if num_shared := report.get("protocol", {}).get("num_songs_on_both_sides"):
        num_songs = report["data"]["test"]["num_songs"]
        warnings.append(
            f"> **Warning: data leakage.** {num_shared} of the "
            f"{plural(num_songs, 'test song')} {'is' if num_shared == 1 else 'are'} also in the "
            "training split: the scores say little about unseen music."
        )
    if report["collapse"]["warning"]:
        warnings.append(f"> **Warning: collapsed.** {report['collapse']['warning']}")
    return warnings


def _data_splits(report: Mapping) -> list[str]:
    """Return the section on the split sizes and the accuracy at the best epoch."""
    protocol, best = report.get("protocol"), report.get("best_epoch")
    if not protocol:
        return []
    accuracies, text = {}, f"Examples are {protocol['examples']}."
    if best:
        names = {"training": "train_top1", "validation": "valid_top1", "test": "test_accuracy"}
        accuracies = {split: best.get(name) for split, name in names.items()}
        text += (
            f" Accuracy at epoch {best['epoch']}, the best epoch, is the share of examples whose "
            "labels include the class with the highest score. It is measured on training windows "
            "during the epoch, on validation windows after the epoch, and on test "
            f"{protocol['unit']} with exactly one label."
        )
    text += averaging_note(report)
    if weighted := report.get("class_weights"):
        names = dict(zip(report["classes"], class_names(report["classes"]), strict=True))
        listed = (f"{escape(names[key])} {value:.2f}" for key, value in weighted["weights"].items())
        text += f" Class weights in training ({weighted['kind']}): {', '.join(listed)}."
    rows = [
        [split, str(sizes["num_examples"]), str(sizes["num_songs"]), number(accuracies.get(split))]
        for split, sizes in protocol["sides"].items()
    ]
    header = ["split", protocol["unit"], "songs", "accuracy"]
    return ["## Data splits", measured_table(report, text, header, rows)]


def _score_row(name: str, block: Mapping) -> list[str]:
    """Return a table row: a name, the threshold or the range of thresholds, and the scores."""
    value = block["threshold"]
    ends = (min(value.values()), max(value.values())) if isinstance(value, Mapping) else (value,)
    row = [name, " to ".join(f"{end:.2f}" for end in ends)]
    for average in (block["micro"], block["macro"]):
        row += [number(average["precision"]), number(average["recall"]), _score(average)]
    return row


def _score_table(report: Mapping) -> str:
    rows = [
        _score_row(f"**{report['system']}**, {_THRESHOLD_NAMES[kind]}", report["thresholds"][kind])
        for kind in KINDS
    ]
    for name, baseline in report.get("baselines", {}).items():
        for kind in ("fixed", "validation"):
            block = baseline["thresholds"][kind]
            rows.append(_score_row(f"{name}, {_THRESHOLD_NAMES[kind]}", block))
    return measured_table(
        report,
        "Precision (P), recall (R) and F1 on the test split, with 95 % intervals bootstrapped over "
        "songs.",
        ["system, threshold", "value", *_WITH_INTERVALS],
        rows,
    )


def _explanation(report: Mapping) -> str:
    ranking = report["ranking"]
    lines = [
        "The oracle threshold is the one threshold for all classes that gives the highest micro F1 "
        "on the test split itself. This micro F1 is not a result but an upper bound for a single "
        "threshold with the same clip score. Macro F1, thresholds per class and other clip scores "
        "may exceed it.",
        "Ranking by mean window probability: "
        f"macro ROC AUC {number(ranking['auc']['macro'])}, "
        f"label ranking average precision {number(ranking['lrap'])}.",
        *report["notes"],
    ]
    return "\n".join(f"- {line}" for line in lines)


def _repeats(report: Mapping) -> list[str]:
    if not (repeats := report.get("repeats")):
        return []
    scores = list(itertools.product(("micro", "macro"), ("precision", "recall", "f1")))
    rows = [
        [_THRESHOLD_NAMES[kind], *(mean_sd(block[average][name], 3) for average, name in scores)]
        for kind, block in repeats["thresholds"].items()
    ]
    names = {
        "accuracy": "test accuracy",
        "balanced_accuracy": "balanced test accuracy",
        "train_accuracy": "training accuracy",
        "valid_accuracy": "validation accuracy",
    }
    accuracies = ", ".join(
        f"{text} {mean_sd(repeats[name], 3)}" for name, text in names.items() if name in repeats
    )
    return [
        repeats_heading(repeats),
        f"Predicting the class with the highest score: {accuracies}.",
        measured_table(
            report,
            "Precision (P), recall (R) and F1 on the test split: mean ± standard deviation over "
            "the runs.",
            ["threshold", *_AVERAGES],
            rows,
        ),
    ]


def _reported(report: Mapping) -> list[str]:
    if not (reported := report.get("reported")):
        return []
    keys = ("micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")
    rows = [[row["setting"], *(number(row.get(key)) for key in keys)] for row in reported["rows"]]
    caption = (
        f"Precision (P), recall (R) and F1 on {reported['dataset']} as published: "
        f"{reported['source']}. Not measured by this run."
    )
    table = captioned_table(caption, ["published", *_AVERAGES], rows)
    return ["## Published scores", table]


def _class_table(report: Mapping) -> str:
    thresholds, auc = report["thresholds"], report["ranking"]["auc"]["per_class"]
    tuned = thresholds["validation_per_class"]
    rows = []
    for name, full_name in zip(report["classes"], class_names(report["classes"]), strict=True):
        fixed = thresholds["fixed"]["per_class"][name]
        row = [escape(full_name), str(fixed["num_positives"]), str(fixed["num_predicted"])]
        row += [number(fixed["precision"]), number(fixed["recall"]), _score(fixed)]
        row += [number(tuned["per_class"][name]["f1"]), f"{tuned['threshold'][name]:.2f}"]
        row += [number(thresholds["oracle"]["per_class"][name]["f1"]), number(auc[name])]
        rows.append(row)
    header = ["class", "clips", "predicted", "P", "R", "F1 [95 %]"]
    header += ["F1, tuned", "tuned threshold", "F1, oracle", "ROC AUC"]
    return measured_table(
        report,
        "Number of test clips with each class and number of clips predicted to have it; precision "
        "(P), recall (R) and F1 at the fixed threshold; F1 at the threshold tuned for the class on "
        "validation, and at the oracle threshold; ROC AUC.",
        header,
        rows,
    )


def _aggregation_table(report: Mapping) -> str:
    rows = [
        _score_row(f"{CLIP_SCORES[name][0]}, {_THRESHOLD_NAMES[kind]}", block)
        for name, aggregation in report["aggregations"].items()
        for kind, block in aggregation["thresholds"].items()
    ]
    definitions = "; ".join(": ".join(CLIP_SCORES[name]) for name in report["aggregations"])
    return measured_table(
        report,
        f"Precision (P), recall (R) and F1 on the test split by clip score. {definitions}.",
        ["score, threshold", "value", *_WITH_INTERVALS],
        rows,
    )


def _confusion(report: Mapping) -> str:
    predominant = report["predominant"]
    if not predominant["num_clips"]:
        return "No test clip has exactly one label."
    return (
        f"The matrix covers the {plural(predominant['num_clips'], 'test clip')} with exactly one "
        "label. Rows are true classes; columns are the classes with the highest mean probability. "
        f"Accuracy: {predominant['accuracy']:.1%}; balanced accuracy: "
        f"{predominant['balanced_accuracy']:.1%}."
    )
