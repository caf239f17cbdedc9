"""Five instruments from chunks and pictures of waveforms: tables II to IX of Goel.

Every row of the tables is an experiment of its own: recurrent networks on chunks of the waveform,
CNNs on two kinds of pictures of it, and both together. Each is done twice. `window` splits windows
at random, as the source's code does: windows of one clip, and its two channels, train and test.
`song` has all windows of a song on one side. The difference of the two is what leaks.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from irec_jax.checkpoints.workdir import lock_study
from irec_jax.errors import UserError
from irec_jax.evaluation import collapse
from irec_jax.files import write_bytes, write_json
from irec_jax.metrics import multilabel
from irec_jax.reports import figures, study_figures, text
from irec_jax.studies import goel_tables, runs
from irec_jax.studies.published import goel as reported

#: The row on whose examples the baselines are scored too.
BASELINES = "lstm-300-50"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the source's tables.

    Attributes:
        name: of its runs, followed by the split.
        table: the source's number.
        family: its rows are summed up in one.
        config: `FILE:arguments` but for dataset and split.
        reported: accuracy of training, validation and test there; None where not stated.
        quick_epochs: how many of `--quick`; 0 leaves it out.
        epoch_s: about the seconds of an epoch of `gm_irmas` small on two cores.
    """

    name: str
    table: str
    family: str
    config: str
    reported: tuple[float | None, float | None, float | None] = (None, None, None)
    quick_epochs: int = 0
    epoch_s: float = 5.0


#: Cell -> table, family, epochs of `--quick`, seconds of an epoch with chunks of 300 samples.
_CELLS = {
    "rnn": ("II", "RNN", 12, 2.0),
    "lstm": ("III", "LSTM", 12, 3.2),
    "gru": ("IV", "GRU", 12, 2.5),
    "blstm": ("V", "BLSTM", 8, 5.0),
    "per_step": ("fig. 20", "LSTM, every step", 10, 3.5),
}
_PICTURES = {"stacked": ("VII", "CNN, stacked"), "recurrence": ("VIII", "CNN, recurrence plots")}
#: Net -> epochs of `--quick`, seconds of an epoch.
_NETS = {"b1": (30, 1.2), "b2": (18, 1.8), "b3": (15, 2.5), "b4": (4, 10.0)}
#: The same, where an LSTM follows; the source stops after 10 epochs.
_CRNN_NETS = {"b1": (0, 8.0), "b2": (0, 9.0), "b3": (4, 10.0), "b4": (0, 18.0)}
_CRNN_EPOCHS = 10
#: About the seconds of a run apart from its epochs: it is compiled, evaluated and drawn; and those
#: of the baselines.
_OVERHEAD_S, _BASELINES_S = 13.0, 40.0


