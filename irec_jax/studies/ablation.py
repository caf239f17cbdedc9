"""Ablation of the ConvNet by Han et al. (2017): augmentation, dropout and validation split.

Each row makes one change to `configs/han.py`: mixing pairs of clips and joining their labels, as
proposed by Ligtenberg (2022, section 5.2); applying one of the augmentations listed by Seipel
(2018, section 2.1.4); applying SpecAugment; omitting the dropout after the global pooling (table I
of Han et al. lists none there, although their text specifies it); or drawing the validation clips
at random, as in Han et al. One row combines several augmentations.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from irec_jax.errors import UserError
from irec_jax.reports import study_figures
from irec_jax.reports.page import mean_over_runs, measured_table, rendered_banner
from irec_jax.studies import pages, runs
from irec_jax.text import difference, mean_sd

#: The row that all other rows are compared with.
DEFAULT = "default"
_AVERAGES = ("micro", "macro")
_MIX, _PITCH = (("augment.mix", "0.5"),), (("augment.pitch_semitones", "2.0"),)
_CONDITIONS = (
    ("augment.equaliser_db", "6.0"),
    ("augment.room", "0.4"),
    ("augment.noise_db", "-20.0"),
    ("augment.compression", "0.3"),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant of the training setup.

    Attributes:
        name: name of the row's first run; the names of runs with other seeds end in `-seedN`.
        label: description in tables.
        overrides: see `runs.Run`.
        quick: whether the row is also trained with `--quick`.
        slower: approximate duration relative to the default row.
    """

    name: str
    label: str
    overrides: tuple[tuple[str, str], ...] = ()
    quick: bool = False
    slower: float = 1.0


ROWS = (
    Row(DEFAULT, "default, no augmentation", quick=True),
    Row("mix", "half of the clips mixed with another clip, joint labels", _MIX, quick=True),
    Row("stretch", "time stretch to 80–100 % of the tempo", (("augment.stretch", "(0.8, 1.0)"),)),
    Row("pitch", "pitch shift by up to 2 semitones", _PITCH, quick=True, slower=1.5),
    Row("speed", "speed change by up to 2 semitones", (("augment.speed_semitones", "2.0"),)),
    Row("room", "reverberation in 40 % of the clips", _CONDITIONS[1:2]),
    Row("equaliser", "random equaliser, up to ±6 dB", _CONDITIONS[:1]),
    Row("compression", "dynamic range compression in 30 % of the clips", _CONDITIONS[3:]),
    Row("noise", "noise at up to -20 dB", _CONDITIONS[2:3]),
    Row("distortion", "saturation in 30 % of the clips", (("augment.distortion", "0.3"),)),
    Row(
        "masks",
        "SpecAugment, one time mask and one frequency mask",
        (("augment.num_time_masks", "1"), ("augment.num_mel_masks", "1")),
    ),
    Row("all", "mixing, pitch and all recording conditions", (*_MIX, *_PITCH, *_CONDITIONS), True),
    Row(
        "pooled_dropout_0",
        "no dropout after the global pooling",
        (("model.pooled_dropout", "0.0"),),
        quick=True,
    ),
    Row(
        "validation_random",
        "validation clips drawn at random, not by song",
        (("data.split_validation", "random"),),
    ),
)
#: Number of epochs with `--quick`, and approximate duration of the default row in seconds, with and
#: without `--quick` (on two cores, with `gm_irmas` small).
_QUICK_EPOCHS, _QUICK_S, _FULL_S = 2, 240.0, 660.0


def plan(arguments: argparse.Namespace) -> dict[tuple[str, int], runs.Run]:
    """Return the planned runs by row name and seed."""
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    rows = [row for row in ROWS if row.quick or not arguments.quick]
    return {(row.name, seed): _plan_run(row, seed, arguments) for seed in seeds for row in rows}


