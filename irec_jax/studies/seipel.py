"""Instance lengths, context and multiple-instance learning: chapter 4 of Seipel (2018).

Thirteen orchestral instruments are recognised over time, with labels from spot microphones. All
runs train the same network, but on instances of different lengths (figure 4.4), on instances with
their context (figure 4.5), or on bags of instances (figure 4.6). Table 4.2 and figure 4.3 describe
the pieces. Labels derived with and without crosstalk reduction are compared with the composed
notes.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax import data
from irec_jax.crosstalk.activity import DEFAULT_THRESHOLD_DB, FRAME_LENGTH
from irec_jax.errors import UserError
from irec_jax.evaluation import pieces as piece_evaluation
from irec_jax.files import seekable
from irec_jax.reports import recognition_figures, study_figures
from irec_jax.studies import options, runs, seipel_labels, seipel_tables
from irec_jax.studies.published import seipel as published

SAMPLE_RATE_HZ = 44_100
#: The row whose run also evaluates the baselines.
BASELINES = f"frames-{published.BEST_FRAMES}"
_QUICK_FRAMES = (16, 48, 112, 160)
#: Aggregations that the thesis proposes as future work, tried on short instances.
_AGGREGATES = ("max", "noisy_or", "attention", "lse")
#: With `--quick`: number of epochs, steps per epoch (the same for all instance lengths), and batch
#: size in instances. Batches of windows with context and batches of bags are half as large.
_QUICK_EPOCHS, _QUICK_STEPS, _QUICK_BATCH = 4, 90, 12
#: Hop between overlapping training instances with `--quick`, in frames.
_QUICK_HOP_FRAMES = 16
_QUICK_WARNING = (
    "Quick run: only some of the instance lengths, each trained for about "
    f"{_QUICK_EPOCHS * _QUICK_STEPS} steps with batches of {_QUICK_BATCH} instances, or "
    f"{_QUICK_BATCH // 2} windows with context or bags. Training instances overlap, except in bags."
)
#: Approximate values on two cores: frames processed per second of training, seconds of audio per
#: epoch, and seconds for the rest of a run and for the baselines.
_FRAMES_PER_S, _EPOCH_S, _OVERHEAD_S, _BASELINES_S = 4500.0, 580.0, 30.0, 30.0


@dataclasses.dataclass(frozen=True)
class Row:
    """A run in the study.

    Attributes:
        frames: frames per instance, n_F.
        context: instances per training window, r.
        instances: instances per bag, n_I.
        aggregate: aggregation from instances to bags.
        share: whether all instances in a bag share one network.
    """

    frames: int
    context: int = 1
    instances: int = 1
    aggregate: str = "mean"
    share: bool = True

    @property
    def name(self) -> str:
        parts = [f"frames-{self.frames}"]
        if self.context > 1:
            parts.append(f"context-{self.context}")
        if self.instances > 1:
            parts.append(f"instances-{self.instances}")
        if self.aggregate != "mean":
            parts.append(self.aggregate)
        return "-".join([*parts, *([] if self.share else ["separate"])])

    @property
    def config(self) -> str:
        """`FILE:arguments` without the dataset."""
        defaults = Row(self.frames)
        changed = [
            f"{name}={str(value).lower()}"
            for name, value in dataclasses.asdict(self).items()
            if name == "frames" or value != getattr(defaults, name)
        ]
        return f"configs/seipel.py:{','.join(changed)}"

    @property
    def duration_s(self) -> float:
        """Instance length in seconds."""
        return self.frames * FRAME_LENGTH / SAMPLE_RATE_HZ

    @property
    def standard(self) -> str:
        """Name of the run with instances of the same length, without context or bags."""
        return Row(self.frames).name


def list_rows(*, quick: bool) -> list[Row]:
    """Return the study's rows in the order of the figures."""
    if quick:
        contexts = [Row(frames, context=3) for frames in _QUICK_FRAMES]
        return [*map(Row, _QUICK_FRAMES), *contexts, *(Row(f, instances=3) for f in _QUICK_FRAMES)]
    rows = [Row(frames) for frames in range(16, 321, 16)]
    for context in published.CONTEXTS[1:]:
        rows += [Row(frames, context=context) for frames in published.FRAMES]
    for count in published.INSTANCES[1:]:
        rows += [Row(frames, instances=count) for frames in published.FRAMES]
    rows += [Row(16, instances=3, aggregate=aggregate) for aggregate in _AGGREGATES]
    return [*rows, Row(16, instances=3, share=False)]


