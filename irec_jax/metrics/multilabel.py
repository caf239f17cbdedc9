"""Multi-label metrics: precision, recall, F1, ROC AUC and label ranking average precision.

**Division by zero.** A ratio whose denominator is zero counts as 0: the precision of a class that
is never predicted, the recall of a class without positives, and the F1 of a class that is neither
present nor predicted. Such a class remains in the macro mean (as with scikit-learn's
`zero_division=0`), so a macro score over a split that lacks a class cannot reach 1. Macro F1 is the
mean of the F1 scores of the classes (Han et al. 2017, equation 5 onwards), not the harmonic mean of
macro precision and macro recall. The ROC AUC of a class without positives or without negatives is
NaN and is excluded from the macro mean.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Num, Shaped
from numpy.typing import ArrayLike

#: Labels with more classes than this, and with fewer clips than classes, are assumed to be
#: transposed. The limit is higher than the number of bird species.
_MAX_CLASSES = 20_000
#: Maximum number of score comparisons that `lrap` holds in memory at a time.
_MAX_COMPARISONS = 2**26


class Counts(NamedTuple):
    """True positive, false positive and false negative counts; floats if songs are weighted."""

    true_positives: Num[np.ndarray, "... classes"]
    false_positives: Num[np.ndarray, "... classes"]
    false_negatives: Num[np.ndarray, "... classes"]


class Scores(NamedTuple):
    """Precision, recall and F1, 0..1; averages over classes have no class axis."""

    precision: Float64[np.ndarray, "..."]
    recall: Float64[np.ndarray, "..."]
    f1: Float64[np.ndarray, "..."]


def _check_same_shape(first: str, a: np.ndarray, second: str, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"{first} {a.shape} and {second} {b.shape} differ in shape")


def check_labels(labels: Shaped[np.ndarray, "..."]) -> None:
    """Raise ValueError unless labels have shape (N, K) for N clips and K classes.

    An array with more than 20,000 classes and fewer clips than classes is assumed to be transposed.
    """
    if labels.ndim != 2 or labels.shape[1] > max(len(labels), _MAX_CLASSES):
        raise ValueError(f"labels have shape {labels.shape}; expected (N, K), clips by classes")


def _check_matrix(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels) > 0, np.asarray(scores, np.float64)
    _check_same_shape("labels", labels, "scores", scores)
    check_labels(labels)
    if not np.isfinite(scores).all():
        raise ValueError("scores contain NaN or infinite values, which cannot be ranked")
    return labels, scores


def count(
    labels: Shaped[np.ndarray, "... clips classes"], predictions: Shaped[np.ndarray, "..."]
) -> Counts:
    """Count true positives, false positives and false negatives per class.

    Args:
        labels: non-zero for positive labels.
        predictions: array of the same shape, non-zero for predicted labels.

    Returns:
        Counts summed over the clips, int64.
    """
    labels, predictions = np.asarray(labels) > 0, np.asarray(predictions) > 0
    _check_same_shape("labels", labels, "predictions", predictions)
    if labels.ndim < 2:
        raise ValueError(f"labels have shape {labels.shape}; expected (..., N, K)")
    cells = labels & predictions, ~labels & predictions, labels & ~predictions
    return Counts(*(cell.sum(-2) for cell in cells))


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Return numerator / denominator in float64; 0 if the denominator is 0."""
    denominator = np.asarray(denominator, np.float64)
    out = np.zeros(denominator.shape)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def by_class(counts: Counts) -> Scores:
    """Return precision, recall and F1 of each class."""
    tp, fp, fn = counts
    return Scores(_ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn))


def micro(counts: Counts) -> Scores:
    """Return micro-averaged precision, recall and F1, which give frequent classes more weight."""
    return by_class(Counts(*(np.asarray(c).sum(-1) for c in counts)))


def macro(counts: Counts) -> Scores:
    """Return macro-averaged precision, recall and F1, which weight all classes equally."""
    return Scores(*(score.mean(-1) for score in by_class(counts)))


def roc_auc(
    labels: Shaped[np.ndarray, "clips classes"], scores: Float[np.ndarray, "clips classes"]
) -> Float64[np.ndarray, " classes"]:
    """Return the area under the ROC curve of each class.

    The area is the normalised Mann-Whitney statistic, computed from ranks; ties count one half. It
    equals scikit-learn's `roc_auc_score` but is computed 5 times faster (6,000 examples and
    11 classes: 0.12 s instead of 0.64 s).

    Args:
        labels: non-zero for positive labels.
        scores: finite scores, comparable across the clips of a class.

    Returns:
        Areas in 0..1; NaN for a class without positives or without negatives.
    """
    from scipy.stats import rankdata  # slow to import and not needed for prediction

    labels, scores = _check_matrix(labels, scores)
    num_positive = labels.sum(0)
    num_pairs = num_positive * (len(labels) - num_positive)
    if not labels.size:
        return np.full(labels.shape[1], np.nan)
    rank_sum = np.where(labels, rankdata(scores, axis=0), 0.0).sum(0)
    wins = rank_sum - num_positive * (num_positive + 1) / 2
    return np.where(num_pairs > 0, wins / np.maximum(num_pairs, 1), np.nan)


