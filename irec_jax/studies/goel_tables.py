"""The report of the Goel study as a page: a screen that says what came out, then the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.page import failed_runs, provenance_table, rendered_banner
from irec_jax.reports.tables import markdown_table
from irec_jax.reports.text import difference, interval, number
from irec_jax.studies.published import goel as goel_reported

_SPLITS = ("song", "window")


def page(report: Mapping, rows: Sequence[Any]) -> str:
    """Markdown of a study's report; see `studies.goel`.

    Args:
        report: of the study.
        rows: all rows in order (`goel.Row`); those that were not run are left out.
    """
    rows = [row for row in rows if row.name in report["rows"]]
    parts = [
        "# Five instruments from waveforms and their pictures: tables II to IX of Goel",
        *rendered_banner(report),
        _asked(report),
        _summary(report, rows),
        _came_out(report, rows),
        *failed_runs(report["failures"]),
        "![accuracy of every row, with what was reported](accuracy.png)",
        "## The source's tables",
        f"Reported: {goel_reported.CITATION}. Accuracy of the epoch that was kept (by validation "
        "loss): over the windows of training as it went on, of validation and of test after it; "
        "95 % intervals by drawing songs; balanced: the mean over the classes of their recall. "
        "Leak: window less song. Baselines on the examples of lstm-300-50.",
        *_source_tables(report, rows),
        "## Micro, macro and by class",
        "Every window has one label and gets one answer, the strongest class: micro precision, "
        "recall and F1 are its accuracy. P precision, R recall.",
        *_class_tables(report, rows),
        "## Who trained and who tested",
        _protocols(report),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _asked(report: Mapping) -> str:
    brief = ""
    if report["settings"]["debug"]:
        brief = " **A trial on tiny data: the numbers mean nothing.**"
    elif report["settings"]["quick"]:
        brief = (
            " A part of the rows, trained briefly: a fixed number of passes over the data, "
            "pictures in batches of 16."
        )
    return (
        f"Asked: how well networks on waveforms, and on pictures of them, tell "
        f"{_classes(report['classes'])} apart in {report['dataset']}, and how much of the accuracy "
        "comes from hearing in the test what was learned. Split by *window*, as the source, "
        "windows of one clip train and test; split by *song*, no song is on both sides." + brief
    )


def _classes(classes: Sequence[str]) -> str:
    names = [IRMAS_NAMES.get(name, name) for name in classes]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _came_out(report: Mapping, rows: Sequence[Any]) -> str:
    """The results in words."""
    sentences = []
    leaks = _leaks(report, rows)
    for split in _SPLITS:
        held = {row.name: report["rows"][row.name].get(split) for row in rows}
        held = {name: one for name, one in held.items() if one}
        if not held:
            continue
        best = max(held, key=lambda name: held[name]["validation"])
        one = held[best]
        sentences.append(
            f"Split by {split}, the row with the best validation accuracy is {best}: "
            f"{interval(one['test'], one['test_interval'])} on test, where chance is "
            f"{number(one['chance'])} and the most frequent class {number(one['majority'])}"
            f"{_beside(report['baselines'].get(split, {}))}."
        )
    if leaks:
        sentences.append(
            f"Over {len(leaks)} rows, testing on windows at random adds "
            f"{difference(float(np.mean(leaks)))} on average ({difference(min(leaks))} to "
            f"{difference(max(leaks))}): what leaks."
        )
    collapsed = [
        f"{row.name} ({split})"
        for row in rows
        for split, one in report["rows"][row.name].items()
        if one["collapse"]
    ]
    if collapsed:
        sentences.append(f"These say nearly the same of everything: {', '.join(collapsed)}.")
    return "Came out: " + " ".join(sentences)


def _beside(baselines: Mapping) -> str:
    others = [
        f"{name} {interval(one['accuracy'], one['accuracy_interval'])}"
        for name, one in baselines.items()
        if name != "majority"
    ]
    return f"; {', '.join(others)}" if others else ""


def _leaks(report: Mapping, rows: Sequence[Any]) -> list[float]:
    found = [_leak(report["rows"][row.name]) for row in rows]
    return [leak for leak in found if leak is not None]


def _leak(one: Mapping) -> float | None:
    if not all(split in one for split in _SPLITS):
        return None
    return one["window"]["test"] - one["song"]["test"]


def _test(one: Mapping, split: str) -> str:
    return interval(one[split]["test"], one[split]["test_interval"]) if split in one else "–"


def _summary(report: Mapping, rows: Sequence[Any]) -> str:
    """A line per family: of its rows the best by validation, where songs are apart if they are."""
    lines = []
    for family in dict.fromkeys(row.family for row in rows):
        members = [row for row in rows if row.family == family]
        held = [split for split in _SPLITS if any(split in report["rows"][m.name] for m in members)]
        members = [row for row in members if held[0] in report["rows"][row.name]]
        best = max(members, key=lambda row: report["rows"][row.name][held[0]]["validation"])
        one = report["rows"][best.name]
        lines.append(
            [
                family,
                best.name,
                number(best.reported[2]),
                _test(one, "window"),
                _test(one, "song"),
                difference(_leak(one)),
            ]
        )
    for name in dict.fromkeys(name for one in report["baselines"].values() for name in one):
        found = {split: one[name] for split, one in report["baselines"].items() if name in one}
        found = {
            split: {"test": one["accuracy"], "test_interval": one["accuracy_interval"]}
            for split, one in found.items()
        }
        ends = [_test(found, split) for split in ("window", "song")]
        lines.append([f"baseline: {name}", "", "–", *ends, difference(_leak(found))])
    header = ["test accuracy [95 %]", "best by validation", "reported, window"]
    return markdown_table([*header, "ours, window", "ours, song", "leak"], lines, 2)


def _source_tables(report: Mapping, rows: Sequence[Any]) -> list[str]:
    parts = []
    for number_, family in dict.fromkeys((row.table, row.family) for row in rows):
        lines = []
        for row in rows:
            if row.table != number_:
                continue
            one = report["rows"][row.name]
            cells = [row.name, *(number(value) for value in row.reported)]
            for split in ("window", "song"):
                cells += _accuracies(one.get(split))
            lines.append([*cells, difference(_leak(one))])
        header = ["row", *(f"reported {side}" for side in ("train", "valid", "test"))]
        for split in ("window", "song"):
            header += [f"{split}: train", "valid", "test [95 %]", "balanced", "epoch"]
        name = number_ if number_.startswith("fig") else f"table {number_}"
        parts += [
            f"### {family} ({name})",
            markdown_table([*header, "leak"], lines),
        ]
    return parts


def _accuracies(one: Mapping | None) -> list[str]:
    if one is None:
        return ["–"] * 5
    return [
        number(one["training"]),
        number(one["validation"]),
        interval(one["test"], one["test_interval"]),
        number(one["balanced"]),
        f"{one['best_epoch']} of {one['num_epochs']}",
    ]


def _class_tables(report: Mapping, rows: Sequence[Any]) -> list[str]:
    parts = []
    for split in ("window", "song"):
        lines = []
        for row in rows:
            one = report["rows"][row.name].get(split)
            if one is None:
                continue
            averages = [number(one["micro"]["f1"])]
            averages += [number(one["macro"][name]) for name in ("precision", "recall", "f1")]
            by_class = [
                f"{number(one['per_class'][name]['recall'], 2)} / "
                f"{number(one['per_class'][name]['f1'], 2)}"
                for name in report["classes"]
            ]
            lines.append([row.name, *averages, *by_class])
        header = ["row", "micro P = R = F1", "macro P", "R", "F1"]
        header += [f"{name}: R / F1" for name in report["classes"]]
        if lines:
            parts += [f"### Split by {split}", markdown_table(header, lines)]
    return parts


def _protocols(report: Mapping) -> str:
    lines = []
    for one in report["protocols"]:
        splits = one["sides"]
        sizes = [
            f"{splits[side]['num_examples']} of {splits[side]['num_songs']}"
            for side in ("training", "validation", "test")
        ]
        lines.append([one["split"], one["examples"], *sizes, str(one["num_songs_on_both_sides"])])
    header = ["split", "examples", "training: examples of songs", "validation", "test"]
    return markdown_table([*header, "songs in training and test"], lines, 2)
