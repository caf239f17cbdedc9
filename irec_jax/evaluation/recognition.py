"""Evaluation of a recogniser from its window probabilities on the test and validation splits.

In the literature, thresholds for IRMAS are often tuned on the test set. Here every score states how
its threshold was chosen:

- `fixed`: set in advance by `inference.aggregation` or the config;
- `validation`: tuned on the validation split;
- `validation_per_class`: tuned on the validation split separately for each class;
- `oracle`: the single threshold with the best micro F1 on the test split itself. The oracle is an
  upper bound only for the micro F1 with a single threshold for all classes.
"""

import dataclasses
import os
import zipfile
from collections.abc import Sequence

import numpy as np

from irec_jax.errors import UserError
from irec_jax.evaluation import collapse
from irec_jax.files import atomic_write, seekable
from irec_jax.inference import aggregation as aggregations
from irec_jax.inference import thresholds
from irec_jax.metrics import confidence, multilabel
from irec_jax.remote import as_path
from irec_jax.text import plural

#: Ways to choose a threshold, in the order of the tables.
KINDS = ("fixed", "validation", "validation_per_class", "oracle")
#: Scores that compare the most probable class with the labels of single-label clips.
_ACCURACIES = ("accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A recogniser's predictions for the N clips of a split, with the labels of these clips.

    Attributes:
        ids: N clip ids.
        songs: song name of each clip; the bootstrap draws the clips of a song together.
        labels: (N, K), non-zero for the classes that are present in a clip.
        windows: N arrays of window probabilities (W_i, K), W_i >= 1.
        classes: K class names.
        contradictory: bool (N,), whether the split contains another, byte-identical clip with
            different labels.
    """

    ids: Sequence[str]
    songs: Sequence[str]
    labels: np.ndarray
    windows: Sequence[np.ndarray]
    classes: Sequence[str]
    contradictory: np.ndarray

    def __post_init__(self):
        num_clips, shape = len(self.ids), np.shape(self.labels)
        expected = (num_clips, len(self.classes))
        if not num_clips:
            raise ValueError("predictions: expected at least one clip, got no clips")
        if shape != expected:
            raise ValueError(f"labels: expected shape {expected}, got {shape}")
        for name in ("songs", "windows", "contradictory"):
            count = len(getattr(self, name))
            if count != num_clips:
                raise ValueError(f"{name}: expected one per clip ({num_clips}), got {count}")
        for clip, windows in zip(self.ids, self.windows, strict=True):
            windows = np.asarray(windows)
            if windows.ndim != 2 or not len(windows) or windows.shape[1] != shape[1]:
                raise ValueError(
                    f"{clip}: window probabilities have shape {windows.shape}; expected "
                    f"(W >= 1, {shape[1]})"
                )
            if not np.isfinite(windows).all():
                raise ValueError(f"{clip}: window probabilities contain NaN or infinite values")

    def counts(self) -> dict[str, int | float]:
        """Return clip, song, label and window statistics of the split for the report."""
        labels = np.asarray(self.labels) > 0
        return {
            "num_clips": len(self.ids),
            "num_songs": len(set(self.songs)),
            "num_labels": int(labels.sum()),
            "num_single_label_clips": int((labels.sum(1) == 1).sum()),
            "num_contradictory_clips": int(np.sum(self.contradictory)),
            "mean_labels_per_clip": float(labels.sum(1).mean()),
            "mean_windows_per_clip": float(np.mean([len(windows) for windows in self.windows])),
        }


def write_scores(folder: str | os.PathLike, **splits: Predictions) -> None:
    """Write the labels and scores of every clip to `predictions.npz`.

    The file contains ``classes`` (K,) and, for each split:

    - ``SPLIT_ids``, ``SPLIT_songs`` and ``SPLIT_contradictory``, each (N,);
    - ``SPLIT_labels``, bool (N, K);
    - ``SPLIT_scores``, the mean window probabilities, float32 (N, K);
    - ``SPLIT_windows``, the probabilities of all windows that count towards the clip scores (see
      `evaluation.max_decay_db`), clip by clip, float32 (W, K);
    - ``SPLIT_num_windows``, the number of these windows of each clip, (N,).
    """
    arrays = {"classes": np.array(next(iter(splits.values())).classes, str)}
    for name, predictions in splits.items():
        arrays[f"{name}_ids"] = np.array(predictions.ids, str)
        arrays[f"{name}_songs"] = np.array(predictions.songs, str)
        arrays[f"{name}_contradictory"] = np.asarray(predictions.contradictory, bool)
        arrays[f"{name}_labels"] = np.asarray(predictions.labels) > 0
        arrays[f"{name}_windows"] = np.concatenate(predictions.windows).astype(np.float32)
        arrays[f"{name}_num_windows"] = np.array([len(windows) for windows in predictions.windows])
        scores = aggregations.get("s1")(predictions.windows)
        arrays[f"{name}_scores"] = scores.astype(np.float32)
    with atomic_write(as_path(folder) / "predictions.npz") as path, open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_predictions(folder: str | os.PathLike, split: str) -> Predictions:
    """Read the predictions that `write_scores` wrote for a split ('test' or 'validation').

    Raises:
        UserError: the file is missing or damaged, or was written by an earlier version of irec-jax.
    """
    file = as_path(folder) / "predictions.npz"
    try:
        with np.load(seekable(file), allow_pickle=False) as arrays:
            names = ("ids", "songs", "labels", "contradictory", "windows", "num_windows")
            columns = {name: arrays[f"{split}_{name}"] for name in names}
            ends = np.cumsum(columns.pop("num_windows"))[:-1]
            columns["windows"] = np.split(columns["windows"], ends)
            return Predictions(**columns, classes=arrays["classes"].tolist())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file}: no window probabilities ({error}); evaluate again with --mode=eval"
        ) from error


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
    """Compute all scores of a recognition report, as plain dicts and lists.

    Args:
        test: predictions to score.
        validation: predictions on which thresholds are tuned, with the same classes.
        aggregation: aggregation for the main scores, a key of `aggregation.AGGREGATIONS`.
        threshold: fixed threshold for that aggregation; None selects its default.
        training_labels: (N, K), non-zero for the classes of a training clip. If given, a baseline
            that predicts the most frequent training class for every clip is scored for comparison.
        num_resamples: number of bootstrap resamples of songs for the 95 % intervals.
        seed: seed of the bootstrap.

    Returns:
        dict:

        - ``classes``: class names.
        - ``data``: the result of `Predictions.counts` for each split.
        - ``aggregation``: name of the main aggregation.
        - ``thresholds``: dict from each kind of threshold (see `KINDS`) to the scores of the main
          aggregation: ``threshold``, ``micro``, ``macro`` and ``per_class``.
        - ``aggregations``: dict from each aggregation's name to ``thresholds``, as above, and
          ``curve``, the micro and macro F1 on the test split against the threshold.
        - ``ranking``: AUC and LRAP.
        - ``predominant``: scores of the most probable class on single-label clips: accuracy and
          balanced accuracy with intervals, the chance level, the confusion matrix and, if
          training labels are given, the accuracy of always predicting the most frequent training
          class.
        - ``collapse``: result of `collapse.check`.
        - ``notes``: caveats for interpreting the scores.

        Undefined values are NaN.

    Raises:
        UserError: the aggregation is unknown.
        ValueError: the splits have different classes.
    """
    main = aggregations.get(aggregation, threshold)
    if list(test.classes) != list(validation.classes):
        raise ValueError("validation: expected the same classes as test, got different classes")
    bootstrap = {"num_resamples": num_resamples, "seed": seed}
    by_name = {
        name: _aggregation_scores(test, validation, function, bootstrap)
        for name, function in (aggregations.AGGREGATIONS | {aggregation: main}).items()
    }
    predicted = thresholds.apply(main(test.windows), main.threshold)
    return {
        "classes": list(test.classes),
        "data": {"test": test.counts(), "validation": validation.counts()},
        "aggregation": aggregation,
        "thresholds": by_name[aggregation]["thresholds"],
        "aggregations": by_name,
        "ranking": _ranking(test),
        "predominant": _predominant(test, training_labels, bootstrap),
        "collapse": collapse.check(test.labels, predicted, test.classes),
        "notes": _notes(test, validation),
    }


def compact(report: dict) -> dict:
    """Return the part of a baseline's report that is included in a model's report."""

    def part(block: dict) -> dict:
        f1 = {name: {"f1": scores["f1"]} for name, scores in block["per_class"].items()}
        return {key: block[key] for key in ("threshold", "micro", "macro")} | {"per_class": f1}

    return {
        "aggregation": report["aggregation"],
        "thresholds": {kind: part(block) for kind, block in report["thresholds"].items()},
        "ranking": {"auc": report["ranking"]["auc"], "lrap": report["ranking"]["lrap"]},
        "predominant": {name: report["predominant"][name] for name in _ACCURACIES},
    }


def _aggregation_scores(
    test: Predictions,
    validation: Predictions,
    aggregation: aggregations.Aggregation,
    bootstrap: dict[str, int],
) -> dict:
    """Return the scores for each kind of threshold, and the F1 curve over the threshold grid.

    Args:
        bootstrap: ``num_resamples`` and ``seed`` of the bootstrap.
    """
    scores, tuning = aggregation(test.windows), aggregation(validation.windows)
    # With the fixed threshold in the grid, the oracle is never worse than the fixed threshold.
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
            kind: _scores_at(test, scores, value, bootstrap) for kind, value in chosen.items()
        },
        "curve": {
            "thresholds": curve.thresholds.tolist(),
            "micro_f1": curve.micro.tolist(),
            "macro_f1": curve.macro.tolist(),
        },
    }


def _scores_at(
    test: Predictions, scores: np.ndarray, threshold: float | np.ndarray, bootstrap: dict[str, int]
) -> dict:
    """Return micro, macro and class-wise precision, recall and F1, with intervals for F1."""
    predicted = thresholds.apply(scores, threshold)
    counts = multilabel.count(test.labels, predicted)
    intervals = confidence.f1_intervals(test.labels, predicted, test.songs, **bootstrap)
    report = scores_from_counts(counts, test.classes)
    report["micro"]["f1_interval"] = intervals.micro.tolist()
    report["macro"]["f1_interval"] = intervals.macro.tolist()
    for k, block in enumerate(report["per_class"].values()):
        block |= {
            "f1_interval": intervals.per_class[:, k].tolist(),
            "num_positives": int(counts.true_positives[k] + counts.false_negatives[k]),
            "num_predicted": int(counts.true_positives[k] + counts.false_positives[k]),
        }
    by_class = dict(zip(test.classes, np.ravel(threshold).tolist(), strict=False))
    return {"threshold": by_class if np.ndim(threshold) else float(threshold), **report}


def scores_from_counts(counts: multilabel.Counts, classes: Sequence[str]) -> dict:
    """Return precision, recall and F1 as dicts: ``micro``, ``macro``, and ``per_class`` by name."""

    def block(scores: multilabel.Scores) -> dict[str, float]:
        return {name: float(value) for name, value in scores._asdict().items()}

    by_class = map(multilabel.Scores, *multilabel.by_class(counts))
    return {
        "micro": block(multilabel.micro(counts)),
        "macro": block(multilabel.macro(counts)),
        "per_class": dict(zip(classes, map(block, by_class), strict=True)),
    }


def _ranking(test: Predictions) -> dict:
    scores = aggregations.get("s1")(test.windows)
    auc = multilabel.roc_auc(test.labels, scores)
    return {
        "scores": "mean window probability, unscaled (S2 scales each clip separately, "
        "so its scores cannot be compared across clips)",
        "auc": {
            "macro": multilabel.mean_roc_auc(test.labels, scores),
            "per_class": dict(zip(test.classes, auc.tolist(), strict=True)),
        },
        "lrap": multilabel.lrap(test.labels, scores),
    }


def _predominant(
    test: Predictions, training_labels: np.ndarray | None, bootstrap: dict[str, int]
) -> dict:
    """Return accuracies and a confusion matrix for the top class of single-label clips."""
    labels = np.asarray(test.labels) > 0
    single, num_classes = labels.sum(1) == 1, len(test.classes)
    truth, songs = labels[single].argmax(1), np.asarray(test.songs)[single]
    strongest = aggregations.get("s1")(test.windows)[single].argmax(1)

    def accuracies(predicted: np.ndarray) -> dict:
        intervals = confidence.accuracy_intervals(
            truth, predicted, songs, num_classes=num_classes, **bootstrap
        )
        return {
            "accuracy": multilabel.accuracy(truth, predicted),
            "accuracy_interval": intervals.accuracy.tolist(),
            "balanced_accuracy": multilabel.balanced_accuracy(truth, predicted),
            "balanced_accuracy_interval": intervals.balanced.tolist(),
        }

    report = {
        "description": "test clips with exactly one label; rows: true class, columns: class with "
        "the highest mean probability (the first one in case of a tie)",
        "num_clips": int(single.sum()),
        "all_clips": bool(single.all()),
        **accuracies(strongest),
        "chance": 1.0 / num_classes,
        "confusion": multilabel.confusion_matrix(truth, strongest, num_classes).tolist(),
    }
    if training_labels is not None:
        majority = int((np.asarray(training_labels) > 0).sum(0).argmax())
        scores = accuracies(np.full(len(truth), majority))
        report["majority"] = {"class": test.classes[majority], **scores}
    return report


def _notes(test: Predictions, validation: Predictions) -> list[str]:
    """Return caveats for interpreting the scores."""
    notes = []
    tested, tuned = test.counts(), validation.counts()
    keys = ("mean_labels_per_clip", "mean_windows_per_clip")
    if any(abs(tested[key] - tuned[key]) > 0.1 * tested[key] for key in keys):
        notes.append(
            "Thresholds tuned on the validation split are biased because the splits differ: "
            f"validation clips have {tuned[keys[0]]:.1f} labels and {tuned[keys[1]]:.1f} windows "
            f"on average, whereas test clips have {tested[keys[0]]:.1f} and {tested[keys[1]]:.1f}."
        )
    if tested["num_contradictory_clips"]:
        count = int(tested["num_contradictory_clips"])
        notes.append(
            f"{plural(count, 'test clip is', 'test clips are')} byte-identical to clips with "
            "different labels. Each is scored with its own labels."
        )
    num_positives = (np.asarray(test.labels) > 0).sum(0)
    absent = [name for name, count in zip(test.classes, num_positives, strict=True) if not count]
    if absent:
        notes.append(
            f"Labels that no test clip has: {', '.join(absent)}. "
            "The F1 of an absent class counts as 0 in the macro average."
        )
    return notes