def mean_roc_auc(
    labels: Shaped[np.ndarray, "clips classes"], scores: Float[np.ndarray, "clips classes"]
) -> float:
    """Return the mean ROC AUC over the classes with a defined AUC; NaN if there are none."""
    areas = roc_auc(labels, scores)
    defined = ~np.isnan(areas)
    return float(areas[defined].mean()) if defined.any() else float("nan")


def lrap(
    labels: Shaped[np.ndarray, "clips classes"], scores: Float[np.ndarray, "clips classes"]
) -> float:
    """Return the label ranking average precision, in 0..1.

    The precision at a positive label of a clip is the fraction of positive labels among the classes
    that score at least as high. It is averaged over the positive labels of a clip and then over the
    clips. A clip whose labels are all positive or all negative scores 1. Without clips, the
    result is NaN. The value equals scikit-learn's `label_ranking_average_precision_score`, which is
    100 times slower.

    Args:
        labels: non-zero for positive labels.
        scores: finite scores, comparable across the classes of a clip.
    """
    labels, scores = _check_matrix(labels, scores)
    if not len(labels):
        return float("nan")
    num_clips = max(1, _MAX_COMPARISONS // max(1, labels.shape[1] ** 2))
    groups = (slice(i, i + num_clips) for i in range(0, len(labels), num_clips))
    return float(np.concatenate([_lrap(labels[group], scores[group]) for group in groups]).mean())


def _lrap(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the label ranking average precision of each clip."""
    as_high = scores[:, None, :] >= scores[:, :, None]  # (N, label, other class)
    precision = (as_high & labels[:, None, :]).sum(-1) / as_high.sum(-1)
    num_labels = labels.sum(-1)
    mean = _ratio((precision * labels).sum(-1), num_labels)
    trivial = (num_labels == 0) | (num_labels == labels.shape[1])
    return np.where(trivial, 1.0, mean)


def check_indices(
    labels: Shaped[np.ndarray, "..."],
    predictions: Shaped[np.ndarray, "..."],
    num_classes: int | None = None,
) -> tuple[Shaped[np.ndarray, " clips"], Shaped[np.ndarray, " clips"]]:
    """Validate class indices and return them as arrays.

    Raises:
        ValueError: the shapes are not both (N,), or an index is outside 0..num_classes - 1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    _check_same_shape("labels", labels, "predictions", predictions)
    if labels.ndim != 1:
        raise ValueError(f"labels have shape {labels.shape}; expected (N,), a class index per clip")
    if num_classes is None:
        return labels, predictions
    labels, predictions = labels.astype(np.int64), predictions.astype(np.int64)
    for name, indices in {"labels": labels, "predictions": predictions}.items():
        if indices.size and not 0 <= indices.min() <= indices.max() < num_classes:
            raise ValueError(
                f"{name} range from {indices.min()} to {indices.max()}; expected class indices "
                f"from 0 to {num_classes - 1}"
            )
    return labels, predictions


def accuracy(labels: Int[np.ndarray, " clips"], predictions: Int[np.ndarray, " clips"]) -> float:
    """Return the fraction of correctly predicted class indices; NaN if there are no clips."""
    labels, predictions = check_indices(labels, predictions)
    return float((labels == predictions).mean()) if labels.size else float("nan")


def balanced_accuracy(
    labels: Int[np.ndarray, " clips"], predictions: Int[np.ndarray, " clips"]
) -> float:
    """Return the mean recall of the classes that occur in the labels; NaN if there are no clips.

    Labels and predictions are class indices.
    """
    labels, predictions = check_indices(labels, predictions)
    if not labels.size:
        return float("nan")
    is_correct = labels == predictions
    return float(np.mean([is_correct[labels == label].mean() for label in np.unique(labels)]))


def confusion_matrix(
    labels: Int[np.ndarray, " clips"], predictions: Int[np.ndarray, " clips"], num_classes: int
) -> Int64[np.ndarray, "{num_classes} {num_classes}"]:
    """Return the confusion matrix: entry (i, j) is the number of clips of class i predicted as j.

    Labels and predictions are class indices from 0 to num_classes - 1.
    """
    labels, predictions = check_indices(labels, predictions, num_classes)
    flat = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)
