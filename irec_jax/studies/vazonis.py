"""The raw-waveform LSTM and the FFT-dense network of Vazonis et al. (2022), and if they listen.

Eleven instruments, a test of clips of 5 to 20 s with one label or several, threshold 0.5. Each net
also with ReLU, and with binary cross-entropy, the loss that labels of which several may hold ask
for. `lstm_paper`, the LSTM on 884,000 steps of 44.1 kHz, asks for an accelerator and is done only
when `--rows` names it.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from irec_jax.checkpoints.workdir import lock_study
from irec_jax.errors import UserError
from irec_jax.files import write_bytes, write_json
from irec_jax.reports import figures, study_figures, text
from irec_jax.studies import runs, vazonis_tables

#: The row on whose test clips the baselines are scored too.
BASELINES = "lstm"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A network of the study.

    Attributes:
        name: of its run.
        label: in tables.
        config: `FILE:arguments` but for the dataset.
        overrides: as of `runs.Run`.
        quick: what `--quick` sets; None leaves the row out.
        asked_only: done only when `--rows` names it in full.
        full_s, quick_s: about how long it takes on two cores.
    """

    name: str
    label: str
    config: str
    overrides: tuple[tuple[str, str], ...] = ()
    quick: tuple[tuple[str, str], ...] | None = None
    asked_only: bool = False
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
        label="LSTM, input of the source",
        config=_LSTM + "paper",
        asked_only=True,
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
    """The options of `irec study vazonis`."""
    runs.add_arguments(parser, workdir="runs/study_vazonis")


def plan(arguments: argparse.Namespace) -> list[runs.Run]:
    """The runs of all rows."""
    found = []
    for row in ROWS:
        if arguments.quick and row.quick is None:
            continue
        overrides = [*runs.overrides(arguments), *row.overrides]
        if row.name != BASELINES:
            overrides.append(("evaluation.baselines", "False"))
        if arguments.quick and not arguments.debug:
            overrides += row.quick
        words = [row.config.partition(":")[2], f"dataset={arguments.dataset}"]
        words += ["debug"] if arguments.debug else []
        found.append(
            runs.Run(
                name=row.name,
                config=f"{row.config.partition(':')[0]}:{','.join(filter(None, words))}",
                overrides=tuple(overrides),
                expected_s=row.quick_s if arguments.quick else row.full_s,
            )
        )
    return found


def run(arguments: argparse.Namespace) -> int:
    """`irec study vazonis`."""
    settings, workdir = runs.settings(arguments), Path(arguments.workdir)
    every, named = plan(arguments), [name.strip() for name in arguments.rows.split(",")]
    asked_only = {row.name for row in ROWS if row.asked_only and row.name not in named}
    names = [one.name for one in every if one.name not in asked_only]
    todo = runs.choose(names, arguments.rows)
    lock_study(workdir, settings)
    began = time.monotonic()
    results = runs.execute(every, todo=todo, workdir=workdir, summary=_line)
    if not results.reports:
        raise UserError(f"all {len(results.failures)} runs failed, as told above")
    first = next(iter(results.reports.values()))
    labels = {row.name: row.label for row in ROWS}
    report = {
        "rendered": first["rendered"],
        "dataset": first["dataset"],
        "classes": first["classes"],
        "settings": settings,
        "rows": {
            name: scores(one) | {"label": labels[name]} for name, one in results.reports.items()
        },
        "baselines": results.reports.get(BASELINES, {}).get("baselines", {}),
        "training_labels": training_labels(first),
        "test": first["data"]["test"],
        "failures": results.failures,
        "provenance": runs.collect_provenance(
            results, split="official", seed=arguments.seed, seconds=time.monotonic() - began
        ),
    }
    figure = study_figures.label_histogram(
        report["training_labels"], title=f"Labels of the training clips of {report['dataset']}"
    )
    figures.save(figure, workdir / "labels.png")
    histories = {one["label"]: one["history"] for one in report["rows"].values()}
    figures.save(study_figures.learning_curves(histories), workdir / "learning.png")
    page = vazonis_tables.page(report)
    write_bytes(workdir / "report.md", page.encode())
    write_json(workdir / "report.json", report)
    print(page.partition("\n## ")[0])
    print(f"\nreport: {workdir / 'report.md'}")
    return 1 if results.failures else 0


def scores(report: Mapping) -> dict:
    """What the tables show of a run's report, as in report.json: ``micro``, ``macro`` and
    ``per_class`` precision, recall and F1 at the fixed ``threshold``, ``collapse`` (of
    `evaluation.collapse`), ``history``, ``best_epoch``, ``input`` in words and ``seconds``."""
    fixed = report["thresholds"]["fixed"]
    return {
        **{name: fixed[name] for name in ("threshold", "micro", "macro", "per_class")},
        "collapse": report["collapse"],
        "history": report["history"],
        "best_epoch": report["best_epoch"]["epoch"],
        "input": f"{report['provenance']['dataset']['config']}, {report['protocol']['examples']}",
        "seconds": sum(report["provenance"]["durations_s"].values()),
    }


def training_labels(report: Mapping) -> dict[str, int]:
    """How many clips of what trains and validates show each class (the source's figure 1)."""
    splits = [report["protocol"]["sides"][side]["per_class"] for side in ("training", "validation")]
    return {name: sum(side[name] for side in splits) for name in report["classes"]}


def _line(report: Mapping) -> str:
    micro = report["thresholds"]["fixed"]["micro"]
    answers = "collapsed" if report["collapse"]["collapsed"] else "not collapsed"
    f1 = text.interval(micro["f1"], micro["f1_interval"])
    return f"micro F1 {f1}, {answers}, epoch {report['best_epoch']['epoch']} of " + str(
        len(report["history"])
    )
