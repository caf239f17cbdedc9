"""The report as a page that a person reads (Markdown)."""

import math
from collections.abc import Mapping

from irec_jax.evaluation.recognition import KINDS
from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.page import provenance_table, rendered_banner
from irec_jax.reports.tables import markdown_table
from irec_jax.reports.text import number

_KIND_TEXT = {
    "fixed": "fixed beforehand",
    "validation": "tuned on validation",
    "validation_per_class": "tuned on validation, per class",
    "oracle": "oracle (best on test)",
}


def markdown(report: Mapping, plots: Mapping[str, str]) -> str:
    """The page.

    Args:
        report: of `report.assemble`.
        plots: file name of each plot, beside the page, to its caption.
    """
    parts = [
        f"# {report['system']} on {report['dataset']}: predominant instruments",
        *rendered_banner(report),
        _headline(report),
        *_warnings(report),
        *_sides(report),
        "## Scores on the test split",
        _score_table(report),
        _explanation(report),
        *_repeats(report),
        *_reported(report),
        "## By class",
        _class_table(report),
        *_picture(plots, "class_f1.png"),
        "## Thresholds and ways to aggregate",
        _aggregation_table(report),
        *_picture(plots, "thresholds.png"),
        "## Which instrument is taken for which",
        _predominant(report),
        *_picture(plots, "confusion.png"),
        *_picture(plots, "training.png", heading="## Training"),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _picture(plots: Mapping[str, str], name: str, heading: str | None = None) -> list[str]:
    """A plot under its heading; nothing when it was not drawn."""
    if name not in plots:
        return []
    return [*([heading] if heading else []), f"![{plots[name]}]({name})"]


def _interval(block: Mapping, name: str = "f1") -> str:
    """A score with its interval: '0.672 [0.651, 0.695]'."""
    low, high = block[f"{name}_interval"]
    if low is None or not math.isfinite(low):
        return number(block[name])
    return f"{number(block[name])} [{number(low)}, {number(high)}]"


def _threshold(value: float | Mapping) -> str:
    if isinstance(value, Mapping):
        return f"{min(value.values()):.2f} to {max(value.values()):.2f}"
    return f"{value:.2f}"


def _class_name(code: str) -> str:
    return IRMAS_NAMES.get(code, code)


def _headline(report: Mapping) -> str:
    fixed, sizes = report["thresholds"]["fixed"], report["data"]["test"]
    protocol, accuracy = report.get("protocol"), report["predominant"]
    where = f"the test split of {report['dataset']}"
    if protocol:
        where += f", split by *{protocol['description']}*"
    scores = f"Micro F1 {_interval(fixed['micro'])}, macro F1 {_interval(fixed['macro'])}"
    at = f"at the fixed threshold {report['aggregation'].upper()} ≥ {fixed['threshold']:.2f}"
    size = (
        f"({sizes['num_clips']} {protocol['unit'] if protocol else 'clips'} of "
        f"{sizes['num_songs']} songs, {sizes['num_labels']} labels, "
        f"{len(report['classes'])} classes)"
    )
    others = report.get("baselines", {}).items()
    f1 = [
        f"{name} {number(one['thresholds']['fixed']['micro']['f1'])} and "
        f"{number(one['thresholds']['fixed']['macro']['f1'])}"
        for name, one in others
    ]
    f1_beside = f" Beside it, micro and macro: {'; '.join(f1)}." if f1 else ""
    if not accuracy["all_clips"]:
        return f"**{scores}** on {where} {size}, {at}.{f1_beside}"
    beside = [f"chance {number(accuracy['chance'])}"]
    if "majority" in accuracy:
        beside.append(f"the most frequent class {_interval(accuracy['majority'], 'accuracy')}")
    beside += [
        f"{name} {_interval(one['predominant'], 'accuracy')}"
        for name, one in others
        if name != "majority"
    ]
    return (
        f"**Accuracy {_interval(accuracy, 'accuracy')}, balanced over the classes "
        f"{_interval(accuracy, 'balanced_accuracy')}** on {where} {size}, by the strongest class. "
        f"Beside it: {'; '.join(beside)}.\n\n{scores} {at}.{f1_beside}"
    )


def _warnings(report: Mapping) -> list[str]:
    warnings = []
    num_shared = report.get("protocol", {}).get("num_songs_on_both_sides", 0)
    if num_shared:
        num_songs = report["data"]["test"]["num_songs"]
        warnings.append(
            f"> **Warning: leaky.** {num_shared} of the {num_songs} songs that test were trained "
            "on too: the scores say little about music that was not learned."
        )
    if report["collapse"]["warning"]:
        warnings.append(f"> **Warning: collapsed.** {report['collapse']['warning']}")
    return warnings


def _sides(report: Mapping) -> list[str]:
    """Who trained, validated and tested, and how accurate the epoch that was kept is on each."""
    protocol, best = report.get("protocol"), report.get("best_epoch")
    if not protocol:
        return []
    accuracies = {}
    if best:
        names = {"training": "train_top1", "validation": "valid_top1", "test": "test_accuracy"}
        accuracies = {side: best.get(name) for side, name in names.items()}
    rows = [
        [side, str(one["num_examples"]), str(one["num_songs"]), number(accuracies.get(side))]
        for side, one in protocol["sides"].items()
    ]
    text = f"Examples are {protocol['examples']}."
    if best:
        text += (
            f" Accuracy of epoch {best['epoch']}, which was kept: the share whose strongest class "
            "is a label; over the windows of training as it went on, over those of validation "
            f"after it, and over the {protocol['unit']} of test that have one label."
        )
    header = ["side", protocol["unit"], "songs", "accuracy"]
    return ["## Who trained and who tested", text, markdown_table(header, rows)]


def _score_row(name: str, block: Mapping) -> list[str]:
    row = [name, _threshold(block["threshold"])]
    for average in ("micro", "macro"):
        found = block[average]
        row += [number(found["precision"]), number(found["recall"]), _interval(found)]
    return row


_AVERAGES = ["micro P", "R", "F1 [95 %]", "macro P", "R", "F1 [95 %]"]


def _score_table(report: Mapping) -> str:
    rows = [
        _score_row(f"**{report['system']}**, {_KIND_TEXT[kind]}", report["thresholds"][kind])
        for kind in KINDS
    ]
    for name, one in report.get("baselines", {}).items():
        for kind in ("fixed", "validation"):
            rows.append(_score_row(f"{name}, {_KIND_TEXT[kind]}", one["thresholds"][kind]))
    return markdown_table(["system, threshold", "value", *_AVERAGES], rows)


def _explanation(report: Mapping) -> str:
    ranking = report["ranking"]
    lines = [
        "P precision, R recall. Intervals are bootstrapped over songs. The oracle threshold is "
        "the best one on the test split itself: a bound, not a result.",
        "Ranking, by the mean window probability: "
        f"macro ROC AUC {number(ranking['auc']['macro'])}, "
        f"label ranking average precision {number(ranking['lrap'])}.",
        *report["notes"],
    ]
    return "\n".join(f"- {line}" for line in lines)


def _repeats(report: Mapping) -> list[str]:
    repeats = report.get("repeats")
    if not repeats:
        return []

    def cell(block: Mapping) -> str:
        return f"{number(block['mean'])} ± {number(block['sd'])}"

    averages = ("micro", "macro")
    rows = [
        [_KIND_TEXT[kind]]
        + [cell(block[a][name]) for a in averages for name in ("precision", "recall", "f1")]
        for kind, block in repeats["thresholds"].items()
    ]
    header = ["threshold", "micro P", "R", "F1", "macro P", "R", "F1"]
    seeds = ", ".join(map(str, repeats["seeds"]))
    texts = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
    texts |= {"train_accuracy": "accuracy in training", "valid_accuracy": "on validation"}
    accuracies = [
        f"{text} {cell(repeats[name])}" for name, text in texts.items() if name in repeats
    ]
    return [
        f"## Mean ± standard deviation of {repeats['num_runs']} runs (seeds {seeds})",
        f"Strongest class: {', '.join(accuracies)}.",
        markdown_table(header, rows),
    ]


def _reported(report: Mapping) -> list[str]:
    reported = report.get("reported")
    if not reported:
        return []
    keys = ("micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")
    rows = [[row["setting"], *(number(row.get(key)) for key in keys)] for row in reported["rows"]]
    header = ["published", "micro P", "R", "F1", "macro P", "R", "F1"]
    return [
        f"## Published elsewhere on {reported['dataset']}: {reported['source']}",
        "Not measured by this run.",
        markdown_table(header, rows),
    ]


def _class_table(report: Mapping) -> str:
    blocks, auc = report["thresholds"], report["ranking"]["auc"]["per_class"]
    rows = []
    for name in report["classes"]:
        fixed = blocks["fixed"]["per_class"][name]
        rows.append(
            [
                _class_name(name),
                str(fixed["num_positives"]),
                str(fixed["num_predicted"]),
                number(fixed["precision"]),
                number(fixed["recall"]),
                _interval(fixed),
                number(blocks["validation_per_class"]["per_class"][name]["f1"]),
                f"{blocks['validation_per_class']['threshold'][name]:.2f}",
                number(blocks["oracle"]["per_class"][name]["f1"]),
                number(auc[name]),
            ]
        )
    header = ["class", "clips", "predicted", "P", "R", "F1 [95 %]"]
    header += ["F1, own threshold", "its value", "F1, oracle", "AUC"]
    return (
        "At the fixed threshold; then with the class's own threshold, tuned on validation.\n\n"
        + markdown_table(header, rows)
    )


def _aggregation_table(report: Mapping) -> str:
    rows = [
        [name.upper() if name != "max" else name, *_score_row(_KIND_TEXT[kind], block)]
        for name, one in report["aggregations"].items()
        for kind, block in one["thresholds"].items()
    ]
    text = (
        "S1: mean of the window probabilities; S2: their sum divided by the largest class's sum; "
        "max: their maximum.\n\n"
    )
    return text + markdown_table(
        ["score", "threshold", "value", *_AVERAGES], rows, num_text_columns=2
    )


def _predominant(report: Mapping) -> str:
    found = report["predominant"]
    if not found["num_clips"]:
        return "No test clip has exactly one label."
    return (
        f"Of the {found['num_clips']} test clips with exactly one label, the strongest class is "
        f"that label in {found['accuracy']:.1%}, in {found['balanced_accuracy']:.1%} on average "
        "over the classes. Row: the label, column: the class with the largest mean probability."
    )
