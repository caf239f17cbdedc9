"""Scores by piece and class, averaged over pieces and then over classes.

Seipel (2018, section 4.4.2) computes the precision, recall, F1 and AUC of each class within each
piece, so that long pieces have no more weight than short ones. A score that is undefined in a piece
is excluded from the mean of its class, and the number of such pieces is reported:

- Recall and F1 are undefined for a class that never plays in the piece.
- Precision is undefined for a class that never plays and is never predicted. It is 0 for a class
  that either plays or is predicted, but not both.
- AUC is undefined for a class that never plays or always plays in the piece.
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
    """Return a recogniser's scores, averaged over pieces and then over classes.

    Args:
        labels: (N, K), non-zero for the classes that play in an instance.
        scores: (N, K), finite scores of the instances.
        pieces: piece name of each of the N instances.
        classes: K class names.
        threshold: minimum score of a predicted class; one value for all classes or one per class.
        num_resamples: number of bootstrap resamples of pieces.
        level: confidence level of the intervals.
        seed: random seed.

    Returns:
        dict:

        - ``num_pieces``: total number of pieces.
        - ``macro``: the mean of each score in `SCORES` over the classes, with a ``NAME_interval``
          for each score.
        - ``per_class``: for each class name, the same entries for the class alone, and the dicts
          ``num_pieces`` and ``num_left_out``, the numbers of pieces in which each score is defined
          and undefined.

        Scores that are undefined in every piece are NaN, as are intervals if there are fewer than
        two pieces. Resamples in which a score is undefined are excluded from its interval.

    Raises:
        ValueError: the shapes do not match, or scores are not finite.
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
    """Return a recogniser's scores per frame instead of per instance.

    Each frame takes the scores of the instance in which it begins. The frame labels do not depend
    on the length of an instance, so systems with instances of different lengths can be compared.

    Args:
        scores: (N, K), finite scores of the instances.
        pieces: piece name of each instance; the instances of a piece must be in temporal order and
            start at the beginning of the piece.
        classes: K class names.
        frame_labels: frame labels (F, K) by piece name, non-zero for classes that play.
        frames_per_instance: length of an instance in frames, at least 1.
        threshold, num_resamples, level, seed: as for `piece_scores`.

    Returns:
        dict: the entries that `piece_scores` returns, ``num_frames``, and ``micro`` with the
        ``precision``, ``recall`` and ``f1`` over all frames.

    Raises:
        ValueError: as for `piece_scores`, or a piece has no frame labels.
    """
    names, piece = _group(scores, pieces, classes, "scores")
    labels, predicted, of_frame = [], [], []
    for index, name in enumerate(names):
        if name not in frame_labels:
            raise ValueError(f"frame_labels: expected labels for the piece {name!r}")
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
    """Return the score differences between two systems on the same instances, first minus second.

    Both systems are scored on the same resamples of pieces, so that differences in difficulty
    between pieces cancel out.

    Args:
        first, second: scores (N, K) of the two systems.
        thresholds: thresholds of the two systems, as for `piece_scores`.
        labels, pieces, classes, num_resamples, level, seed: as for `piece_scores`.

    Returns:
        dict: the differences and their intervals, with the same entries as the result of
        `piece_scores` except for the numbers of pieces. The means include only the classes for
        which the score of both systems is defined.

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
    """Return the ``pieces`` entry of a recognition report.

    The predictions' ``songs`` serve as pieces, and scores are averaged over an instance's windows.

    Returns:
        dict:

        - ``threshold``: the given threshold.
        - ``model``: result of `piece_scores` for the model.
        - ``baselines``: result of `piece_scores` for each baseline, by name.
        - ``differences``: result of `paired_difference` between the model and each baseline, by
          name.
        - ``frames``, if there are frame labels: ``model`` and ``baselines`` as above, but with
          results of `frame_scores`.
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
    """Return the sorted piece names, and the piece index of each instance."""
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
    """Return the `SCORES` of each class in each piece; undefined scores are NaN."""
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
    """Return the mean scores of each resample; scores undefined in all drawn pieces are NaN."""
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
    """Return the ``macro`` and ``per_class`` entries: the `SCORES` and their intervals."""

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
