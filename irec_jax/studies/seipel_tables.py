"""Report page for the Seipel study: the findings of chapter 4, then its tables."""

from collections.abc import Iterable, Mapping, Sequence

from irec_jax.reports.page import measured_table
from irec_jax.reports.piece_tables import NAMES, signed_interval, with_interval
from irec_jax.studies import pages
from irec_jax.studies.published import seipel as published
from irec_jax.text import class_names, difference, is_finite, number, plural

_SHOWN_FRAMES = "16"
_BASELINES = f"n_F = {published.BEST_FRAMES}"
_PICTURES = {
    "context.png": "Scores against frames per instance, by context (figure 4.5)",
    "instances.png": "Scores against frames per instance, by instances per bag (figure 4.6)",
    "classes.png": "F1 by class at threshold 0.5, for four instance lengths",
}


def markdown_page(report: Mapping, *, brief: str) -> str:
    """Return the report of `studies.seipel` as a Markdown page.

    Args:
        report: the study's report.
        brief: description of the training with `--quick`.
    """
    warning = (
        "> **Rendered music**, not the recordings used in the thesis: the published findings are "
        "shown for orientation only."
    )
    rows = list(report["rows"].values())
    introduction = [
        *([warning] if report["rendered"] else []),
        *pages.brief_run(report["settings"], brief),
        _headline(rows, report["baselines"]),
        "![Scores against frames per instance, with 95 % intervals (figure 4.4)](frames.png)",
        _findings(rows),
    ]
    sections = [
        "## Scores of all runs",
        "Precision (P), recall (R), F1 and ROC AUC are computed for each class within each test "
        "piece, averaged over the pieces and then over the classes; intervals are bootstrapped "
        "over pieces. Scores for different instance lengths are not directly comparable, because "
        "more instruments play in longer instances.",
        _score_table(report, rows),
        *_frame_table(report, rows),
        *_difference_table(report, rows),
        *_picture(report, "context.png", rows),
        *_picture(report, "instances.png", rows),
        "## Thresholds and piece lengths",
        "The thesis proposes a threshold for each instance length, and pieces of equal length.",
        _threshold_table(report, rows),
        "## Scores by class",
        _class_table(report, rows),
        *_picture(report, "classes.png", rows),
        "## Labels",
        _label_text(report),
        "![F1 of the labels by threshold](labels.png)",
        _label_table(report),
        _label_class_table(report),
        "## Data",
        _instrument_table(report),
        "![Piece lengths (figure 4.3)](lengths.png)",
    ]
    title = "Instance lengths, context and multiple-instance learning: chapter 4 of Seipel (2018)"
    return pages.compose(title, report, introduction, sections)


def cell(block: Mapping, score: str) -> str:
    """Return a score with its interval."""
    return with_interval(block, score)


def _is_standard(row: Mapping) -> bool:
    return row["context"] == row["instances"] == 1


def _label(row: Mapping) -> str:
    """Return the name of a run in tables, such as 'n_F = 16, r = 3'."""
    parts = [f"n_F = {row['frames']}"]
    parts += [f"r = {row['context']}"] * (row["context"] > 1)
    parts += [f"n_I = {row['instances']}"] * (row["instances"] > 1)
    parts += [row["aggregate"]] * (row["aggregate"] != "mean")
    return ", ".join([*parts, *([] if row["share"] else ["separate networks"])])


def _best(rows: Iterable[Mapping], score: str) -> Mapping | None:
    """Return the standard run with the highest score, or None if there are no standard runs."""
    known = [row for row in rows if _is_standard(row) and is_finite(_macro(row)[score])]
    return max(known, key=lambda row: _macro(row)[score], default=None)


def _macro(row: Mapping) -> Mapping:
    return row["scores"]["macro"]


