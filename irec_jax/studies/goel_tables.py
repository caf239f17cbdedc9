"""Report page for the Goel study: results, question and summary, then the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irec_jax.reports.page import measured_table, rendered_banner
from irec_jax.studies import pages
from irec_jax.studies.pages import with_interval
from irec_jax.studies.published import goel as published
from irec_jax.text import class_names, difference, mean_sd, number, plural

_SPLITS = ("window", "song", "official")
#: The two splits whose difference in test accuracy is the leakage.
_LEAKAGE = ("window", "song")


def markdown_page(report: Mapping, rows: Sequence[Any]) -> str:
    """Return the report of `studies.goel` as a Markdown page.

    Args:
        report: the study's report.
        rows: all rows (`goel.Row`) in the order of the tables; rows without results are omitted.
    """
    rows = [row for row in rows if row.name in report["rows"]]
    brief = (
        "Quick run: only some of the rows, trained for a small fixed number of epochs, with images "
        "in batches of 16."
    )
    introduction = [
        *rendered_banner(report),
        *pages.brief_run(report["settings"], brief),
        _results(report, rows),
        "![Test accuracy of every row, measured and published](accuracy.png)",
        _question(report),
        _summary(report, rows),
    ]
    sections = [
        "## Tables II to IX",
        f"Reported: {published.CITATION}. Accuracies are those of the kept epoch (lowest "
        "validation loss): training accuracy is averaged over the epoch, validation and test "
        "accuracy are measured at its end. The 95 % intervals are bootstrapped over songs; several "
        "runs are summarised as mean ± standard deviation over seeds. Balanced accuracy is the "
        "mean recall of the classes. Leakage is the test accuracy with the window split minus that "
        "with the song split. Baselines are evaluated on the examples of lstm-300-50.",
        *_goel_tables(report, rows),
        "## Micro and macro averages, and scores by class",
        "Each example has one label and one prediction, the strongest class, so micro precision, "
        "recall and F1 all equal the accuracy.",
        *_class_tables(report),
        "## Data splits",
        _protocols(report),
    ]
    title = "Recognition of five instruments in waveforms and images: tables II to IX of Goel"
    return pages.compose(title, report, introduction, sections)


def _question(report: Mapping) -> str:
    *first, last = class_names(report["classes"])
    return (
        "**Question.** How well do networks on waveforms and on images of waveforms distinguish "
        f"{', '.join(first)} and {last} in {report['dataset']}, and how much of the accuracy is "
        "due to leakage from training to test? With the *window* split, which Goel uses, windows "
        "of the same clip are in both training and test; with the *song* split, all windows of a "
        "song are in the same split. The *official* split is the test that Goel's text describes: "
        "sliding windows over the dataset's test clips, with one prediction per channel. Only "
        "clips with exactly one of these labels are used."
    )


def _results(report: Mapping, rows: Sequence[Any]) -> str:
    """Return the main results as a paragraph."""
    sentences = []
    for split in ("song", "window", "official"):
        by_row = _scores_with(split, report)
        if not by_row:
            continue
        best = max(by_row, key=lambda name: by_row[name]["validation"])
        scores = by_row[best]
        sentences.append(
            f"With the {split} split, {best} has the best validation accuracy and a test accuracy "
            f"of {_accuracy(scores)} (chance {number(scores['chance'])}, most "
            f"frequent class {number(scores['majority'])}"
            f"{_baseline_accuracies(report['baselines'].get(split, {}))})."
        )
    leakage = [_leakage(report["rows"][row.name]) for row in rows]
    if known := [value for value in leakage if value is not None]:
        mean, low, high = map(difference, (float(np.mean(known)), min(known), max(known)))
        sentences.append(
            f"On average over {plural(len(known), 'row')}, the window split changes the test "
            f"accuracy by {mean} ({low} to {high}) relative to the song split: the effect of "
            "leakage."
        )
    collapsed = [
        f"{name} ({split})"
        for name, by_split in report["rows"].items()
        for split, scores in by_split.items()
        if scores["collapse"]
    ]
    if collapsed:
        sentences.append(
            f"Collapsed (predictions hardly depend on the input): {', '.join(collapsed)}."
        )
    return "**Results.** " + " ".join(sentences)


def _scores_with(split: str, report: Mapping) -> dict[str, Mapping]:
    """Return the scores for a split, by row name; rows without this split are omitted."""
    return {name: row[split] for name, row in report["rows"].items() if split in row}


def _baseline_accuracies(baselines: Mapping) -> str:
    others = [
        f"{name} {with_interval(block, 'accuracy')}"
        for name, block in baselines.items()
        if name != "majority"
    ]
    return f"; {', '.join(others)}" if others else ""


def _leakage(by_split: Mapping) -> float | None:
    """Return the test accuracy with the window split minus that with the song split.

    The result is None if either accuracy is missing.
    """
    if not all(split in by_split for split in _LEAKAGE):
        return None
    return by_split["window"]["test"] - by_split["song"]["test"]


def _accuracy(scores: Mapping, name: str = "test") -> str:
    """Return an accuracy with its interval, or with its standard deviation over seeds."""
    if "repeats" in scores:
        return mean_sd(scores["repeats"][name], 3)
    return with_interval(scores, name)


def _splits(report: Mapping) -> list[str]:
    """Return the splits to show: those in `_LEAKAGE`, and any others that have results."""
    return [split for split in _SPLITS if split in _LEAKAGE or _scores_with(split, report)]


def _test_cells(by_split: Mapping, splits: Sequence[str]) -> list[str]:
    """Return the test accuracy with each split, and the leakage."""
    accuracies = [_accuracy(by_split[split]) if split in by_split else "–" for split in splits]
    return [*accuracies, difference(_leakage(by_split))]


def _summary(report: Mapping, rows: Sequence[Any]) -> str:
    """Return a table with the row in each family that has the best validation accuracy.

    The validation accuracy is taken from the song split, or from another split if there are no runs
    with the song split.
    """
    lines, splits = [], _splits(report)
    for family in dict.fromkeys(row.family for row in rows):
        members = {row: report["rows"][row.name] for row in rows if row.family == family}
        split = next(
            split
            for split in ("song", "window", "official")
            if any(split in by_split for by_split in members.values())
        )
        candidates = [row for row, by_split in members.items() if split in by_split]
        best = max(candidates, key=lambda row: members[row][split]["validation"])
        cells = _test_cells(members[best], splits)
        lines.append([family, best.name, number(best.reported[2]), *cells])
    baselines = report["baselines"]
    for name in dict.fromkeys(name for block in baselines.values() for name in block):
        by_split = {
            split: {
                "test": block[name]["accuracy"],
                "test_interval": block[name]["accuracy_interval"],
            }
            for split, block in baselines.items()
            if name in block
        }
        lines.append([f"baseline: {name}", "", "–", *_test_cells(by_split, splits)])
    header = ["networks", "best by validation", "reported, window"]
    header += [*(f"measured, {split} [95 %]" for split in splits), "leakage"]
    caption = (
        "Test accuracy with each split, for the row in each family that has the best validation "
        f"accuracy. Reported: {published.CITATION}."
    )
    return measured_table(report, caption, header, lines, 2)


def _goel_tables(report: Mapping, rows: Sequence[Any]) -> list[str]:
    header = ["row", *(f"reported {split}" for split in ("train", "valid", "test"))]
    splits = _splits(report)
    for split in splits:
        header += [f"{split}: train", "valid", "test [95 %]", "balanced", "epoch"]
    parts = []
    for table, family in dict.fromkeys((row.table, row.family) for row in rows):
        lines = []
        for row in (row for row in rows if row.table == table):
            by_split = report["rows"][row.name]
            cells = [row.name, *map(number, row.reported)]
            for split in splits:
                cells += _accuracies(by_split.get(split))
            lines.append([*cells, difference(_leakage(by_split))])
        name = table if table.startswith("fig") else f"table {table}"
        caption = f"Accuracies in {name}, reported and measured with each split."
        table = measured_table(report, caption, [*header, "leakage"], lines)
        parts += [f"### {family[:1].upper()}{family[1:]} ({name})", table]
    return parts


def _accuracies(scores: Mapping | None) -> list[str]:
    if scores is None:
        return ["–"] * 5
    return [
        number(scores["training"]),
        number(scores["validation"]),
        _accuracy(scores),
        number(scores["balanced"]),
        f"{scores['best_epoch']:g} of {scores['num_epochs']:g}",
    ]


def _class_tables(report: Mapping) -> list[str]:
    header = ["row", "micro P = R = F1", "macro P", "R", "F1"]
    header += [f"{name}: R / F1" for name in report["classes"]]
    parts = []
    for split in _SPLITS:
        lines = []
        for row, scores in _scores_with(split, report).items():
            averages = [scores["micro"]["f1"]]
            averages += [scores["macro"][name] for name in ("precision", "recall", "f1")]
            per_class = [scores["per_class"][name] for name in report["classes"]]
            cells = [f"{number(c['recall'], 2)} / {number(c['f1'], 2)}" for c in per_class]
            lines.append([row, *map(number, averages), *cells])
        if lines:
            caption = f"Precision (P), recall (R) and F1 on the test examples in the {split} split."
            heading = f"### {split.capitalize()} split"
            parts += [heading, measured_table(report, caption, header, lines)]
    return parts


def _protocols(report: Mapping) -> str:
    lines = []
    for protocol in report["protocols"]:
        splits = (protocol["sides"][split] for split in ("training", "validation", "test"))
        sizes = ["{num_examples} ({num_songs})".format(**split) for split in splits]
        shared = str(protocol["num_songs_on_both_sides"])
        lines.append([protocol["split"], protocol["examples"], *sizes, shared])
    header = ["split", "examples", "training", "validation", "test"]
    header.append("songs in both training and test")
    caption = "Number of examples in each split, with the number of songs in brackets."
    return measured_table(report, caption, header, lines, 2)
