"""Scores of instances by piece and class, averaged over pieces and then over classes.

Seipel (2018, section 4.4.2) computes precision, recall, F1 and AUC of each class within each piece,
so that long pieces weigh no more than short ones. A score that is not defined in a piece is left
out of the mean of its class and counted:

- recall and F1 of a class that never plays in the piece;
- precision of such a class if it was not predicted either; if it was, its precision is 0;
- AUC of a class that never plays or that always plays in the piece.

A class that plays but is never predicted has precision 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped
from numpy.typing import ArrayLike

from irec_jax.evaluation.recognition import Predictions
from irec_jax.inference import aggregation
from irec_jax.inference.thresholds import apply as apply_threshold
from irec_jax.metrics import multilabel
from irec_jax.metrics.confidence import check_resampling, song_weights
from irec_jax.metrics.significance import defined_interval, defined_mean

SCORES = ("precision", "recall", "f1", "auc")


def piece_scores(
    labels: Shaped[np.ndarray, "instances classes"],
    scores: Float[np.ndarray, "..."],
    pieces: Sequence[str],
    classes: Sequence[str],
    *,
    threshold: float | Float[np.ndarray, " classes"] = 0.5,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict:
    """Return the scores of a recogniser, averaged over pieces and then over classes.

    Args:
        labels: (N, K), non-zero for the classes that play in an instance.
        scores: (N, K), finite.
        pieces: N names; instances with equal names belong to one piece.
        classes: K names.
        threshold: scores at or above it are predictions; one for all classes or one per class.
        num_resamples: bootstrap resamples of pieces.
        level: coverage of the intervals.
        seed: random seed.

    Returns:
        dict: ``num_pieces`` in all; ``macro``, the mean over the classes; ``per_class`` by name.
        Each of them has `SCORES`, ``NAME_interval`` for each, and per class the dicts
        ``num_pieces`` and ``num_left_out``: the number of pieces in which each score is defined and
        in which it is not. NaN if no piece has the score, or for intervals with fewer than two
        pieces. A resample without the score is left out of its interval.

    Raises:
        ValueError: shapes that do not match, or scores that are not finite.
    """
    check_resampling(num_resamples, level)
    names, piece = _group(labels, pieces, classes)
    table = _score_pieces(labels, scores, piece, threshold)
    resampled = _resample(table, num_resamples=num_resamples, seed=seed)
    report = _describe(defined_mean(table), resampled, classes, level)
    num_defined = (~np.isnan(table)).sum(-1)
    for block, defined in zip(report["per_class"].values(), num_defined.T.tolist(), strict=True):
        block["num_pieces"] = dict(zip(SCORES, defined, strict=True))
        block["num_left_out"] = {
            score: len(names) - count for score, count in block["num_pieces"].items()
        }
    return {"num_pieces": len(names), **report}


def frame_scores(
    scores: Float[np.ndarray, "instances classes"],
    pieces: Sequence[str],
    classes: Sequence[str],
    frame_labels: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    frames_per_instance: float,
    threshold: float = 0.5,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict:
    """Return the scores of a recogniser in every frame of the pieces.

    The scores of a frame are those of the instance in which it begins. Systems with instances of
    different lengths have the same labels here, so their scores can be compared.

    Args:
        scores: (N, K), finite.
        pieces: N names; the instances of a piece follow one another from its beginning on.
        classes: K names.
        frame_labels: labels (F, K) of the frames of each piece, non-zero for classes that play.
        frames_per_instance: length of an instance, at least 1.
        threshold, num_resamples, level, seed: as for `piece_scores`.

    Returns:
        dict as of `piece_scores`, with ``num_frames`` and ``micro``: ``precision``, ``recall`` and
        ``f1`` of all frames together.

    Raises:
        ValueError: as for `piece_scores`; a piece without frame labels.
    """
    names, piece = _group(scores, pieces, classes, "scores")
    labels, predicted, of_frame = [], [], []
    for index, name in enumerate(names):
        if name not in frame_labels:
            raise ValueError(f"frame_labels: expected labels of {name!r}")
        own, instances = frame_labels[name], scores[piece == index]
        instance = (np.arange(len(own)) / frames_per_instance).astype(int)
        labels.append(own)
        predicted.append(instances[np.minimum(instance, len(instances) - 1)])
        of_frame += [name] * len(own)
    all_labels, all_scores = np.concatenate(labels), np.concatenate(predicted)
    micro = multilabel.micro(multilabel.count(all_labels, apply_threshold(all_scores, threshold)))
    options: dict[str, Any] = {"num_resamples": num_resamples, "level": level, "seed": seed}
    report = piece_scores(all_labels, all_scores, of_frame, classes, threshold=threshold, **options)
    micro_scores = {name: float(score) for name, score in micro._asdict().items()}
    return {"num_frames": len(of_frame), "micro": micro_scores, **report}


def paired_difference(
    labels: Shaped[np.ndarray, "instances classes"],
    first: Float[np.ndarray, "..."],
    second: Float[np.ndarray, "..."],
    pieces: Sequence[str],
    classes: Sequence[str],
    *,
    thresholds: tuple[float | np.ndarray, float | np.ndarray] = (0.5, 0.5),
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict:
    """Return the scores of a first system minus those of a second one, on the same instances.

    Both are scored on the same resamples of pieces, so that the difficulty of pieces cancels.

    Args:
        first, second: scores (N, K) of the two systems.
        thresholds: threshold of each, as for `piece_scores`.
        labels, pieces, classes, num_resamples, level, seed: as for `piece_scores`.

    Returns:
        dict as of `piece_scores` with differences and their intervals, without the numbers of
        pieces. The mean over classes includes those for which both systems have the score.

    Raises:
        ValueError: as for `piece_scores`.
    """
    check_resampling(num_resamples, level)
    _, piece = _group(labels, pieces, classes)
    systems = zip((first, second), thresholds, strict=True)
    tables = [_score_pieces(labels, scores, piece, threshold) for scores, threshold in systems]
    means = [defined_mean(table) for table in tables]
    resampled = [_resample(table, num_resamples=num_resamples, seed=seed) for table in tables]
    return _describe(means[0] - means[1], resampled[0] - resampled[1], classes, level)


def evaluate(
    test: Predictions,
    baselines: Mapping[str, Predictions],
    *,
    threshold: float = 0.5,
    frame_labels: Mapping[str, Shaped[np.ndarray, "..."]] | None = None,
    frames_per_instance: float = 1.0,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Return the entry ``pieces`` of a recognition report.

    The songs of the predictions are the pieces. Several windows of an instance are averaged.

    Returns:
        dict: ``threshold``; ``model`` and ``baselines`` by name, results of `piece_scores`;
        ``differences``, the model minus each baseline, results of `paired_difference`; and
        ``frames``, if there are labels of frames: ``model`` and ``baselines``, results of
        `frame_scores`.
    """
    options: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
    data: dict[str, Any] = {"pieces": test.songs, "classes": test.classes}
    mean = aggregation.get("s1")
    scores = {name: mean(baseline.windows) for name, baseline in baselines.items()}
    model = mean(test.windows)

    def of_system(scores: np.ndarray) -> dict:
        return piece_scores(test.labels, scores, **data, threshold=threshold, **options)

    def from_baseline(scores: np.ndarray) -> dict:
        both = (threshold, threshold)
        return paired_difference(test.labels, model, scores, **data, thresholds=both, **options)

    def in_frames(scores: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict:
        per_instance: dict[str, Any] = {"frames_per_instance": frames_per_instance}
        settings = {**options, **per_instance, "threshold": threshold}
        return frame_scores(scores, test.songs, test.classes, labels, **settings)

    entry = {
        "threshold": threshold,
        "model": of_system(model),
        "baselines": {name: of_system(values) for name, values in scores.items()},
        "differences": {name: from_baseline(values) for name, values in scores.items()},
    }
    if frame_labels is not None:
        entry["frames"] = {
            "model": in_frames(model, frame_labels),
            "baselines": {name: in_frames(s, frame_labels) for name, s in scores.items()},
        }
    return entry


def _group(
    values: np.ndarray, pieces: Sequence[str], classes: Sequence[str], kind: str = "labels"
) -> tuple[list[str], Int[np.ndarray, " instances"]]:
    """Return the names of the pieces, sorted, and the index of the piece of each instance."""
    expected = (len(pieces), len(classes))
    if np.shape(values) != expected or not len(pieces):
        raise ValueError(
            f"{kind}: expected (instances, classes) = {expected} with at least one instance, got "
            f"{np.shape(values)}"
        )
    names, piece = np.unique(np.asarray(pieces, dtype=str), return_inverse=True)
    return names.tolist(), piece


def _score_pieces(
    labels: ArrayLike, scores: ArrayLike, piece: np.ndarray, threshold: float | np.ndarray
) -> Float64[np.ndarray, "scores classes pieces"]:
    """Return `SCORES` of each class in each piece, NaN where a score is not defined."""
    labels, scores = np.asarray(labels) > 0, np.asarray(scores)
    if scores.shape != labels.shape:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} differ in shape")
    predicted = apply_threshold(scores, threshold)
    columns = []
    for index in range(piece.max() + 1):
        inside = piece == index
        counts = multilabel.count(labels[inside], predicted[inside])
        precision, recall, f1 = multilabel.by_class(counts)
        plays = labels[inside].any(0)
        columns.append(
            [
                np.where(plays | predicted[inside].any(0), precision, np.nan),
                np.where(plays, recall, np.nan),
                np.where(plays, f1, np.nan),
                multilabel.roc_auc(labels[inside], scores[inside]),
            ]
        )
    return np.stack(columns, axis=-1)


