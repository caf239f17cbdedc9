"""Raw-waveform LSTM and FFT-dense network of Vazonis et al. (2022), with a collapse check.

Eleven instruments; test clips of 5 to 20 s with one or several labels; threshold 0.5. Each network
is also trained with ReLU, and with binary cross-entropy, the appropriate loss for multi-label
targets. `lstm_paper`, the LSTM on 884,000 steps at 44.1 kHz, needs an accelerator and runs only if
`--rows` names it.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from irec_jax.checkpoints.workdir import lock_study
from irec_jax.reports import study_figures, text
from irec_jax.studies import pages, runs, vazonis_tables

#: The row whose run also evaluates the baselines.
BASELINES = "lstm"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A network of the study.

    Attributes:
        name: name of its run.
        label: name in tables.
        config: `FILE:arguments` without the dataset.
        overrides: as in `runs.Run`.
        quick: overrides of `--quick`; None omits the row.
        on_request: runs only if `--rows` gives its full name.
        full_s, quick_s: approximate duration on two cores, without and with `--quick`.
    """

    name: str
    label: str
    config: str
    overrides: tuple[tuple[str, str], ...] = ()
    quick: tuple[tuple[str, str], ...] | None = None
    on_request: bool = False
    full_s: float = 3600.0
    quick_s: float = 0.0


_LSTM, _FFT = "configs/vazonis_lstm.py:", "configs/vazonis_fft.py:"
_RELU = (("model.activation", "relu"),)
_BINARY = "loss=binary_cross_entropy"
ROWS = (
    Row(
        name="lstm",
        label="LSTM",
        config=_LSTM,
        quick=(("training.num_epochs", "8"),),
        quick_s=600.0,
    ),
    Row(name="lstm_relu", label="LSTM, ReLU", config=_LSTM, overrides=_RELU),
    Row(name="lstm_binary", label="LSTM, binary cross-entropy", config=_LSTM + _BINARY),
    Row(
        name="lstm_paper",
        label="LSTM, input of the paper",
        config=_LSTM + "paper",
        on_request=True,
        full_s=400_000.0,
    ),
    Row(
        name="fft",
        label="FFT and dense layers",
        config=_FFT,
        quick=(("training.num_epochs", "4"),),
        quick_s=500.0,
    ),
    Row(name="fft_relu", label="FFT and dense layers, ReLU", config=_FFT, overrides=_RELU),
    Row(
        name="fft_binary",
        label="FFT and dense layers, binary cross-entropy",
        config=_FFT + _BINARY,
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `irec study vazonis`."""
    runs.add_arguments(parser, workdir="runs/study_vazonis")


def plan(arguments: argparse.Namespace) -> list[runs.Run]:
    """Return the runs of all rows."""
    planned = []
    for row in ROWS:
        if arguments.quick and row.quick is None:
            continue
        overrides = [*runs.overrides(arguments), *row.overrides]
        if row.name != BASELINES:
            overrides.append(("evaluation.baselines", "False"))
        if arguments.quick and not arguments.debug:
            overrides += row.quick
        file, _, words = row.config.partition(":")
        words = [words, f"dataset={arguments.dataset}", "debug" if arguments.debug else ""]
        planned.append(
            runs.Run(
                name=row.name,
                config=f"{file}:{','.join(filter(None, words))}",
                overrides=tuple(overrides),
                expected_s=row.quick_s if arguments.quick else row.full_s,
            )
        )
    return planned


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study vazonis` and return its exit code."""
    settings, folder = runs.settings(arguments), Path(arguments.workdir)
    planned = plan(arguments)
    named = [name.strip() for name in arguments.rows.split(",")]
    omitted = {row.name for row in ROWS if row.on_request and row.name not in named}
    todo = runs.select([run.name for run in planned if run.name not in omitted], arguments.rows)
    lock_study(folder, settings)
    began = time.monotonic()
    results = runs.execute(planned, todo=todo, workdir=folder, summary=_line)
    report = runs.common_report(
        results, settings=settings, split="official", seed=arguments.seed, began=began
    )
    first, labels = next(iter(results.reports.values())), {row.name: row.label for row in ROWS}
    report |= {
        "rows": {
            name: scores(run) | {"label": labels[name]} for name, run in results.reports.items()
        },
        "baselines": results.reports.get(BASELINES, {}).get("baselines", {}),
        "training_labels": training_labels(first),
        "test": first["data"]["test"],
    }
    histories = {row["label"]: row["history"] for row in report["rows"].values()}
    figures = {
        "labels.png": study_figures.label_histogram(
            report["training_labels"], title=f"Labels of the training clips of {report['dataset']}"
        ),
        "learning.png": study_figures.learning_curves(histories),
    }
    pages.write_and_print(folder, report, vazonis_tables.markdown_page(report), figures)
    return 1 if results.failures else 0


def scores(report: Mapping) -> dict:
    """Return the results of a run that the tables show.

    Args:
        report: content of the run's report.json.

    Returns:
        dict: ``micro``, ``macro`` and ``per_class`` precision, recall and F1 at the fixed
        ``threshold``; ``collapse`` (of `evaluation.collapse`); ``history``; ``best_epoch``;
        ``input``, a description; ``seconds``.
    """
    fixed = report["thresholds"]["fixed"]
    return {
        **{name: fixed[name] for name in ("threshold", "micro", "macro", "per_class")},
        "collapse": report["collapse"],
        "history": report["history"],
        "best_epoch": report["best_epoch"]["epoch"],
        "input": f"{report['provenance']['dataset']['config']}, {report['protocol']['examples']}",
        "seconds": runs.total_duration_s(report),
    }


def training_labels(report: Mapping) -> dict[str, int]:
    """Return the number of training and validation clips per class (figure 1 of the paper)."""
    splits = report["protocol"]["sides"]
    return {
        name: sum(splits[split]["per_class"][name] for split in ("training", "validation"))
        for name in report["classes"]
    }


def _line(report: Mapping) -> str:
    micro = report["thresholds"]["fixed"]["micro"]
    verdict = "collapsed" if report["collapse"]["collapsed"] else "not collapsed"
    f1 = text.interval(micro["f1"], micro["f1_interval"])
    return f"micro F1 {f1}, {verdict}, {runs.kept_epoch(report)}"
