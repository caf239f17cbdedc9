"""Recognition of five instruments in waveform chunks and images: tables II to IX of Goel.

Each row in the tables is a separate experiment: a recurrent network on chunks of the waveform, a
CNN on one of two kinds of waveform images, or a combination of both. Each row is run with three
splits. `window` splits the windows of the training clips at random, as Goel's code does, so that
windows and channels of the same clip are used for both training and testing. `song` keeps all
windows of a song in the same split. The difference in accuracy between these two splits is the
effect of leakage. `official` is the test that Goel's text describes: sliding windows over the
dataset's test clips, with one prediction per channel of a clip. Only clips with exactly one of the
five labels are used.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.evaluation import collapse
from irec_jax.evaluation.recognition import scores_from_counts
from irec_jax.metrics import multilabel
from irec_jax.reports import study_figures
from irec_jax.reports.page import mean_over_runs
from irec_jax.studies import goel_tables, options, pages, runs
from irec_jax.studies.published import goel as published

SPLITS = options.GOEL_SPLITS
#: The row whose runs also evaluate the baselines.
BASELINES = "lstm-300-50"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row in Goel's tables.

    Attributes:
        name: prefix of the names of its runs, to which the split is appended.
        table: table number.
        family: group of rows; the summary shows the best row of each family.
        config: `FILE:arguments` without dataset and split.
        reported: published training, validation and test accuracy; None if not stated.
        quick_epochs: number of epochs with `--quick`; 0 omits the row.
        epoch_s: approximate seconds per epoch on two cores with `gm_irmas` small.
        num_epochs: maximum number of epochs without `--quick`.
    """

    name: str
    table: str
    family: str
    config: str
    reported: tuple[float | None, float | None, float | None]
    quick_epochs: int
    epoch_s: float
    num_epochs: int = 100


#: Cell -> table, family, epochs with `--quick`, seconds per epoch with 300-sample chunks.
_CELLS = {
    "rnn": ("II", "RNN", 12, 2.0),
    "lstm": ("III", "LSTM", 12, 3.2),
    "gru": ("IV", "GRU", 12, 2.5),
    "blstm": ("V", "BLSTM", 8, 5.0),
    "per_step": ("fig. 20", "LSTM, every step", 10, 3.5),
}
_IMAGES = {"stacked": ("VII", "CNN, stacked"), "recurrence": ("VIII", "CNN, recurrence plots")}
#: Network -> epochs with `--quick`, seconds per epoch.
_NETS = {"b1": (30, 1.2), "b2": (18, 1.8), "b3": (15, 2.5), "b4": (4, 10.0)}
#: The same for a CNN followed by an LSTM, which Goel trains for 10 epochs.
_CRNN_NETS = {"b1": (0, 8.0), "b2": (0, 9.0), "b3": (4, 10.0), "b4": (0, 18.0)}
#: Approximate duration, in seconds, of the steps other than training (compilation, evaluation and
#: figures), and of the baselines.
_OVERHEAD_S, _BASELINES_S = 13.0, 40.0


def _create_rows() -> Iterator[Row]:
    for cell, (table, family, quick, epoch_s) in _CELLS.items():
        accuracies = published.RECURRENT.get(cell, {(300, 50): (None, None, None)})
        for (x_len, hidden), reported in accuracies.items():
            name, config = f"{cell}-{x_len}-{hidden}", f"cell={cell},x_len={x_len},hidden={hidden}"
            config, quick_epochs = f"configs/goel_rnn.py:{config}", quick * name.endswith("300-50")
            yield Row(name, table, family, config, reported, quick_epochs, epoch_s * 300 / x_len)
    for cell, accuracy in published.DENSE.items():
        name, family = f"{cell}-300-50-dense50", "additional dense layer"
        config = f"configs/goel_rnn.py:cell={cell},x_len=300,hidden=50,dense=50"
        yield Row(name, "VI", family, config, (None, None, accuracy), 0, _CELLS[cell][-1])
    for image, (table, family) in _IMAGES.items():
        for net, budget in _NETS.items():
            config = f"configs/goel_cnn.py:image={image},net={net}"
            reported = published.IMAGES[image][net]
            yield Row(f"{image}-{net}", table, family, config, reported, *budget)
    for net, budget in _CRNN_NETS.items():
        config, reported = f"configs/goel_crnn.py:image=recurrence,net={net}", published.CRNN[net]
        yield Row(f"crnn-{net}", "IX", "CNN, then LSTM", config, reported, *budget, num_epochs=10)


