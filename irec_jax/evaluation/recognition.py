"""Window probabilities of the test and validation split to the numbers of a recognition report.

Published scores on IRMAS sweep the threshold on the test set. Here every score names how its
threshold came about: `fixed` beforehand, one tuned on `validation`, one per class tuned there
(`validation_per_class`), or the best on the test split itself (`oracle`), which no one can know
and which bounds what better thresholds could bring.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from irec_jax.evaluation import collapse
from irec_jax.files import atomic_write
from irec_jax.inference import aggregation as aggregations
from irec_jax.inference import thresholds
from irec_jax.metrics import confidence, multilabel

#: How a threshold came about, in the order of tables.
KINDS = ("fixed", "validation", "validation_per_class", "oracle")
#: What is said of the strongest class of single-label clips.
_ACCURACIES = ("accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a recogniser said about the N clips of a split, and what is true.

    Attributes:
        ids: N clip ids.
        songs: N song names; clips of one song are resampled together.
        labels: (N, K), non-zero where the class is there.
        windows: N arrays of window probabilities (W_i, K), W_i >= 1.
        classes: K names.
        contradictory: bool (N,): a byte-identical clip of the split has other labels.
    """

    ids: Sequence[str]
    songs: Sequence[str]
    labels: np.ndarray
    windows: Sequence[np.ndarray]
    classes: Sequence[str]
    contradictory: np.ndarray

    def __post_init__(self):
        num_clips, shape = len(self.ids), np.shape(self.labels)
        if not num_clips:
            raise ValueError("predictions hold no clips")
        if shape != (num_clips, len(self.classes)):
            raise ValueError(
                f"labels {shape} must be (clips, classes) = ({num_clips}, {len(self.classes)})"
            )
        for name in ("songs", "windows", "contradictory"):
            if len(getattr(self, name)) != num_clips:
                raise ValueError(f"{name}: {len(getattr(self, name))} for {num_clips} clips")
        for clip, windows in zip(self.ids, self.windows, strict=True):
            windows = np.asarray(windows)
            if windows.ndim != 2 or not len(windows) or windows.shape[1] != shape[1]:
                raise ValueError(f"{clip}: window probabilities {windows.shape}, not (W, K)")
            if not np.isfinite(windows).all():
                raise ValueError(f"{clip}: window probabilities hold NaN or infinite values")

    def counts(self) -> dict[str, int | float]:
        """Sizes of the split, as they stand in the report."""
        labels = np.asarray(self.labels) > 0
        return {
            "num_clips": len(self.ids),
            "num_songs": len(set(self.songs)),
            "num_labels": int(labels.sum()),
            "num_single_label_clips": int((labels.sum(1) == 1).sum()),
            "num_contradictory_clips": int(np.sum(self.contradictory)),
            "mean_labels_per_clip": float(labels.sum(1).mean()),
            "mean_windows_per_clip": float(np.mean([len(w) for w in self.windows])),
        }


def write_scores(folder: str | os.PathLike, **sides: Predictions) -> None:
    """Writes what was said of every clip to `predictions.npz`: ``classes`` (K,), and of each side
    ``SIDE_ids``, ``SIDE_songs`` (N,), ``SIDE_labels`` bool (N, K) and ``SIDE_scores`` float32
    (N, K), the mean window probabilities."""
    arrays = {"classes": np.array(next(iter(sides.values())).classes, str)}
    for name, side in sides.items():
        arrays[f"{name}_ids"] = np.array(side.ids, str)
        arrays[f"{name}_songs"] = np.array(side.songs, str)
        arrays[f"{name}_labels"] = np.asarray(side.labels) > 0
        scores = aggregations.get("s1")(side.windows)
        arrays[f"{name}_scores"] = scores.astype(np.float32)
    with atomic_write(Path(folder) / "predictions.npz") as path, open(path, "wb") as file:
        np.savez(file, **arrays)


