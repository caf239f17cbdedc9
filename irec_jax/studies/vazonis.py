"""Raw-waveform LSTM and FFT-dense network by Vazonis et al. (2022), with a collapse check.

The networks recognise eleven instruments in test clips of 5 to 20 s with one or more labels, at
threshold 0.5. The LSTM is trained with three learning rates, because the paper states none for it,
and the FFT-dense network for 150 and for 75 epochs, because the paper reports a higher score after
more than 75 epochs. Each network is also trained with ReLU and, in a separate run, with binary
cross-entropy, the appropriate loss for multi-label targets. The parameters of the last epoch are
kept. `lstm_paper`, the LSTM with the paper's 884,000 steps at 44.1 kHz, needs an accelerator and
runs only if `--rows` names it.
"""

import argparse
import dataclasses
from collections.abc import Mapping

from matplotlib.figure import Figure

from irec_jax.reports import study_figures
from irec_jax.studies import pages, runs, vazonis_tables
from irec_jax.studies.published import vazonis as published

#: The row whose run also evaluates the baselines.
BASELINES = "lstm"


@dataclasses.dataclass(frozen=True)
class Row:
    """A network in the study.

    Attributes:
        name: name of the run that trains it.
        label: name in tables.
        config: `FILE:arguments` without the dataset.
        overrides: see `runs.Run`.
        quick_epochs: number of epochs with `--quick`; 0 omits the row.
        on_request: whether the row runs only if `--rows` contains its full name.
        full_s, quick_s: approximate seconds on two cores, without and with `--quick`.
    """

    name: str
    label: str
    config: str
    overrides: tuple[tuple[str, str], ...] = ()
    quick_epochs: int = 0
    on_request: bool = False
    full_s: float = 3600.0
    quick_s: float = 0.0


_LSTM, _FFT, _FFT_LABEL = (
    "configs/vazonis_lstm.py:",
    "configs/vazonis_fft.py:",
    "FFT and dense layers",
)
_RATE = "optimizer.learning_rate"
_RELU = (("model.activation", "relu"),)
_BINARY = "loss=binary_cross_entropy"
ROWS = (
    Row("lstm", "LSTM", _LSTM, quick_epochs=8, quick_s=600.0),
    Row(
        "lstm_1e-3",
        "LSTM, learning rate 0.001",
        _LSTM,
        ((_RATE, "1e-3"),),
        quick_epochs=4,
        quick_s=300.0,
    ),
    Row(
        "lstm_1e-2",
        "LSTM, learning rate 0.01",
        _LSTM,
        ((_RATE, "1e-2"),),
        quick_epochs=4,
        quick_s=300.0,
    ),
    Row("lstm_relu", "LSTM, ReLU", _LSTM, _RELU),
    Row("lstm_binary", "LSTM, binary cross-entropy", _LSTM + _BINARY),
    Row("lstm_paper", "LSTM, the paper's input", _LSTM + "paper", on_request=True, full_s=4e5),
    Row(
        "fft",
        _FFT_LABEL,
        _FFT,
        (("training.num_epochs", "150"),),
        quick_epochs=4,
        full_s=7200.0,
        quick_s=500.0,
    ),
    Row("fft_75", f"{_FFT_LABEL}, 75 epochs", _FFT),
    Row("fft_relu", f"{_FFT_LABEL}, ReLU", _FFT, _RELU),
    Row("fft_binary", f"{_FFT_LABEL}, binary cross-entropy", _FFT + _BINARY),
)


def plan(arguments: argparse.Namespace) -> list[runs.Run]:
    """Return the planned runs, one per row."""
    planned = []
    for row in ROWS:
        if arguments.quick and not row.quick_epochs:
            continue
        shared = runs.shared_overrides(arguments, baselines=row.name == BASELINES)
        overrides = [*shared, *row.overrides]
        if arguments.quick and not arguments.debug:
            overrides.append(("training.num_epochs", str(row.quick_epochs)))
        config = runs.config_path(row.config, arguments)
        expected_s = row.quick_s if arguments.quick else row.full_s
        planned.append(runs.Run(row.name, config, tuple(overrides), expected_s))
    return planned


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study vazonis` and return its exit code."""
    settings, planned = runs.shared_settings(arguments), plan(arguments)
    named = [name.strip() for name in (arguments.rows or "").split(",")]
    omitted = {row.name for row in ROWS if row.on_request and row.name not in named}
    todo = runs.select([run.name for run in planned if run.name not in omitted], arguments.rows)
    study = runs.Study(arguments, settings)
    results = study.execute(planned, _line, todo)
    report = study.report(results, split="official")
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
    title = f"Labels of the training clips in {report['dataset']}"
    figures = {
        "f1.png": draw_f1(report),
        "labels.png": study_figures.label_histogram(report["training_labels"], title=title),
        "learning.png": study_figures.learning_curves(histories),
    }
    return study.finish(report, vazonis_tables.markdown_page(report), figures)


def draw_f1(report: Mapping) -> Figure:
    """Draw the measured micro F1 of all networks and baselines, and the published values."""

    def point(block: Mapping) -> tuple[float, float, float]:
        low, high = block["f1_interval"]
        return low, block["f1"], high

    systems = {row["label"]: row["micro"] for row in report["rows"].values()}
    for name, baseline in report["baselines"].items():
        systems[f"baseline: {name}"] = baseline["thresholds"]["fixed"]["micro"]
    rendered = ", rendered audio" if report["rendered"] else ""
    return study_figures.score_points(
        list(systems),
        {"measured": {name: point(block) for name, block in systems.items()}},
        score="micro F1 on the test clips at threshold 0.5",
        reported={name: f1 for name, (_, _, f1) in published.MICRO.items()},
        guess=("best constant prediction", vazonis_tables.best_constant(report)[1][2]),
        title=f"{report['dataset']}{rendered}; published: IRMAS",
    )


def scores(report: Mapping) -> dict:
    """Extract the results for the tables from a run's report.

    Args:
        report: content of the run's report.json.

    Returns:
        dict: ``micro``, ``macro`` and ``per_class`` precision, recall and F1 at the fixed
        ``threshold``; ``collapse`` (see `evaluation.collapse`); ``history``; ``best_epoch``;
        ``input``, a description of the input; ``seconds``, the duration of the run.
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
    f1 = pages.with_interval(report["thresholds"]["fixed"]["micro"], "f1")
    verdict = "collapsed" if report["collapse"]["collapsed"] else "not collapsed"
    return f"micro F1 {f1}, {verdict}, epoch {pages.kept_epoch(report)}"