def _headline(rows: Sequence[Mapping], baselines: Mapping[str, Mapping]) -> str:
    best = _best(rows, "f1") or rows[0]
    text = (
        f"**F1 {cell(_macro(best), 'f1')}, ROC AUC {cell(_macro(best), 'auc')}** with "
        f"{_label(best)} ({best['duration_s']:.2f} s), at threshold 0.5, averaged over "
        f"{best['scores']['num_pieces']} test pieces and then over classes."
    )
    others = [
        f"{name} {number(block['macro']['f1'])} and {number(block['macro']['auc'])}"
        for name, block in baselines.items()
    ]
    if others:
        text += f" Baselines with {_BASELINES} (F1 and ROC AUC): {'; '.join(others)}."
    return text


def _findings(rows: Sequence[Mapping]) -> str:
    """Return a list that compares each finding of the thesis with the measured result."""
    statements = {"4.4": _peak(rows)}
    for figure, key, value in (("4.5", "context", 3), ("4.6", "instances", 3)):
        compared = [
            row for row in rows if row[key] == value and row["difference"] and _is_mean(row)
        ]
        statements[figure] = _effect(compared, f"{'r' if key == 'context' else 'n_I'} = {value}")
    items = [
        f"- Figure {figure}. Reported: {published.FINDINGS[figure]}. Measured: {text}"
        for figure, text in statements.items()
    ]
    return "\n".join(items)


def _is_mean(row: Mapping) -> bool:
    return row["aggregate"] == "mean" and row["share"]


def _peak(rows: Sequence[Mapping]) -> str:
    best, area = _best(rows, "f1"), _best(rows, "auc")
    standard = [row["frames"] for row in rows if _is_standard(row)]
    if best is None or area is None or len(standard) < 3:
        return "too few runs."
    inside = min(standard) < best["frames"] < max(standard)
    end = "" if inside else ", at one end of the range, so no peak is visible"
    return (
        f"F1 is highest with n_F = {best['frames']} ({best['duration_s']:.2f} s){end}; ROC AUC is "
        f"highest with n_F = {area['frames']}."
    )


def _effect(rows: Sequence[Mapping], name: str) -> str:
    """Return a sentence about the instance lengths at which a change affects F1 significantly."""
    if not rows:
        return "not run."
    better = [r["frames"] for r in rows if _excludes_zero(r["difference"]["f1_interval"], 1)]
    worse = [r["frames"] for r in rows if _excludes_zero(r["difference"]["f1_interval"], -1)]
    mean = sum(r["difference"]["f1"] for r in rows) / len(rows)
    parts = [
        f"significantly {verb} F1 with n_F = {', '.join(map(str, sorted(frames)))}"
        for verb, frames in (("raises", better), ("lowers", worse))
        if frames
    ]
    significant = " and ".join(parts) or "does not change F1 significantly with any n_F"
    return (
        f"{name} {significant} (95 % interval of the paired difference). The mean difference over "
        f"{plural(len(rows), 'length')} is {difference(mean)}."
    )


def _excludes_zero(interval: Sequence[float | None], sign: int) -> bool:
    low, high = interval
    if low is None or high is None:
        return False
    return low > 0 if sign > 0 else high < 0


def _picture(report: Mapping, name: str, rows: Sequence[Mapping]) -> list[str]:
    if name == "classes.png" and not any(map(_is_standard, rows)):
        return []
    return [f"![{_PICTURES[name]}]({name})"]


def _score_table(report: Mapping, rows: Sequence[Mapping]) -> str:
    lines = [
        [
            _label(row),
            f"{row['duration_s']:.2f}",
            *(cell(_macro(row), score) for score in NAMES),
            f"{row['seconds'] / 60:.1f}",
        ]
        for row in rows
    ]
    for name, block in report["baselines"].items():
        cells = [cell(block["macro"], score) for score in NAMES]
        lines.append([f"{_BASELINES}: {name}", f"{published.BEST_S:.2f}", *cells, "–"])
    header = ["run", "instance, s", *(f"{name} [95 %]" for name in NAMES.values()), "minutes"]
    caption = "Scores on the test pieces at threshold 0.5, and the duration of each run."
    return measured_table(report, caption, header, lines)


