"""The report of the Vazonis study as a page: a screen that says what came out, then the tables."""

from collections.abc import Mapping

from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.page import failed_runs, provenance_table, rendered_banner
from irec_jax.reports.tables import markdown_table
from irec_jax.reports.text import interval, number
from irec_jax.studies.published import vazonis as reported

_SCORES = ("precision", "recall", "f1")


def page(report: Mapping) -> str:
    """Markdown of a study's report; see `studies.vazonis`."""
    parts = [
        "# An LSTM on samples and a dense network on a Fourier transform: Vazonis et al. (2022)",
        *rendered_banner(report),
        _asked(report),
        _summary(report),
        _came_out(report),
        *failed_runs(report["failures"]),
        f"Reported: {reported.CITATION}, on IRMAS's test clips; Bosch et al. 2012 as cited there. "
        "95 % intervals: bootstrap over songs. Training and validation accuracy and loss by epoch:",
        "![accuracy and loss by epoch](learning.png)",
        "## Do the answers depend on what is heard?",
        _verdicts(report),
        "## By class",
        "Precision / recall / F1 at the threshold 0.5; a dash where the source does not say.",
        _class_table(report),
        "## What was trained",
        _training(report),
        "## Labels of the training clips",
        "![labels of the training clips](labels.png)",
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _asked(report: Mapping) -> str:
    test, brief = report["test"], ""
    if report["settings"]["debug"]:
        brief = " **A trial on tiny data: the numbers mean nothing.**"
    elif report["settings"]["quick"]:
        brief = " Two networks, trained for a few epochs."
    return (
        f"Asked: what two networks without any knowledge of sound hear in {test['num_clips']} test "
        f"clips of {test['num_songs']} songs with {test['num_labels']} labels of "
        f"{len(report['classes'])} instruments, at the threshold 0.5, and if they hear at all: in "
        "the source, the LSTM said nearly the same of every clip." + brief
    )


def _came_out(report: Mapping) -> str:
    rows = report["rows"].values()
    collapsed = [one["label"] for one in rows if one["collapse"]["collapsed"]]
    others = [one for one in rows if not one["collapse"]["collapsed"]]
    sentences = []
    if collapsed:
        sentences.append(
            f"Collapsed, with nearly the same answer to every clip: {'; '.join(collapsed)}."
        )
    if others:
        best = max(others, key=lambda one: one["micro"]["f1"])
        sentences.append(
            f"Of those whose answers vary, {best['label']} has the highest micro F1, "
            f"{interval(best['micro']['f1'], best['micro']['f1_interval'])}."
        )
    names, (_, _, f1) = constant(report)
    sentences.append(
        f"To say {', '.join(names)} of every clip, the best that one can say without hearing "
        f"anything, gives {number(f1)}: below that, a micro F1 shows nothing."
    )
    return "Came out: " + " ".join(sentences)


def constant(report: Mapping) -> tuple[list[str], tuple[float, float, float]]:
    """The one answer to all test clips with the highest micro F1.

    Returns:
        The classes in it, and its micro precision, recall and F1.
    """
    test, per_class = report["test"], next(iter(report["rows"].values()))["per_class"]
    names = sorted(per_class, key=lambda name: -per_class[name]["num_positives"])
    best, score = [], (0.0, 0.0, 0.0)
    for count in range(1, len(names) + 1):
        right = sum(per_class[name]["num_positives"] for name in names[:count])
        said = count * test["num_clips"]
        f1 = 2 * right / (said + test["num_labels"])
        if f1 > score[2]:
            best, score = names[:count], (right / said, right / test["num_labels"], f1)
    return best, score


def _summary(report: Mapping) -> str:
    lines = []
    for one in report["rows"].values():
        answers = one["collapse"]
        verdict = "collapsed" if answers["collapsed"] else "answers vary"
        verdict = verdict if answers["judged"] else "not judged"
        lines.append([one["label"], *_score_cells(one), verdict])
    for name, one in report["baselines"].items():
        lines.append([f"baseline: {name}", *_score_cells(one["thresholds"]["fixed"]), "–"])
    names, values = constant(report)
    lines.append([f"always {', '.join(names)}", *map(number, values), "–", "one answer"])
    for name, values in reported.MICRO.items():
        verdict = "collapsed" if name == "LSTM" else "–"
        lines.append([f"reported: {name}", *map(number, values), "–", verdict])
    for name, f1 in reported.BOSCH.items():
        lines.append([f"reported: Bosch 2012, {name}", "–", "–", number(f1), "–", "–"])
    return markdown_table(["system", "micro P", "R", "F1 [95 %]", "macro F1", "verdict"], lines)


def _score_cells(block: Mapping) -> list[str]:
    micro, macro = block["micro"], block["macro"]
    f1 = [interval(one["f1"], one["f1_interval"]) for one in (micro, macro)]
    return [number(micro["precision"]), number(micro["recall"]), *f1]


def _verdicts(report: Mapping) -> str:
    num_clips = report["test"]["num_clips"]
    lines = []
    for one in report["rows"].values():
        found = one["collapse"]
        top = found["most_frequent_predicted"]
        said = ", ".join(IRMAS_NAMES.get(name, name) for name in top["labels"]) or "nothing"
        verdict = found["warning"] or (
            "Its answers vary with the clip."
            if found["judged"]
            else "Too few clips, or all with the same labels: not judged."
        )
        lines.append(
            f"- **{one['label']}**: {verdict} {found['num_distinct_predicted']} different answers "
            f"to {num_clips} clips (true: {found['num_distinct_true']}); the commonest, {said}, to "
            f"{top['share']:.0%}."
        )
    always = ", ".join(IRMAS_NAMES[name] for name in reported.LSTM_ALWAYS)
    lines.append(f"- reported, LSTM: nearly always {always}.")
    return "\n".join(lines)


def _training(report: Mapping) -> str:
    lines = [
        [
            one["label"],
            one["input"],
            f"{one['best_epoch']} of {len(one['history'])}",
            f"{one['seconds'] / 60:.1f}",
        ]
        for one in report["rows"].values()
    ]
    return markdown_table(["system", "input", "epoch that was kept", "minutes"], lines, 2)


def _class_table(report: Mapping) -> str:
    rows = list(report["rows"].values())
    lines = []
    for name in report["classes"]:
        cells = [IRMAS_NAMES.get(name, name)]
        cells.append(str(rows[0]["per_class"][name]["num_positives"]))
        cells += [_triple([one["per_class"][name][key] for key in _SCORES]) for one in rows]
        for known in (reported.LSTM_PER_CLASS, reported.FFT_PER_CLASS):
            cells.append(_triple(known.get(name, (None,) * 3)))
        lines.append(cells)
    header = ["class", "test clips", *(one["label"] for one in rows)]
    return markdown_table([*header, "reported: LSTM", "reported: FFT"], lines)


def _triple(values) -> str:
    if all(value is None for value in values):
        return "–"
    return " / ".join(number(value, 2) for value in values)
