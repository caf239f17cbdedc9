"""Whether one system is better than another: t-tests over tracks, AUC with errors, bootstrap.

Ligtenberg (2022) compares 50 scores with 50 others of the same tracks by a test for independent
samples (`independent_t_test`), and areas under ROC curves by `d_score`, from standard errors that
know nothing of songs. `paired_t_test` and `auc_bootstrap` ask the same of pairs: of scores of the
same track, and of classifiers of the same clips, songs drawn together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from irec_jax.metrics.confidence import song_weights


class TTest(NamedTuple):
    """A two-sided t-test of whether the mean of `first` differs from that of `second`.

    Attributes:
        difference: mean of first - mean of second.
        interval: its ends at the given level, float64 (2,).
        t: the statistic.
        df: degrees of freedom; not whole for Welch's test.
        p_value: of so large a statistic, or a larger one, without a difference.
    """

    difference: float
    interval: np.ndarray
    t: float
    df: float
    p_value: float


def independent_t_test(
    first: np.ndarray, second: np.ndarray, *, equal_variances: bool = True, level: float = 0.95
) -> TTest:
    """Student's t-test for independent samples, or Welch's.

    t = (m1 - m2) / sqrt(v1 / n1 + v2 / n2), for equal variances with the pooled one for both and
    n1 + n2 - 2 degrees of freedom, else with those of Welch and Satterthwaite. Scores of the same
    tracks are no independent samples: their pairs tell more (`paired_t_test`).

    Args:
        first: (n1,) finite scores.
        second: (n2,) finite scores.
        equal_variances: Student's; Welch's otherwise.
        level: of the interval.

    Returns:
        All but ``difference`` are NaN with fewer than two scores on a side, or where no score
        differs from the others of its side.

    Raises:
        ValueError: another shape, or scores that are not finite.
    """
    first, second = _check_scores("first", first), _check_scores("second", second)
    sizes = np.array([len(first), len(second)])
    difference = float(first.mean() - second.mean())
    if sizes.min() < 2:
        return _undefined(difference)
    squares = np.array([first.var(ddof=1), second.var(ddof=1)]) / sizes
    df = float(sizes.sum() - 2)
    if equal_variances:
        pooled = (squares * sizes) @ (sizes - 1) / df
        squares = pooled / sizes
    elif squares.any():
        df = float(squares.sum() ** 2 / (squares**2 / (sizes - 1)).sum())
    return _t_test(difference, float(np.sqrt(squares.sum())), df, level)


def paired_t_test(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> TTest:
    """Student's t-test of pairs: t = m / (s / sqrt(n)) of the n differences, n - 1 degrees.

    Args:
        first: (n,) finite scores.
        second: (n,) scores of the same tracks, in the same order.
        level: of the interval.

    Returns:
        All but ``difference`` are NaN with fewer than two pairs, or where all differ alike.

    Raises:
        ValueError: shapes that differ, or scores that are not finite.
    """
    first, second = _check_scores("first", first), _check_scores("second", second)
    if first.shape != second.shape:
        raise ValueError(f"first {first.shape} and second {second.shape} are no pairs")
    differences = first - second
    if len(differences) < 2:
        return _undefined(float(differences.mean()))
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    return _t_test(float(differences.mean()), error, float(len(differences) - 1), level)


def auc_standard_error(
    auc: np.ndarray, num_positives: np.ndarray, num_negatives: np.ndarray
) -> np.ndarray:
    """Standard error of an area A under a ROC curve (Hanley and McNeil 1982, equations 1 and 2).

    sqrt((A (1 - A) + (n1 - 1) (Q1 - A^2) + (n0 - 1) (Q2 - A^2)) / (n1 n0)) with Q1 = A / (2 - A)
    and Q2 = 2 A^2 / (1 + A), which holds for scores that are exponentially distributed. A 95 %
    interval is A ± 1.96 SE. Clips of one song count as if they were independent.

    Args:
        auc: A in 0..1, any shape.
        num_positives: n1, of a shape that fits.
        num_negatives: n0.

    Returns:
        float64; NaN where A is, or where there are no positives or no negatives.

    References:
        Hanley, McNeil (1982): The meaning and use of the area under a receiver operating
        characteristic (ROC) curve. Radiology 143(1).
    """
    area, positives, negatives = np.broadcast_arrays(
        *(np.asarray(one, np.float64) for one in (auc, num_positives, num_negatives))
    )
    if ((area < 0) | (area > 1)).any():
        raise ValueError("auc must lie within 0..1")
    both_positive, both_negative = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance = variance + (positives - 1) * (both_positive - area**2)
    variance = variance + (negatives - 1) * (both_negative - area**2)
    pairs = positives * negatives
    found = np.sqrt(np.maximum(variance, 0) / np.where(pairs > 0, pairs, 1))
    return np.where(pairs > 0, found, np.nan)


def mean_standard_error(errors: np.ndarray) -> float:
    """Standard error of a mean of K areas as if they were independent: sqrt(sum SE^2) / K.

    They are not, being of the same clips. Classes without an error (NaN) are left out.
    """
    errors = np.asarray(errors, np.float64)
    defined = errors[~np.isnan(errors)]
    return float(np.sqrt((defined**2).sum()) / len(defined)) if len(defined) else float("nan")


def d_score(
    first: np.ndarray, first_error: np.ndarray, second: np.ndarray, second_error: np.ndarray
) -> np.ndarray:
    """D = x1 - (x2 + SE1 + SE2) of Ligtenberg (2022): above 0, the first is taken to be better.

    Stricter than a difference of one standard error, sqrt(SE1^2 + SE2^2), and less strict than the
    usual 1.96 of them.
    """
    first, first_error, second, second_error = (
        np.asarray(one, np.float64) for one in (first, first_error, second, second_error)
    )
    return first - (second + first_error + second_error)


class AucBootstrap(NamedTuple):
    """Areas of S systems and K classes, and of what each has more than the first system.

    Intervals are percentiles of the resamples, their ends along the last axis.

    Attributes:
        macro: (S,).
        macro_intervals: (S, 2).
        differences: (S,) of macro areas, system s - system 0; the first is 0.
        difference_intervals: (S, 2).
        share_better: (S,) share of the resamples where the macro area of system s is above that of
            system 0; equal ones count one half.
        class_differences: (S, K).
        class_difference_intervals: (S, K, 2).
        num_undefined: (K,) resamples without positives or without negatives of the class.
    """

    macro: np.ndarray
    macro_intervals: np.ndarray
    differences: np.ndarray
    difference_intervals: np.ndarray
    share_better: np.ndarray
    class_differences: np.ndarray
    class_difference_intervals: np.ndarray
    num_undefined: np.ndarray


def auc_bootstrap(
    labels: np.ndarray,
    scores: np.ndarray,
    songs: Sequence[str],
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> AucBootstrap:
    """Paired bootstrap of areas under ROC curves over songs.

    Songs are drawn with replacement, all clips of a song come along, and every system is scored on
    the same draws: what makes some songs harder for all systems cancels in the differences.

    Args:
        labels: (N, K), non-zero where the class is there.
        scores: (S, N, K), finite; the first system is the one the others are compared with.
        songs: N song names; equal names are drawn together.
        num_resamples: bootstrap resamples.
        level: coverage of the intervals.
        seed: of the draws.

    Returns:
        See `AucBootstrap`. A class that has no positives or no negatives in a resample has no area
        there: that resample is left out of the class's interval, and its macro area is the mean
        over the other classes, the same for all systems. Intervals and shares are NaN with fewer
        than two songs; for a class without any area, and for the macro area without such a class.

    Raises:
        ValueError: shapes that do not fit, or scores that are not finite.
    """
    labels, scores = np.asarray(labels) > 0, np.asarray(scores, np.float64)
    if scores.ndim != 3 or scores.shape[1:] != labels.shape or len(labels) != len(songs):
        raise ValueError(
            f"labels {labels.shape}, scores {scores.shape} and songs ({len(songs)},) do not fit: "
            "(N, K), (S, N, K), (N,) expected"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinite values, which have no rank")
    names, song = np.unique(np.asarray(songs, dtype=str), return_inverse=True)
    found = _weighted_auc(labels, scores, np.ones((1, len(labels))))[0]
    resamples = [np.full((1, *found.shape), np.nan)]  # for fewer than two songs
    if len(names) > 1:
        chunks = song_weights(len(names), num_resamples=num_resamples, seed=seed)
        resamples = [_weighted_auc(labels, scores, weights[:, song]) for weights in chunks]
    resampled = np.concatenate(resamples)  # (R, S, K)
    macro, macros = _defined_mean(found), _defined_mean(resampled)
    more = macros - macros[:, :1]
    better = np.where(np.isnan(more), np.nan, (np.sign(more) + 1) / 2)
    return AucBootstrap(
        macro=macro,
        macro_intervals=_interval(macros, level),
        differences=macro - macro[:1],
        difference_intervals=_interval(more, level),
        share_better=_defined_mean(better.T),
        class_differences=found - found[:1],
        class_difference_intervals=_interval(resampled - resampled[:, :1], level),
        num_undefined=np.isnan(resampled[:, 0]).sum(0)
        if len(names) > 1
        else np.zeros(labels.shape[1], int),
    )


def _weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas (R, S, K) where clip n counts weights[r, n] times; NaN where they are not defined.

    In the order of the scores, each positive wins over the negatives before it, and half over those
    that tie with it. Weights are whole numbers, so the sums are exact.
    """
    num_systems, num_clips, num_classes = scores.shape
    found = np.full((len(weights), num_systems, num_classes), np.nan)
    for k in range(num_classes):
        present = labels[:, k].astype(np.float64)
        positives, negatives = weights @ present, weights @ (1 - present)
        defined = (positives > 0) & (negatives > 0)
        if not defined.any():
            continue
        for s in range(num_systems):
            order = np.argsort(scores[s, :, k])
            ranked, of_class = scores[s, order, k], labels[order, k]
            ordered = weights[:, order[~of_class]]
            before = np.concatenate(
                [np.zeros((len(weights), 1)), np.cumsum(ordered, axis=1)], axis=1
            )
            lower = np.searchsorted(ranked[~of_class], ranked[of_class], "left")
            upper = np.searchsorted(ranked[~of_class], ranked[of_class], "right")
            beaten = (before[:, lower] + before[:, upper]) / 2
            wins = np.einsum("rn,rn->r", weights[:, order[of_class]], beaten)
            found[defined, s, k] = (wins / np.maximum(positives * negatives, 1))[defined]
    return found


def _defined_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where all is."""
    defined = ~np.isnan(values)
    counts = defined.sum(-1)
    total = np.where(defined, values, 0.0).sum(-1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def _interval(resampled: np.ndarray, level: float) -> np.ndarray:
    """Percentiles (..., 2) over the first axis of what is not NaN; NaN where all is."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    flat = resampled.reshape(len(resampled), -1).T
    found = [one[~np.isnan(one)] for one in flat]
    quantiles = [np.quantile(one, ends) if len(one) else np.full(2, np.nan) for one in found]
    return np.reshape(quantiles, (*resampled.shape[1:], 2))


def _check_scores(name: str, scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"{name} must be (n,) finite scores, n at least 1, not {scores.shape}")
    return scores


def _t_test(difference: float, error: float, df: float, level: float) -> TTest:
    if error == 0:
        return _undefined(difference)
    half = error * scipy.stats.t.ppf((1 + level) / 2, df)
    p_value = float(2 * scipy.stats.t.sf(abs(difference) / error, df))
    interval = np.array([difference - half, difference + half])
    return TTest(difference, interval, difference / error, df, p_value)


def _undefined(difference: float) -> TTest:
    nan = float("nan")
    return TTest(difference, np.full(2, nan), nan, nan, nan)
