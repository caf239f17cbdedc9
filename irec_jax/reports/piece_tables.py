"""Tables of per-piece scores in a recognition report; see `evaluation.pieces`."""

from collections.abc import Mapping

from irec_jax.reports.page import measured_table
from irec_jax.reports.tables import escape
from irec_jax.text import class_names, difference, interval, is_finite, number

#: Scores from `evaluation.pieces`, and their names in tables.
NAMES = {"precision": "P", "recall": "R", "f1": "F1", "auc": "ROC AUC"}


def sections(report: Mapping) -> list[str]:
    """Return the section on scores by piece; empty if the report has no ``pieces`` entry."""
    if not (entry := report.get("pieces")):
        return []
    by_frame = [_frames(report, entry["frames"])] if "frames" in entry else []
    by_class = _classes(report, entry["model"])
    return ["## Scores by piece", _systems(report, entry), *by_frame, by_class]


def with_interval(block: Mapping, name: str) -> str:
    """Format a score with its interval: '0.672 [0.651, 0.695]'."""
    return interval(block[name], block[f"{name}_interval"])


def signed_interval(block: Mapping, name: str) -> str:
    """Format a difference with its interval, with explicit signs: '+0.041 [+0.012, +0.065]'."""
    ends = block[f"{name}_interval"]
    text = difference(block[name])
    if not all(map(is_finite, ends)):
        return text
    return f"{text} [{difference(ends[0])}, {difference(ends[1])}]"


def _systems(report: Mapping, entry: Mapping) -> str:
    """Return a table with the scores of the model and the baselines, and their differences."""
    systems = {f"**{report['system']}**": entry["model"], **entry["baselines"]}
    rows = [
        [name, *(with_interval(block["macro"], score) for score in NAMES)]
        for name, block in systems.items()
    ]
    rows += [
        [
            f"{report['system']} minus {name}",
            *(signed_interval(block["macro"], score) for score in NAMES),
        ]
        for name, block in entry["differences"].items()
    ]
    return measured_table(
        report,
        f"Precision (P), recall (R) and F1 at threshold {entry['threshold']:g} and ROC AUC within "
        f"each of the {entry['model']['num_pieces']} test pieces, averaged over the pieces and "
        "then over the classes, with 95 % intervals bootstrapped over pieces. Differences are "
        "computed on the same resamples.",
        ["system", *(f"{name} [95 %]" for name in NAMES.values())],
        rows,
    )


def _frames(report: Mapping, entry: Mapping) -> str:
    """Return a table with the frame-wise scores of the model and the baselines."""
    systems = {f"**{report['system']}**": entry["model"], **entry["baselines"]}
    rows = [
        [
            name,
            *(with_interval(block["macro"], score) for score in NAMES),
            number(block["micro"]["f1"]),
        ]
        for name, block in systems.items()
    ]
    return measured_table(
        report,
        f"The same scores over {entry['model']['num_frames']:,} frames of 1,024 samples, and micro "
        "F1 over all frames. Each frame takes the scores of the instance in which it begins.",
        ["system", *(f"{name} [95 %]" for name in NAMES.values()), "micro F1"],
        rows,
    )


def _classes(report: Mapping, scores: Mapping) -> str:
    """Return a table with each class's scores and the number of pieces without each score."""
    names = class_names(report["classes"])
    rows = []
    for code, name in zip(report["classes"], names, strict=True):
        block = scores["per_class"][code]
        row = [escape(name), number(block["precision"]), number(block["recall"])]
        row += [with_interval(block, "f1"), with_interval(block, "auc")]
        row += [str(block["num_left_out"][score]) for score in ("precision", "recall", "auc")]
        rows.append(row)
    header = ["class", "P", "R", "F1 [95 %]", "ROC AUC [95 %]"]
    header += ["pieces without P", "without R and F1", "without ROC AUC"]
    return measured_table(
        report,
        f"Mean scores of {report['system']} over the {scores['num_pieces']} test pieces by class. "
        "A piece is excluded from R and F1 if the class never plays in it, from P if the class is "
        "also never predicted, and from ROC AUC if the class never or always plays.",
        header,
        rows,
    )