def _frame_table(report: Mapping, rows: Sequence[Mapping]) -> list[str]:
    lines = [
        [
            _label(row),
            *(cell(row["by_frame"]["macro"], score) for score in NAMES),
            number(row["by_frame"]["micro"]["f1"]),
            number(row["micro_f1"]),
        ]
        for row in rows
        if row["by_frame"]
    ]
    if not lines:
        return []
    caption = (
        "Scores for frames of 1,024 samples (23.2 ms) at threshold 0.5. They make runs with "
        "different instance lengths comparable: each frame has its own labels and takes the scores "
        "of the instance in which it begins. The last columns give the micro F1 over all frames "
        "and over all instances."
    )
    header = ["run", *(f"{name} [95 %]" for name in NAMES.values())]
    header += ["micro F1, frames", "micro F1, instances"]
    return [measured_table(report, caption, header, lines)]


def _difference_table(report: Mapping, rows: Sequence[Mapping]) -> list[str]:
    lines = [
        [_label(row), *(signed_interval(row["difference"], score) for score in NAMES)]
        for row in rows
        if row["difference"]
    ]
    if not lines:
        return []
    caption = (
        "Change in each score relative to standard learning with instances of equal length, with "
        "95 % intervals from a paired bootstrap over pieces."
    )
    return [measured_table(report, caption, ["run", *NAMES.values()], lines)]


def _threshold_table(report: Mapping, rows: Sequence[Mapping]) -> str:
    lines = [
        [
            _label(row),
            cell(_macro(row), "f1"),
            f"{row['threshold']:.2f}",
            cell(row["tuned"]["macro"], "f1"),
            cell(row["equal_lengths"]["macro"], "f1"),
            cell(row["equal_lengths"]["macro"], "auc"),
        ]
        for row in rows
    ]
    header = ["run", "F1 at 0.5", "tuned threshold", "F1 at tuned threshold", "F1, equal lengths"]
    caption = (
        "F1 at threshold 0.5 and at the threshold with the best micro F1 on validation pieces; F1 "
        "at 0.5 and ROC AUC if every test piece is cut to the number of instances in the shortest "
        "one."
    )
    return measured_table(report, caption, [*header, "ROC AUC, equal lengths"], lines)


def _class_table(report: Mapping, rows: Sequence[Mapping]) -> str:
    shown = [row for row in rows if _is_standard(row)] or list(rows)
    best = max(shown, key=lambda row: _macro(row)["f1"] or 0)
    lines = []
    for code, name in zip(report["classes"], class_names(report["classes"]), strict=True):
        block = best["scores"]["per_class"][code]
        baselines = [
            number(baseline["per_class"][code]["f1"]) for baseline in report["baselines"].values()
        ]
        left_out = [str(block["num_left_out"][score]) for score in ("f1", "auc")]
        line = [name, number(block["precision"]), number(block["recall"])]
        lines.append([*line, cell(block, "f1"), cell(block, "auc"), *left_out, *baselines])
    header = ["class", "P", "R", "F1 [95 %]", "ROC AUC [95 %]", "pieces without R and F1"]
    header.append("pieces without ROC AUC")
    header += [f"F1, {_BASELINES}: {name}" for name in report["baselines"]]
    caption = (
        f"Scores by class with {_label(best)} at threshold 0.5, averaged over the "
        f"{best['scores']['num_pieces']} test pieces except those in which the class never plays "
        "or, for ROC AUC, always plays."
    )
    return measured_table(report, caption, header, lines)


def _label_text(report: Mapping) -> str:
    labels = report["labels"]
    sentences = []
    for name, by_frames in labels["conditions"].items():
        block = by_frames[_SHOWN_FRAMES]
        gain = block["difference"]["macro"]
        if _excludes_zero(gain["f1_interval"], 1):
            verdict = "Crosstalk reduction improves the labels"
        elif _excludes_zero(gain["f1_interval"], -1):
            verdict = "Crosstalk reduction degrades the labels"
        else:
            verdict = "Crosstalk reduction does not change the labels significantly"
        sentences.append(f"{verdict} ({name}): F1 {signed_interval(gain, 'f1')}.")
    training, test = labels["num_pieces"]
    return (
        f"The labels for instances of {_SHOWN_FRAMES} frames (0.37 s) are compared with the "
        "composed notes. Each method uses the threshold with the best F1 on the "
        f"{training} training pieces and is evaluated on the {test} test pieces. "
        + " ".join(sentences)
    )