#: All rows, in the order of Goel's tables.
ROWS = tuple(_create_rows())


def plan(arguments: argparse.Namespace) -> dict[tuple[str, str, int], runs.Run]:
    """Return the planned runs by row name, split and seed."""
    rows = [row for row in ROWS if row.quick_epochs or not arguments.quick]
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    return {
        (row.name, split, seed): _plan_run(row, split, seed, arguments)
        for seed in seeds
        for row in rows
        for split in SPLITS
    }


def _plan_run(row: Row, split: str, seed: int, arguments: argparse.Namespace) -> runs.Run:
    first = seed == arguments.seed
    num_epochs, baselines = row.num_epochs, row.name == BASELINES and first
    overrides = runs.shared_overrides(arguments, baselines=baselines)
    name = f"{row.name}-{split}"
    if not first:
        name += f"-seed{seed}"
        overrides.append(("seed", str(seed)))
    if arguments.quick and not arguments.debug:
        num_epochs = row.quick_epochs
        # Early stopping is disabled for so few epochs. Smaller batches of images give more steps.
        overrides += [
            ("training.num_epochs", str(num_epochs)),
            ("training.min_steps_per_epoch", "0"),
            ("training.patience", "100"),
        ]
        if row.table in ("VII", "VIII"):
            overrides.append(("training.batch_size", "16"))
    config = runs.config_path(f"{row.config},split={split}", arguments)
    expected_s = _OVERHEAD_S + _BASELINES_S * baselines + row.epoch_s * num_epochs
    return runs.Run(name, config, tuple(overrides), expected_s)


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study goel` and return its exit code."""
    if arguments.repeats < 1:
        raise UserError(f"--repeats {arguments.repeats}: expected at least 1")
    settings, planned = runs.shared_settings(arguments), plan(arguments)
    splits = registry.split_names(arguments.split, "--split")
    for split in splits:
        runs.check_choice("split", split, SPLITS)
    names = [row.name for row in ROWS if not arguments.quick or row.quick_epochs]
    selected = runs.select(names, arguments.rows)
    study = runs.Study(arguments, settings)
    todo = {
        run.name for (row, split, _), run in planned.items() if row in selected and split in splits
    }
    results = study.execute(list(planned.values()), _line, todo)
    report = study.report(results, split=" and ".join(splits))
    by_row: dict[str, dict[str, list[Mapping]]] = {row.name: {} for row in ROWS}
    for (row, split, _), planned_run in planned.items():
        if planned_run.name in results.reports:
            by_row[row].setdefault(split, []).append(results.reports[planned_run.name])
    report |= {
        "rows": {
            name: {split: mean_scores(repeats) for split, repeats in by_split.items()}
            for name, by_split in by_row.items()
            if by_split
        },
        "baselines": {
            split: {
                name: block["predominant"]
                for name, block in repeats[0].get("baselines", {}).items()
            }
            for split, repeats in by_row[BASELINES].items()
        },
        "protocols": _protocols(results.reports),
    }
    page = goel_tables.markdown_page(report, ROWS)
    return study.finish(report, page, {"accuracy.png": draw(report)})


def mean_scores(reports: Sequence[Mapping]) -> dict:
    """Return the scores of one run, or the means of several runs with different seeds.

    Returns:
        The result of `scores` for a single report. For several reports, accuracies and epochs are
        means without intervals, the other scores are computed from the predictions of all runs
        together, and ``repeats`` contains the mean, standard deviation and ``values`` by run of
        each accuracy.
    """
    single = [scores(report) for report in reports]
    if len(single) == 1:
        return single[0]
    confusion = sum(np.array(report["predominant"]["confusion"]) for report in reports)
    predominant = {**reports[0]["predominant"], "confusion": confusion}
    together = {**reports[0], "predominant": predominant}
    names = ("training", "validation", "test", "balanced")
    repeats = {name: mean_over_runs([run[name] for run in single]) for name in names}
    others = ("chance", "majority", "best_epoch", "num_epochs", "seconds")
    return {
        **scores(together),
        **{name: block["mean"] for name, block in repeats.items()},
        **{name: float(np.mean([run[name] for run in single])) for name in others},
        "test_interval": None,
        "balanced_interval": None,
        "collapse": next((run["collapse"] for run in single if run["collapse"]), None),
        "repeats": repeats,
    }


def scores(report: Mapping) -> dict:
    """Extract the scores for the tables from a run's report.

    Args:
        report: content of the run's report.json.

    Returns:
        dict: ``training``, ``validation`` and ``test``, the top-1 accuracies at the kept epoch;
        ``test_interval``, ``balanced``, ``balanced_interval``, ``chance`` and ``majority``;
        ``micro`` (equal to the accuracy, since each example has one label and one prediction),
        ``macro`` and ``per_class`` precision, recall and F1 of the same predictions;
        ``num_epochs``, ``best_epoch`` and ``seconds``; and ``collapse``, the warning from the
        collapse check, or None.
    """
    predominant, best, classes = report["predominant"], report["best_epoch"], report["classes"]
    confusion = np.array(predominant["confusion"])
    correct, one_hot = np.diagonal(confusion), np.eye(len(confusion))
    # The label and prediction of every example. The collapse check in the report uses the classes
    # that reach a threshold; here it is repeated for the strongest class.
    labels, predictions = np.repeat(
        np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), axis=1
    )
    counts = multilabel.Counts(correct, confusion.sum(0) - correct, confusion.sum(1) - correct)
    return {
        "training": best["train_top1"],
        "validation": best["valid_top1"],
        "test": predominant["accuracy"],
        "test_interval": predominant["accuracy_interval"],
        "balanced": predominant["balanced_accuracy"],
        "balanced_interval": predominant["balanced_accuracy_interval"],
        "chance": predominant["chance"],
        "majority": predominant["majority"]["accuracy"],
        **scores_from_counts(counts, classes),
        "num_epochs": len(report["history"]),
        "best_epoch": best["epoch"],
        "seconds": runs.total_duration_s(report),
        "collapse": collapse.check(one_hot[labels], one_hot[predictions], classes)["warning"],
    }


def draw(report: Mapping) -> Figure:
    """Draw the test accuracy of every row, as measured with each split and as published."""

    def point(scores: Mapping) -> study_figures.Interval:
        values = scores.get("repeats", {}).get("test", {}).get("values", ())
        low, high = scores["test_interval"] or (min(values), max(values))
        return low, scores["test"], high

    rows, groups = report["rows"], {}
    for split in SPLITS:
        points = {name: point(row[split]) for name, row in rows.items() if split in row}
        groups |= {f"{split} split": points} if points else {}
    rendered = ", rendered audio" if report["rendered"] else ""
    return study_figures.score_points(
        list(rows),
        groups,
        score="test accuracy",
        reported={row.name: row.reported[2] for row in ROWS if row.reported[2] is not None},
        guess=("chance", 1 / len(report["classes"])),
        title=f"{report['dataset']}{rendered}; reported: IRMAS, random windows",
    )


def _line(report: Mapping) -> str:
    accuracy = pages.with_interval(report["predominant"], "accuracy")
    return f"accuracy {accuracy}, epoch {pages.kept_epoch(report)}"


def _protocols(reports: Mapping[str, Mapping]) -> list[dict]:
    """Return the distinct split protocols that the runs use."""
    protocols = {}
    for report in reports.values():
        protocol = report["protocol"]
        protocols.setdefault((protocol["split"], protocol["examples"]), protocol)
    return list(protocols.values())