def rows() -> list[Row]:
    """All rows, in the order of the source's tables."""
    found = []
    for cell, (table, family, quick_epochs, epoch_s) in _CELLS.items():
        for (x_len, hidden), accuracies in reported.RECURRENT.get(cell, {(300, 50): ()}).items():
            usual = (x_len, hidden) == (300, 50)
            found.append(
                Row(
                    name=f"{cell}-{x_len}-{hidden}",
                    table=table,
                    family=family,
                    config=f"configs/goel_rnn.py:cell={cell},x_len={x_len},hidden={hidden}",
                    reported=accuracies or (None, None, None),
                    quick_epochs=quick_epochs if usual else 0,
                    epoch_s=epoch_s * 300 / x_len,
                )
            )
    for cell, accuracy in reported.DENSE.items():
        found.append(
            Row(
                name=f"{cell}-300-50-dense50",
                table="VI",
                family="with one more dense layer",
                config=f"configs/goel_rnn.py:cell={cell},x_len=300,hidden=50,dense=50",
                reported=(None, None, accuracy),
                epoch_s=_CELLS[cell][-1],
            )
        )
    for image, (table, family) in _PICTURES.items():
        for net, (quick_epochs, epoch_s) in _NETS.items():
            found.append(
                Row(
                    name=f"{image}-{net}",
                    table=table,
                    family=family,
                    config=f"configs/goel_cnn.py:image={image},net={net}",
                    reported=reported.IMAGES[image][net],
                    quick_epochs=quick_epochs,
                    epoch_s=epoch_s,
                )
            )
    for net, accuracies in reported.CRNN.items():
        found.append(
            Row(
                name=f"crnn-{net}",
                table="IX",
                family="CNN, then LSTM",
                config=f"configs/goel_crnn.py:image=recurrence,net={net}",
                reported=accuracies,
                quick_epochs=_CRNN_NETS[net][0],
                epoch_s=_CRNN_NETS[net][1],
            )
        )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `irec study goel`."""
    runs.add_arguments(parser, workdir="runs/study_goel")
    parser.add_argument("--split", default="song,window", help="song, window, or both: song,window")


def plan(arguments: argparse.Namespace, splits: Sequence[str]) -> list[runs.Run]:
    """The runs of all rows on the splits."""
    found = []
    for row in rows():
        if arguments.quick and not row.quick_epochs:
            continue
        num_epochs = _CRNN_EPOCHS if row.table == "IX" else 100
        overrides, overhead_s = [*runs.overrides(arguments)], _OVERHEAD_S
        if row.name == BASELINES:
            overhead_s += _BASELINES_S
        else:
            overrides.append(("evaluation.baselines", "False"))
        if arguments.quick and not arguments.debug:
            num_epochs = row.quick_epochs
            # So few steps are never stale: all are done. Small batches of pictures make more.
            overrides += [
                ("training.num_epochs", str(num_epochs)),
                ("training.min_steps_per_epoch", "0"),
                ("training.patience", "100"),
            ]
            if row.table in ("VII", "VIII"):
                overrides.append(("training.batch_size", "16"))
        debug = ",debug" if arguments.debug else ""
        for split in splits:
            found.append(
                runs.Run(
                    name=f"{row.name}-{split}",
                    config=f"{row.config},dataset={arguments.dataset},split={split}{debug}",
                    overrides=tuple(overrides),
                    expected_s=overhead_s + row.epoch_s * num_epochs,
                )
            )
    return found


def run(arguments: argparse.Namespace) -> int:
    """`irec study goel`."""
    settings, workdir = runs.settings(arguments), Path(arguments.workdir)
    splits = list(dict.fromkeys(split.strip() for split in arguments.split.split(",")))
    for split in splits:
        if split not in ("song", "window"):
            raise UserError(f"--split {split}: known are song and window")
    every = plan(arguments, ("song", "window"))
    names = [row.name for row in rows() if not arguments.quick or row.quick_epochs]
    chosen = runs.choose(names, arguments.rows)
    todo = [f"{name}-{split}" for name in chosen for split in splits]
    lock_study(workdir, settings)
    began = time.monotonic()
    results = runs.execute(every, todo=todo, workdir=workdir, summary=_line)
    if not results.reports:
        raise UserError(f"all {len(results.failures)} runs failed, as told above")
    found = {
        row.name: {
            split: scores(results.reports[f"{row.name}-{split}"])
            for split in ("song", "window")
            if f"{row.name}-{split}" in results.reports
        }
        for row in rows()
    }
    first = next(iter(results.reports.values()))
    report = {
        "rendered": first["rendered"],
        "dataset": first["dataset"],
        "classes": first["classes"],
        "settings": settings,
        "rows": {name: one for name, one in found.items() if one},
        "baselines": _baselines(results.reports),
        "protocols": _protocols(results.reports),
        "failures": results.failures,
        "provenance": runs.collect_provenance(
            results,
            split=" and ".join(splits),
            seed=arguments.seed,
            seconds=time.monotonic() - began,
        ),
    }
    figures.save(draw(report), workdir / "accuracy.png")
    page = goel_tables.page(report, rows())
    write_bytes(workdir / "report.md", page.encode())
    write_json(workdir / "report.json", report)
    print(page.partition("\n## ")[0])
    print(f"\nreport: {workdir / 'report.md'}")
    return 1 if results.failures else 0


def scores(report: Mapping) -> dict:
    """What the tables show of a run's report.

    Args:
        report: as in report.json.

    Returns:
        dict: ``training``, ``validation`` and ``test`` accuracy (of the epoch that was kept, by
        the strongest class), ``test_interval``, ``balanced``, ``balanced_interval``, ``chance``,
        ``majority``; of the same answers ``micro`` (equal to the accuracy, since every example has
        one label and gets one answer) and ``macro`` precision, recall and F1, and ``per_class``
        the same; ``num_epochs``, ``best_epoch``, ``seconds`` and ``collapse`` (None, or in words
        that the answers are nearly all the same).
    """
    found, best = report["predominant"], report["best_epoch"]
    confusion = np.array(found["confusion"])
    right, kinds = np.diagonal(confusion), np.eye(len(confusion))
    # Example by example again; the report's own check asks what reaches a threshold.
    truth, answers = np.repeat(np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), 1)
    counts = multilabel.Counts(right, confusion.sum(0) - right, confusion.sum(1) - right)

    def block(values: multilabel.Scores) -> dict[str, float]:
        return {name: float(value) for name, value in values._asdict().items()}

    by_class = multilabel.by_class(counts)
    per_class = {
        name: block(multilabel.Scores(*(value[k] for value in by_class)))
        for k, name in enumerate(report["classes"])
    }
    return {
        "training": best["train_top1"],
        "validation": best["valid_top1"],
        "test": found["accuracy"],
        "test_interval": found["accuracy_interval"],
        "balanced": found["balanced_accuracy"],
        "balanced_interval": found["balanced_accuracy_interval"],
        "chance": found["chance"],
        "majority": found["majority"]["accuracy"],
        "micro": block(multilabel.micro(counts)),
        "macro": block(multilabel.macro(counts)),
        "per_class": per_class,
        "num_epochs": len(report["history"]),
        "best_epoch": best["epoch"],
        "seconds": sum(report["provenance"]["durations_s"].values()),
        "collapse": collapse.check(kinds[truth], kinds[answers], report["classes"])["warning"],
    }


def draw(report: Mapping):
    """Accuracies of all rows, both splits side by side, with what was reported."""
    names = list(report["rows"])
    groups = {
        f"{split} split": {
            name: (
                one[split]["test_interval"][0],
                one[split]["test"],
                one[split]["test_interval"][1],
            )
            for name, one in report["rows"].items()
            if split in one
        }
        for split in ("song", "window")
    }
    known = {row.name: row.reported[2] for row in rows() if row.reported[2] is not None}
    rendered = ", rendered audio" if report["rendered"] else ""
    return study_figures.accuracies(
        names,
        {group: values for group, values in groups.items() if values},
        reported=known,
        chance=1 / len(report["classes"]),
        title=f"{report['dataset']}{rendered}; reported: IRMAS, windows at random",
    )


def _line(report: Mapping) -> str:
    found = report["predominant"]
    accuracy = text.interval(found["accuracy"], found["accuracy_interval"])
    return f"accuracy {accuracy}, epoch {report['best_epoch']['epoch']} of {len(report['history'])}"


def _baselines(reports: Mapping[str, Mapping]) -> dict:
    """Split -> baseline -> accuracies."""
    return {
        split: {
            name: one["predominant"]
            for name, one in reports[f"{BASELINES}-{split}"]["baselines"].items()
        }
        for split in ("song", "window")
        if f"{BASELINES}-{split}" in reports
    }


def _protocols(reports: Mapping[str, Mapping]) -> list[dict]:
    """The ways in which the data were parted, each once."""
    found = {}
    for report in reports.values():
        one = report["protocol"]
        found.setdefault((one["split"], one["examples"]), one)
    return list(found.values())