def plan(arguments: argparse.Namespace) -> list[runs.Run]:
    """Return the planned runs, one per row."""
    planned = []
    for row in list_rows(quick=arguments.quick):
        baselines = row.name == BASELINES
        overrides = runs.shared_overrides(arguments, baselines=baselines)
        # As in the thesis, instances do not overlap, and there is no augmentation.
        hop_frames = row.frames
        num_frames = 10 * row.context * _EPOCH_S * SAMPLE_RATE_HZ / FRAME_LENGTH
        if arguments.quick and not arguments.debug:
            # Overlap compensates for the small number of long instances: without it, there are ten
            # times fewer instances of 160 frames than of 16. Instances in a bag must be adjacent.
            hop_frames = row.frames if row.instances > 1 else _QUICK_HOP_FRAMES
            several = row.context > 1 or row.instances > 1
            batch_size = _QUICK_BATCH // 2 if several else _QUICK_BATCH
            overrides += [
                ("training.num_epochs", str(_QUICK_EPOCHS)),
                ("training.min_steps_per_epoch", str(_QUICK_STEPS)),
                ("training.max_steps_per_epoch", str(_QUICK_STEPS)),
                ("training.batch_size", str(batch_size)),
            ]
            num_windows = _QUICK_EPOCHS * _QUICK_STEPS * batch_size
            num_frames = num_windows * row.frames * row.context * row.instances
        overrides += [
            ("data.hop_s", str(hop_frames * FRAME_LENGTH / SAMPLE_RATE_HZ)),
            ("augment.num_mel_masks", "0"),
        ]
        expected_s = _OVERHEAD_S + _BASELINES_S * baselines + num_frames / _FRAMES_PER_S
        config = runs.config_path(row.config, arguments)
        planned.append(runs.Run(row.name, config, tuple(overrides), expected_s))
    return planned


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study seipel` and return its exit code."""
    if not 0 < arguments.decay_s <= 20:
        raise UserError(f"--decay-s {arguments.decay_s}: expected more than 0 and at most 20 s")
    settings = runs.shared_settings(arguments, options.MULTITRACK) | {"decay_s": arguments.decay_s}
    planned = plan(arguments)
    selected = runs.select([run.name for run in planned], arguments.rows)
    study = runs.Study(arguments, settings)
    results = study.execute(planned, _line, selected)
    training, test = (_load(arguments, split) for split in ("train", "test"))
    levels_db = published.LEVELS_DB[:1] if arguments.quick else published.LEVELS_DB
    labels = seipel_labels.study(
        training,
        test,
        study.workdir / "labels",
        levels_db=levels_db,
        decay_s=arguments.decay_s,
        seed=arguments.seed,
    )
    report = study.report(results, split="official")
    by_name = {row.name: row for row in list_rows(quick=arguments.quick)}
    folder = study.workdir / "runs"
    report |= {
        "rows": {
            name: scores(by_name[name], run_report, folder, results.reports)
            for name, run_report in results.reports.items()
        },
        "baselines": {
            name: {"macro": block["macro"], "per_class": block["per_class"]}
            for name, block in _baselines(results.reports).items()
        },
        "instruments": count_instruments(training, test),
        "lengths_s": [n / pieces.sample_rate_hz for pieces in (training, test)
                      for n in pieces.num_samples],
        "labels": labels,
    }  # fmt: skip
    page = seipel_tables.markdown_page(report, brief=_QUICK_WARNING)
    return study.finish(report, page, draw(report))


def _load(arguments: argparse.Namespace, split: str) -> data.Pieces:
    size = "tiny" if arguments.debug else arguments.size
    return data.load_pieces(
        arguments.dataset, split, size=size, data_dir=arguments.data_dir or None
    )


def count_instruments(*splits: data.Pieces) -> dict[str, dict]:
    """Return the number and total hours of the pieces with each instrument (table 4.2)."""
    counts = {name: {"num_pieces": 0, "hours": 0.0} for name in (*splits[0].classes, "all")}
    for pieces in splits:
        for labels, num_samples in zip(pieces.instruments, pieces.num_samples, strict=True):
            for name in (*set(labels), "all"):
                counts[name]["num_pieces"] += 1
                counts[name]["hours"] += num_samples / pieces.sample_rate_hz / 3600
    return counts


def scores(row: Row, report: Mapping, folder: Path, reports: Mapping[str, Mapping]) -> dict:
    """Compute the results of a run for the tables.

    Args:
        row: the run.
        report: content of its report.json.
        folder: folder that contains the runs and their predictions.
        reports: reports of all runs, by run name.

    Returns:
        A dict with the attributes of `Row` and these keys:

        - ``duration_s``: instance length in seconds.
        - ``scores``: scores of the model, averaged over pieces.
        - ``by_frame``: the same scores for frames instead of instances (None in reports written by
          earlier versions).
        - ``micro_f1``: micro F1 over all instances.
        - ``threshold``, ``tuned``: threshold chosen on validation pieces, and the scores at this
          threshold.
        - ``equal_lengths``: scores at threshold 0.5 if every piece is cut to the number of
          instances in the shortest piece.
        - ``difference``: change in the scores relative to the standard run with instances of the
          same length (None for the standard run itself, or if that run is missing).
        - ``seconds``: duration of the run.
    """
    labels, predicted, songs = read_predictions(folder / row.name)
    classes, threshold = report["classes"], report["thresholds"]["validation"]["threshold"]
    shortest = min(np.unique(songs, return_counts=True)[1])
    first = np.concatenate([np.flatnonzero(songs == name)[:shortest] for name in np.unique(songs)])
    difference = None
    if row.name != row.standard and row.standard in reports:
        others = read_predictions(folder / row.standard)
        difference = piece_evaluation.paired_difference(
            labels, predicted, others[1], songs.tolist(), classes
        )["macro"]
    return {
        **dataclasses.asdict(row),
        "duration_s": row.duration_s,
        "scores": report["pieces"]["model"],
        "by_frame": report["pieces"].get("frames", {}).get("model"),
        "micro_f1": report["thresholds"]["fixed"]["micro"]["f1"],
        "threshold": threshold,
        "tuned": piece_evaluation.piece_scores(
            labels, predicted, songs.tolist(), classes, threshold=threshold
        ),
        "equal_lengths": piece_evaluation.piece_scores(
            labels[first], predicted[first], songs[first].tolist(), classes
        ),
        "difference": difference,
        "seconds": runs.total_duration_s(report),
    }


def read_predictions(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the test labels (bool (N, K)), scores (N, K) and piece names (N,) of a run."""
    with np.load(seekable(folder / "predictions.npz")) as arrays:
        return arrays["test_labels"], arrays["test_scores"], arrays["test_songs"]


def _baselines(reports: Mapping[str, Mapping]) -> Mapping[str, Mapping]:
    return reports[BASELINES]["pieces"]["baselines"] if BASELINES in reports else {}


def draw(report: Mapping) -> dict[str, Figure]:
    """Draw figures 4.3 to 4.6, the F1 of the labels against the threshold, and the F1 by class."""
    rows, labels = list(report["rows"].values()), report["labels"]
    best = {"published best": published.BEST_FRAMES}

    def curve(chosen: Sequence[Mapping], block: str, score: str) -> list[tuple]:
        macros = [(row["frames"], row[block]["macro"]) for row in chosen]
        return [
            (frames, (macro[f"{score}_interval"][0], macro[score], macro[f"{score}_interval"][1]))
            for frames, macro in sorted(macros, key=lambda pair: pair[0])
        ]

    standard = [row for row in rows if row["context"] == row["instances"] == 1]
    names = {"precision": "precision", "recall": "recall", "f1": "F1", "auc": "ROC AUC"}
    curves = {name: curve(standard, "scores", score) for score, name in names.items()}
    curves["F1, tuned threshold"] = curve(standard, "tuned", "f1")
    axis = "frames per instance, n_F"
    drawn = {
        "frames.png": study_figures.score_curves(
            {"Standard learning (figure 4.4)": curves}, xlabel=axis, marks=best
        ),
        "lengths.png": study_figures.length_histogram(report["lengths_s"]),
        "labels.png": study_figures.threshold_curves(
            labels["curves"]["thresholds_db"],
            labels["curves"]["f1"],
            mark_db=DEFAULT_THRESHOLD_DB,
        ),
    }
    for file, key, values, text in (
        ("context.png", "context", published.CONTEXTS, "context r"),
        ("instances.png", "instances", published.INSTANCES, "instances per bag n_I"),
    ):
        other = "instances" if key == "context" else "context"
        panels = {}
        for score in ("f1", "auc"):
            by_value = {
                f"{text} = {value}": curve(
                    [row for row in rows if row[key] == value and _is_plain(row, other)],
                    "scores",
                    score,
                )
                for value in values
            }
            panels[names[score]] = {name: points for name, points in by_value.items() if points}
        drawn[file] = study_figures.score_curves(panels, xlabel=axis, marks=best)
    bars = {
        f"n_F = {row['frames']}": [
            row["scores"]["per_class"][name]["f1"] for name in report["classes"]
        ]
        for row in standard
        if row["frames"] in _QUICK_FRAMES
    }
    if bars:
        values = {name: np.array(f1, float).tolist() for name, f1 in bars.items()}
        drawn["classes.png"] = recognition_figures.class_f1_bars(report["classes"], values)
    return drawn


def _is_plain(row: Mapping, other: str) -> bool:
    """Return whether a row differs from standard learning in at most one respect."""
    return row[other] == 1 and row["aggregate"] == "mean" and row["share"]


def _line(report: Mapping) -> str:
    macro = report["pieces"]["model"]["macro"]
    return f"F1 {seipel_tables.cell(macro, 'f1')}, ROC AUC {seipel_tables.cell(macro, 'auc')}"