def _label_table(report: Mapping) -> str:
    labels, lines = report["labels"], []

    def line(name: str, frames: str, block: Mapping) -> list[str]:
        macro = block["scores"]["macro"]
        scores = [cell(macro, score) for score in NAMES]
        return [name, frames, f"{block['threshold_db']:g}", *scores]

    for frames, block in labels["stems"].items():
        lines.append(line("dry tracks", frames, block))
    for name, by_frames in labels["conditions"].items():
        for frames, blocks in by_frames.items():
            lines.append(line(f"{name}, no reduction", frames, blocks["unreduced"]))
            lines.append(line(f"{name}, reduced", frames, blocks["reduced"]))
            gain = blocks["difference"]["macro"]
            gains = [signed_interval(gain, score) for score in NAMES]
            lines.append([f"{name}, difference", frames, "–", *gains])
    decay_s = report["settings"]["decay_s"]
    caption = (
        "Labels derived from track activity, compared with the composed notes, by maximum "
        "crosstalk and frames per instance, in a free field and in a room with a reverberation "
        f"time of {decay_s:g} s: threshold in dB, and precision (P), recall (R), F1 and ROC AUC "
        "averaged over test pieces and then over classes."
    )
    header = ["labels", "frames", "threshold", *(f"{name} [95 %]" for name in NAMES.values())]
    return measured_table(report, caption, header, lines)


def _label_class_table(report: Mapping) -> str:
    conditions = report["labels"]["conditions"]
    name, by_frames = next(iter(conditions.items()))
    blocks, lines = by_frames[_SHOWN_FRAMES], []
    for code, full_name in zip(report["classes"], class_names(report["classes"]), strict=True):
        line = [full_name]
        for method in ("unreduced", "reduced"):
            scores = blocks[method]["scores"]["per_class"][code]
            line += [number(scores[score]) for score in ("precision", "recall", "f1")]
        lines.append([*line, difference(blocks["difference"]["per_class"][code]["f1"])])
    caption = (
        f"Labels by class: {name}, {_SHOWN_FRAMES} frames per instance, without and with crosstalk "
        "reduction."
    )
    header = ["class", "P", "R", "F1", "P, reduced", "R, reduced", "F1, reduced", "difference"]
    return measured_table(report, caption, header, lines)


def _instrument_table(report: Mapping) -> str:
    counts = report["instruments"]
    reported = {**published.INSTRUMENTS, "all": published.MIXES}
    lines = []
    names = [*class_names(report["classes"]), "all pieces"]
    for code, name in zip([*report["classes"], "all"], names, strict=True):
        row, theirs = counts[code], reported.get(code)
        line = [name, str(row["num_pieces"]), f"{row['hours']:.2f}"]
        line += [f"{row['num_pieces'] / counts['all']['num_pieces']:.0%}"]
        if theirs:
            share = theirs.num_tracks / published.MIXES.num_tracks
            line += [str(theirs.num_tracks), f"{theirs.hours:.2f}", f"{share:.0%}"]
        lines.append(line if theirs else [*line, "–", "–", "–"])
    mean_s = sum(report["lengths_s"]) / len(report["lengths_s"])
    caption = (
        "Number and total hours of the training and test pieces in which each instrument plays "
        f"(table 4.2). The mean piece length is {mean_s:.0f} s here and "
        f"{published.MEAN_PIECE_S:.0f} s in the thesis. Reported: "
        f"{published.RECOGNITION_CITATION}."
    )
    header = ["instrument", "pieces", "hours", "share", "reported: pieces", "hours", "share"]
    return measured_table(report, caption, header, lines)
