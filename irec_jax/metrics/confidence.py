"""Bootstrap confidence intervals over songs.

Clips of the same song are not independent, so songs are drawn with replacement together with all
their clips (cluster bootstrap, percentile intervals). F1 and accuracy depend only on sums over
songs, so each resample can be represented by a vector of song weights. A matrix product of these
vectors with the counts per song then evaluates many resamples at a time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Shaped

from irec_jax.metrics import multilabel

#: Maximum number of song weights in memory at a time (32 MB in float64).
_MAX_WEIGHTS = 4_000_000


class AccuracyIntervals(NamedTuple):
    """Confidence intervals (lower, upper) of accuracy and balanced accuracy."""

    accuracy: Float64[np.ndarray, "2"]
    balanced: Float64[np.ndarray, "2"]


class F1Intervals(NamedTuple):
    """Confidence intervals (lower, upper) of micro, macro and class-wise F1."""

    micro: Float64[np.ndarray, "2"]
    macro: Float64[np.ndarray, "2"]
    per_class: Float64[np.ndarray, "2 classes"]


def song_weights(
    num_songs: int, *, num_resamples: int, seed: int
) -> Iterator[Float64[np.ndarray, "resamples songs"]]:
    """Draw bootstrap resamples of songs and yield them in groups.

    Args:
        num_songs: number of songs, which is also the number of draws per resample.
        num_resamples: total number of resamples.
        seed: random seed; with the same seed, two systems are scored on the same resamples.

    Yields:
        Song weights for a group of resamples: how often each song was drawn. Each row sums to the
        number of songs.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, _MAX_WEIGHTS // num_songs)
    for start in range(0, num_resamples, chunk):
        rows = min(chunk, num_resamples - start)
        drawn = generator.integers(num_songs, size=(rows, num_songs))
        drawn += num_songs * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * num_songs)
        yield weights.reshape(rows, num_songs).astype(np.float64)


def check_resampling(num_resamples: int, level: float) -> None:
    """Raise ValueError unless num_resamples is at least 1 and level is between 0 and 1."""
    if num_resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"num_resamples={num_resamples}, level={level}: expected at least one resample and a "
            "level between 0 and 1"
        )


def f1_intervals(
    labels: Shaped[np.ndarray, "clips classes"],
    predictions: Shaped[np.ndarray, "..."],
    songs: Sequence[str] | Shaped[np.ndarray, "..."],
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> F1Intervals:
    """Return confidence intervals of micro, macro and class-wise F1, bootstrapped over songs.

    Args:
        labels: non-zero for positive labels.
        predictions: array of the same shape, non-zero for predicted labels.
        songs: song name of each clip; clips of the same song are drawn together.
        num_resamples: number of bootstrap resamples.
        level: confidence level of the intervals.
        seed: random seed.

    Returns:
        Percentile intervals; NaN if there are fewer than two songs.

    Raises:
        ValueError: the shapes do not match, num_resamples is below 1, or level is not between 0
            and 1.
    """
    labels, predictions = np.asarray(labels) > 0, np.asarray(predictions) > 0
    if labels.shape != predictions.shape or labels.ndim != 2 or len(labels) != len(songs):
        raise ValueError(
            f"labels {labels.shape}, predictions {predictions.shape} and songs ({len(songs)},) "
            "do not match: expected (N, K), (N, K) and (N,)"
        )
    multilabel.check_labels(labels)
    check_resampling(num_resamples, level)
    cells = labels & predictions, ~labels & predictions, labels & ~predictions
    clip_counts = np.concatenate(cells, axis=1)
    totals = _resampled(clip_counts, songs, num_resamples=num_resamples, seed=seed)
    if totals is None:
        return F1Intervals(*(np.full(shape, np.nan) for shape in (2, 2, (2, labels.shape[1]))))
    counts = multilabel.Counts(*np.split(totals, 3, axis=1))
    averages = multilabel.micro, multilabel.macro, multilabel.by_class
    return F1Intervals(*(_interval(average(counts).f1, level) for average in averages))


def accuracy_intervals(
    labels: Int[np.ndarray, " clips"],
    predictions: Int[np.ndarray, "..."],
    songs: Sequence[str] | Shaped[np.ndarray, "..."],
    *,
    num_classes: int,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> AccuracyIntervals:
    """Return confidence intervals of accuracy and balanced accuracy, bootstrapped over songs.

    The balanced accuracy of a resample is the mean recall of the classes that occur in it.

    Args:
        labels: class index of each clip.
        predictions: predicted class index of each clip.
        songs, num_resamples, level, seed: as in `f1_intervals`.
        num_classes: number of classes.

    Returns:
        Percentile intervals; NaN if there are fewer than two songs.

    Raises:
        ValueError: as for `f1_intervals`, or a class index is outside 0..num_classes - 1.
    """
    labels, predictions = multilabel.check_indices(labels, predictions, num_classes)
    if len(labels) != len(songs):
        raise ValueError(f"labels {labels.shape} and songs ({len(songs)},) do not match")
    check_resampling(num_resamples, level)
    truth = np.eye(num_classes, dtype=bool)[labels]
    hits = truth & (labels == predictions)[:, None]
    clip_counts = np.concatenate([hits, truth], axis=1)
    totals = _resampled(clip_counts, songs, num_resamples=num_resamples, seed=seed)
    if totals is None:
        return AccuracyIntervals(np.full(2, np.nan), np.full(2, np.nan))
    num_hits, num_clips = np.split(totals, 2, axis=1)
    recall = num_hits / np.maximum(num_clips, 1)
    return AccuracyIntervals(
        _interval(num_hits.sum(1) / num_clips.sum(1), level),
        _interval(recall.sum(1) / (num_clips > 0).sum(1), level),
    )


def _interval(resampled: np.ndarray, level: float) -> np.ndarray:
    """Return the lower and upper percentiles over the first axis: (2, ...)."""
    return np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)


def _resampled(
    counts: np.ndarray, songs: Sequence[str] | np.ndarray, *, num_resamples: int, seed: int
) -> np.ndarray | None:
    """Return the total counts of each resample, float64 (resamples, F).

    ``counts`` (N, F) holds F counts per clip. The result is None if there are fewer than two songs.
    """
    names, song = np.unique(np.asarray(songs, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    song_counts = np.zeros((len(names), counts.shape[1]))
    np.add.at(song_counts, song, counts)
    # Products of integers are exact in float64.
    chunks = song_weights(len(names), num_resamples=num_resamples, seed=seed)
    return np.concatenate([weights @ song_counts for weights in chunks])