def _plan_run(row: Row, seed: int, arguments: argparse.Namespace) -> runs.Run:
    first = seed == arguments.seed
    overrides = [*runs.shared_overrides(arguments), *row.overrides]
    if not first:
        overrides.append(("seed", str(seed)))
    if arguments.quick and not arguments.debug:
        overrides.append(("training.num_epochs", str(_QUICK_EPOCHS)))
    return runs.Run(
        row.name if first else f"{row.name}-seed{seed}",
        runs.config_path("configs/han.py:", arguments),
        tuple(overrides),
        (_QUICK_S if arguments.quick else _FULL_S) * row.slower,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study ablation` and return its exit code."""
    if arguments.repeats < 1:
        raise UserError(f"--repeats {arguments.repeats}: expected at least 1")
    settings, planned = runs.shared_settings(arguments), plan(arguments)
    selected = runs.select(list(dict.fromkeys(row for row, _ in planned)), arguments.rows)
    study = runs.Study(arguments, settings)
    todo = {run.name for (row, _), run in planned.items() if row in {DEFAULT, *selected}}
    results = study.execute(list(planned.values()), _line, todo)
    report = study.report(results, split="official")
    by_row: dict[str, list[Mapping]] = {}
    for (row, _), planned_run in planned.items():
        if planned_run.name in results.reports:
            by_row.setdefault(row, []).append(results.reports[planned_run.name])
    labels = {row.name: row.label for row in ROWS}
    report["rows"] = {
        name: scores(reports) | {"label": labels[name]} for name, reports in by_row.items()
    }
    return study.finish(report, markdown_page(report), {"f1.png": draw(report)})


def scores(reports: Sequence[Mapping]) -> dict:
    """Return the scores of a row, averaged over its runs.

    Returns:
        dict: ``micro`` and ``macro``, the F1 at the fixed threshold as ``mean``, ``sd`` and
        ``values`` over the runs, and its ``interval`` (None if there are several runs);
        ``epochs``, the number of epochs in each run; ``minutes``, the mean duration of a run.
    """
    fixed = [report["thresholds"]["fixed"] for report in reports]
    averages = {
        name: mean_over_runs([block[name]["f1"] for block in fixed])
        | {"interval": fixed[0][name]["f1_interval"] if len(fixed) == 1 else None}
        for name in _AVERAGES
    }
    durations = mean_over_runs([runs.total_duration_s(report) / 60 for report in reports])
    epochs = [len(report["history"]) for report in reports]
    return averages | {"epochs": epochs, "minutes": durations["mean"]}


def _line(report: Mapping) -> str:
    f1 = pages.with_interval(report["thresholds"]["fixed"]["micro"], "f1")
    return f"micro F1 {f1}, epoch {pages.kept_epoch(report)}"


def markdown_page(report: Mapping) -> str:
    """Return the report as a Markdown page."""
    brief = f"Quick run: only some of the rows, trained for {_QUICK_EPOCHS} epochs."
    rows = report["rows"]
    reference = rows.get(DEFAULT)
    lines = []
    for row in rows.values():
        cells = [row["label"]]
        for name in _AVERAGES:
            gain = row[name]["mean"] - reference[name]["mean"] if reference else None
            cells += [_score(row[name]), "–" if row is reference else difference(gain)]
        lines.append([*cells, ", ".join(map(str, row["epochs"])), f"{row['minutes']:.1f}"])
    header = ["setting", "micro F1", "difference", "macro F1", "difference", "epochs", "minutes"]
    caption = (
        "F1 on the test clips at the fixed threshold S2 0.50, with 95 % intervals bootstrapped "
        "over songs, or as mean ± standard deviation over seeds; difference from the default; "
        "number of epochs in each run; mean duration of a run."
    )
    introduction = [
        *rendered_banner(report),
        *pages.brief_run(report["settings"], brief),
        _results(rows),
        "![Micro and macro F1 of every setting](f1.png)",
        "**Question.** How do augmentation and the choices that the paper leaves open affect the "
        "network by Han et al. (2017) on this dataset?",
        measured_table(report, caption, header, lines),
    ]
    return pages.compose("Ablation of the log-mel ConvNet", report, introduction, [])


def _score(block: Mapping) -> str:
    if len(block["values"]) > 1:
        return mean_sd(block, 3)
    return pages.with_interval({"f1": block["mean"], "f1_interval": block["interval"]}, "f1")


def _results(rows: Mapping) -> str:
    best = max(rows.values(), key=lambda row: row["micro"]["mean"])
    text = f"**Results.** The highest micro F1 is {_score(best['micro'])} ({best['label']})"
    if DEFAULT in rows and best is not rows[DEFAULT]:
        text += f"; the default reaches {_score(rows[DEFAULT]['micro'])}"
    if any(len(row["micro"]["values"]) == 1 for row in rows.values()):
        text += ". With a single run per row, differences within the intervals may be due to chance"
    return text + "."


def draw(report: Mapping) -> Figure:
    """Draw the micro and macro F1 of every row with 95 % intervals, or with ranges over seeds."""

    def point(block: Mapping) -> study_figures.Interval:
        low, high = block["interval"] or (min(block["values"]), max(block["values"]))
        return low, block["mean"], high

    rows = {row["label"]: row for row in report["rows"].values()}
    rendered = ", rendered audio" if report["rendered"] else ""
    return study_figures.score_points(
        list(rows),
        {
            f"{name} F1": {label: point(row[name]) for label, row in rows.items()}
            for name in _AVERAGES
        },
        score="F1 on the test clips at threshold S2 0.50",
        title=f"{report['dataset']}{rendered}",
    )