def _resample(
    table: Float64[np.ndarray, "scores classes pieces"], *, num_resamples: int, seed: int
) -> Float64[np.ndarray, "resamples scores classes"]:
    """Return the means over the pieces of each resample; NaN where no drawn piece has a score."""
    *shape, num_pieces = table.shape
    if num_pieces < 2:
        return np.full((1, *shape), np.nan)
    flat = table.reshape(-1, num_pieces).T
    defined = ~np.isnan(flat)
    means = []
    for weights in song_weights(num_pieces, num_resamples=num_resamples, seed=seed):
        num_defined = weights @ defined
        totals = weights @ np.where(defined, flat, 0.0)
        empty = num_defined == 0
        means.append(np.where(empty, np.nan, totals / np.where(empty, 1, num_defined)))
    return np.concatenate(means).reshape(-1, *shape)


def _describe(
    means: Float64[np.ndarray, "scores classes"],
    resampled: Float64[np.ndarray, "resamples scores classes"],
    classes: Sequence[str],
    level: float,
) -> dict:
    """Return ``macro`` and ``per_class`` values of `SCORES` with intervals."""

    def block(values: np.ndarray, resampled: np.ndarray) -> dict:
        intervals = defined_interval(resampled, level).tolist()
        names = [f"{score}_interval" for score in SCORES]
        return dict(zip(SCORES, values.tolist(), strict=True)) | dict(
            zip(names, intervals, strict=True)
        )

    return {
        "macro": block(defined_mean(means), defined_mean(resampled)),
        "per_class": {
            name: block(means[:, k], resampled[:, :, k]) for k, name in enumerate(classes)
        },
    }