def evaluate(
    test: Predictions,
    validation: Predictions,
    *,
    aggregation: str = "s2",
    threshold: float | None = None,
    training_labels: np.ndarray | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """All numbers of a recognition report, as plain dicts and lists.

    Args:
        test: predictions that are scored.
        validation: predictions on which thresholds are tuned; same classes.
        aggregation: 's1', 's2' or 'max': whose scores are the report's main ones.
        threshold: fixed threshold of that aggregation; None takes its own default.
        training_labels: (N, K), non-zero where the class is there: whose most frequent class is
            said of every clip, to compare with; None leaves that out.
        num_resamples: bootstrap resamples of songs for the 95 % intervals.
        seed: of the bootstrap.

    Returns:
        dict with ``classes``; ``data`` (sizes of both splits); ``aggregation``;
        ``aggregations[name]`` with ``thresholds`` and ``curve`` (micro and macro F1 on test by
        threshold) for all three; ``thresholds``, those of the main aggregation: by kind (see
        `KINDS`) ``threshold``, ``micro``, ``macro``, ``per_class``; ``ranking`` (AUC and LRAP);
        ``predominant`` (of the single-label clips, by the strongest class: accuracy, balanced
        accuracy, both with intervals, what chance and the most frequent class give, confusion);
        ``collapse``; ``notes``.
        Undefined values are NaN.

    Raises:
        UserError: unknown aggregation.
        ValueError: splits of different classes.
    """
    main = aggregations.get(aggregation)
    if list(test.classes) != list(validation.classes):
        raise ValueError("test and validation predictions have different classes")
    by_name = {}
    for name, one in aggregations.AGGREGATIONS.items():
        if name == aggregation and threshold is not None:
            one = dataclasses.replace(one, threshold=float(threshold))
            main = one
        by_name[name] = _aggregation_report(test, validation, one, num_resamples, seed)
    decided = thresholds.apply(main(test.windows), main.threshold)
    return {
        "classes": list(test.classes),
        "data": {"test": test.counts(), "validation": validation.counts()},
        "aggregation": aggregation,
        "thresholds": by_name[aggregation]["thresholds"],
        "aggregations": by_name,
        "ranking": _ranking(test),
        "predominant": _predominant(test, training_labels, num_resamples, seed),
        "collapse": collapse.check(test.labels, decided, test.classes),
        "notes": _notes(test, validation),
    }


def compact(report: dict) -> dict:
    """The part of a report that a baseline contributes to that of a model."""
    thresholds_ = {
        kind: {
            "threshold": block["threshold"],
            "micro": block["micro"],
            "macro": block["macro"],
            "per_class": {name: {"f1": one["f1"]} for name, one in block["per_class"].items()},
        }
        for kind, block in report["thresholds"].items()
    }
    return {
        "aggregation": report["aggregation"],
        "thresholds": thresholds_,
        "ranking": {"auc": report["ranking"]["auc"], "lrap": report["ranking"]["lrap"]},
        "predominant": {name: report["predominant"][name] for name in _ACCURACIES},
    }


def _aggregation_report(
    test: Predictions,
    validation: Predictions,
    aggregation: aggregations.Aggregation,
    num_resamples: int,
    seed: int,
) -> dict:
    """Scores at every kind of threshold, and the curve over the grid."""
    scores, tuning = aggregation(test.windows), aggregation(validation.windows)
    # The fixed threshold is a candidate too: the oracle is then never below it.
    grid = sorted({*aggregation.grid, aggregation.threshold})
    options = {"grid": grid, "default": aggregation.threshold}
    chosen = {
        "fixed": aggregation.threshold,
        "validation": thresholds.tune_single(validation.labels, tuning, **options),
        "validation_per_class": thresholds.tune_per_class(validation.labels, tuning, **options),
        "oracle": thresholds.tune_single(test.labels, scores, **options),
    }
    curve = thresholds.sweep(test.labels, scores, grid)
    return {
        "thresholds": {
            kind: _scores_at(test, scores, value, num_resamples, seed)
            for kind, value in chosen.items()
        },
        "curve": {
            "thresholds": curve.thresholds.tolist(),
            "micro_f1": curve.micro.tolist(),
            "macro_f1": curve.macro.tolist(),
        },
    }


def _scores_at(
    test: Predictions,
    scores: np.ndarray,
    threshold: float | np.ndarray,
    num_resamples: int,
    seed: int,
) -> dict:
    """Micro, macro and class-wise precision, recall and F1 with intervals at a threshold."""
    decided = thresholds.apply(scores, threshold)
    counts = multilabel.count(test.labels, decided)
    intervals = confidence.f1_intervals(
        test.labels, decided, test.songs, num_resamples=num_resamples, seed=seed
    )

    def block(found: multilabel.Scores, interval: np.ndarray) -> dict:
        values = {name: float(value) for name, value in found._asdict().items()}
        return {**values, "f1_interval": interval.tolist()}

    per_class = {}
    for k, name in enumerate(test.classes):
        one = multilabel.Scores(*(value[k] for value in multilabel.by_class(counts)))
        per_class[name] = {
            **block(one, intervals.per_class[:, k]),
            "num_positives": int(counts.true_positives[k] + counts.false_negatives[k]),
            "num_predicted": int(counts.true_positives[k] + counts.false_positives[k]),
        }
    by_class = dict(zip(test.classes, np.ravel(threshold).tolist(), strict=False))
    return {
        "threshold": by_class if np.ndim(threshold) else float(threshold),
        "micro": block(multilabel.micro(counts), intervals.micro),
        "macro": block(multilabel.macro(counts), intervals.macro),
        "per_class": per_class,
    }


def _ranking(test: Predictions) -> dict:
    scores = aggregations.get("s1")(test.windows)
    auc = multilabel.roc_auc(test.labels, scores)
    return {
        "scores": "mean window probability, unscaled (S2 scales every clip by itself, "
        "which would spoil the ranking of clips)",
        "auc": {
            "macro": multilabel.mean_roc_auc(test.labels, scores),
            "per_class": dict(zip(test.classes, auc.tolist(), strict=True)),
        },
        "lrap": multilabel.lrap(test.labels, scores),
    }


def _predominant(
    test: Predictions, training_labels: np.ndarray | None, num_resamples: int, seed: int
) -> dict:
    """Accuracy and confusion of the strongest class, where there is only one label."""
    labels = np.asarray(test.labels) > 0
    single = labels.sum(1) == 1
    truth, num_classes = labels[single].argmax(1), len(test.classes)
    songs = np.asarray(test.songs)[single]
    strongest = aggregations.get("s1")(test.windows)[single].argmax(1)

    def accuracies(predicted: np.ndarray) -> dict:
        intervals = confidence.accuracy_intervals(
            truth,
            predicted,
            songs,
            num_classes=num_classes,
            num_resamples=num_resamples,
            seed=seed,
        )
        values = (
            multilabel.accuracy(truth, predicted),
            intervals.accuracy.tolist(),
            multilabel.balanced_accuracy(truth, predicted),
            intervals.balanced.tolist(),
        )
        return dict(zip(_ACCURACIES, values, strict=True))

    found = {
        "description": "test clips with exactly one label; row: that label, column: the class "
        "with the largest mean probability (the first of equal ones)",
        "num_clips": int(single.sum()),
        "all_clips": bool(single.all()),
        **accuracies(strongest),
        "chance": 1.0 / num_classes,
        "confusion": multilabel.confusion_matrix(truth, strongest, num_classes).tolist(),
    }
    if training_labels is not None:
        majority = int((np.asarray(training_labels) > 0).sum(0).argmax())
        scores = accuracies(np.full(len(truth), majority))
        found["majority"] = {"class": test.classes[majority], **scores}
    return found


def _notes(test: Predictions, validation: Predictions) -> list[str]:
    """What a reader must know to read the numbers."""
    notes = []
    ours, tuned = test.counts(), validation.counts()
    keys = ("mean_labels_per_clip", "mean_windows_per_clip")
    if any(abs(ours[key] - tuned[key]) > 0.1 * ours[key] for key in keys):
        notes.append(
            "Thresholds tuned on validation are biased where the splits differ: validation clips "
            f"have {tuned[keys[0]]:.1f} labels and {tuned[keys[1]]:.1f} windows each, "
            f"test clips {ours[keys[0]]:.1f} and {ours[keys[1]]:.1f}."
        )
    if ours["num_contradictory_clips"]:
        notes.append(
            f"{ours['num_contradictory_clips']} test clips are byte-identical to a clip with "
            "other labels; they are kept and scored as they are labelled."
        )
    num_positives = (np.asarray(test.labels) > 0).sum(0)
    absent = [n for n, count in zip(test.classes, num_positives, strict=True) if not count]
    if absent:
        notes.append(
            f"No test clip has the label {', '.join(absent)}: "
            "an absent class counts with F1 = 0 in the macro mean."
        )
    return notes
