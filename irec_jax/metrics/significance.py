"""Significance of differences between systems: t-tests, standard errors of AUCs, and a bootstrap.

Ligtenberg (2022) compares two systems on the same 50 tracks with a t-test for independent samples
(`independent_t_test`), and compares areas under ROC curves with `d_score`, whose standard errors
treat clips of the same song as independent. The paired alternatives are `paired_t_test` for scores
on the same tracks and `auc_bootstrap`, which resamples songs, for scores on the same clips.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped
from numpy.typing import ArrayLike

from irec_jax.metrics.confidence import check_resampling, song_weights
from irec_jax.metrics.multilabel import check_labels


class TTest(NamedTuple):
    """Result of a two-sided t-test for a difference between the means of `first` and `second`.

    Attributes:
        difference: mean of `first` minus mean of `second`.
        interval: confidence interval of the difference.
        t: test statistic.
        df: degrees of freedom; not an integer for Welch's test.
        p_value: probability of a statistic at least as extreme if the means are equal.
    """

    difference: float
    interval: Float64[np.ndarray, "2"]
    t: float
    df: float
    p_value: float


def independent_t_test(
    first: ArrayLike, second: ArrayLike, *, equal_variances: bool = True, level: float = 0.95
) -> TTest:
    """Perform Student's or Welch's t-test for independent samples.

    t = (m1 - m2) / sqrt(v1 / n1 + v2 / n2). With equal variances, v1 and v2 both equal the pooled
    variance, and there are n1 + n2 - 2 degrees of freedom; otherwise, the number of degrees of
    freedom follows the Welch-Satterthwaite equation. Scores on the same tracks are not independent;
    use `paired_t_test` for them.

    Args:
        first: (n1,) finite scores.
        second: (n2,) finite scores.
        equal_variances: whether to perform Student's test rather than Welch's.
        level: confidence level of the interval.

    Returns:
        The test result. All values except ``difference`` are NaN if a sample has fewer than two
        scores, or if the scores within each sample are all equal.

    Raises:
        ValueError: the shape is wrong, or scores are not finite.
    """
    first, second = _check_scores("first", first), _check_scores("second", second)
    difference = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2 or not (first.var(ddof=1) or second.var(ddof=1)):
        return _undefined(difference)
    import scipy.stats  # slow to import, and not needed for training

    result = scipy.stats.ttest_ind(first, second, equal_var=equal_variances)
    return _t_test(difference, result, level)


def paired_t_test(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> TTest:
    """Perform Student's paired t-test.

    t = m / (s / sqrt(n)), where m and s are the mean and the standard deviation of the n
    differences, with n - 1 degrees of freedom.

    Args:
        first: (n,) finite scores.
        second: (n,) finite scores on the same tracks, in the same order.
        level: confidence level of the interval.

    Returns:
        The test result. All values except ``difference`` are NaN if there are fewer than two pairs
        or all differences are equal.

    Raises:
        ValueError: the shapes differ, or scores are not finite.
    """
    first, second = _check_scores("first", first), _check_scores("second", second)
    if first.shape != second.shape:
        raise ValueError(f"first {first.shape} and second {second.shape} differ in shape")
    differences = first - second
    difference = float(differences.mean())
    if len(differences) < 2 or not differences.std(ddof=1):
        return _undefined(difference)
    import scipy.stats

    return _t_test(difference, scipy.stats.ttest_rel(first, second), level)


def auc_standard_error(
    auc: ArrayLike, num_positives: ArrayLike, num_negatives: ArrayLike
) -> Float64[np.ndarray, "..."]:
    """Return the standard error of the area A under an ROC curve.

    SE = sqrt((A (1 - A) + (n1 - 1) (Q1 - A^2) + (n0 - 1) (Q2 - A^2)) / (n1 n0)) with
    Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A) (Hanley and McNeil 1982, equations 1 and 2). These
    equations assume exponentially distributed scores. A 95 % interval is A ± 1.96 SE. Clips of the
    same song are treated as independent.

    Args:
        auc: A in 0..1, any shape.
        num_positives: n1, broadcast against A.
        num_negatives: n0, broadcast against A.

    Returns:
        The standard error of each area; NaN if A is NaN, or if there are no positives or no
        negatives.

    References:
        Hanley, McNeil (1982): The meaning and use of the area under a receiver operating
        characteristic (ROC) curve. Radiology 143(1).
    """
    area, positives, negatives = np.broadcast_arrays(
        *(np.asarray(values, np.float64) for values in (auc, num_positives, num_negatives))
    )
    if ((area < 0) | (area > 1)).any():
        raise ValueError("auc: expected values from 0 to 1")
    both_positive, both_negative = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area)
        + (positives - 1) * (both_positive - area**2)
        + (negatives - 1) * (both_negative - area**2)
    )
    pairs = positives * negatives
    error = np.sqrt(np.maximum(variance, 0) / np.where(pairs > 0, pairs, 1))
    return np.where(pairs > 0, error, np.nan)


def mean_standard_error(errors: ArrayLike) -> float:
    """Return the standard error of the mean of K areas, sqrt(sum SE^2) / K.

    The areas are treated as independent, although they are measured on the same clips. NaNs are
    ignored.
    """
    errors = np.asarray(errors, np.float64)
    defined = errors[~np.isnan(errors)]
    return float(np.sqrt((defined**2).sum()) / len(defined)) if len(defined) else float("nan")


def d_score(
    first: ArrayLike, first_error: ArrayLike, second: ArrayLike, second_error: ArrayLike
) -> Float64[np.ndarray, "..."] | np.float64:
    """Return the score D = x1 - (x2 + SE1 + SE2) for comparing two systems.

    Ligtenberg (2022) considers the first system better if D > 0. This is stricter than requiring a
    difference of one standard error, sqrt(SE1^2 + SE2^2), and less strict than the usual 1.96
    standard errors.
    """
    x1, error1, x2, error2 = (
        np.asarray(values, np.float64) for values in (first, first_error, second, second_error)
    )
    return x1 - (x2 + error1 + error2)


class AucBootstrap(NamedTuple):
    """ROC AUC of several systems, and their differences from the first system.

    Intervals are percentile intervals over the resamples; their last axis holds the lower and upper
    ends.

    Attributes:
        macro, macro_intervals: macro AUC of each system, and its interval.
        differences, difference_intervals: macro AUC of system s minus that of system 0, and its
            interval; the first difference is 0.
        share_better: fraction of the resamples in which the macro AUC of system s exceeds that of
            system 0; ties count one half.
        class_differences, class_difference_intervals: the same for the AUC of each class.
        num_undefined: for each class, the number of resamples without positives or without
            negatives.
    """

    macro: Float64[np.ndarray, " systems"]
    macro_intervals: Float64[np.ndarray, "systems 2"]
    differences: Float64[np.ndarray, " systems"]
    difference_intervals: Float64[np.ndarray, "systems 2"]
    share_better: Float64[np.ndarray, " systems"]
    class_differences: Float64[np.ndarray, "systems classes"]
    class_difference_intervals: Float64[np.ndarray, "systems classes 2"]
    num_undefined: Int[np.ndarray, " classes"]


def auc_bootstrap(
    labels: Shaped[np.ndarray, "clips classes"],
    scores: Float[np.ndarray, "..."],
    songs: Sequence[str] | Shaped[np.ndarray, "..."],
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> AucBootstrap:
    """Compare the ROC AUC of several systems with a paired bootstrap over songs.

    Songs are drawn with replacement together with all their clips, and all systems are scored on
    the same resamples, so that differences in difficulty between songs cancel out.

    Args:
        labels: non-zero for positive labels.
        scores: finite scores (systems, clips, classes); each system is compared with the first.
        songs, num_resamples, level, seed: as in `confidence.f1_intervals`.

    Returns:
        See `AucBootstrap`. If a class has no positives or no negatives in a resample, the resample
        is excluded from the interval of that class, and the macro AUC of the resample is the mean
        over the remaining classes, which are the same for all systems. Intervals and shares are NaN
        if there are fewer than two songs. The interval of a class is also NaN if its AUC is never
        defined, as is the interval of the macro AUC if no class has a defined AUC.

    Raises:
        ValueError: the shapes do not match, or scores are not finite.
    """
    labels, scores = np.asarray(labels) > 0, np.asarray(scores, np.float64)
    if scores.ndim != 3 or scores.shape[1:] != labels.shape or len(labels) != len(songs):
        raise ValueError(
            f"labels {labels.shape}, scores {scores.shape} and songs ({len(songs)},) do not match: "
            "expected (N, K), (S, N, K) and (N,)"
        )
    check_labels(labels)
    check_resampling(num_resamples, level)
    if not np.isfinite(scores).all():
        raise ValueError("scores contain NaN or infinite values, which cannot be ranked")
    names, song = np.unique(np.asarray(songs, dtype=str), return_inverse=True)
    areas = _weighted_auc(labels, scores, np.ones((1, len(labels))))[0]
    resamples = [np.full((1, *areas.shape), np.nan)]  # for fewer than two songs
    if len(names) > 1:
        chunks = song_weights(len(names), num_resamples=num_resamples, seed=seed)
        resamples = [_weighted_auc(labels, scores, weights[:, song]) for weights in chunks]
    resampled = np.concatenate(resamples)  # (R, S, K)
    macro, macros = defined_mean(areas), defined_mean(resampled)
    more = macros - macros[:, :1]
    better = np.where(np.isnan(more), np.nan, (np.sign(more) + 1) / 2)
    return AucBootstrap(
        macro=macro,
        macro_intervals=defined_interval(macros, level),
        differences=macro - macro[:1],
        difference_intervals=defined_interval(more, level),
        share_better=defined_mean(better.T),
        class_differences=areas - areas[:1],
        class_difference_intervals=defined_interval(resampled - resampled[:, :1], level),
        num_undefined=np.isnan(resampled[:, 0]).sum(0) * (len(names) > 1),
    )


def _weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the areas (R, S, K), counting clip n `weights[r, n]` times; NaN if undefined.

    With the clips sorted by score, each positive beats all negatives before it; ties count one
    half. Weights are integers, so the sums are exact.
    """
    num_systems, num_clips, num_classes = scores.shape
    areas = np.full((len(weights), num_systems, num_classes), np.nan)
    for k in range(num_classes):
        present = labels[:, k].astype(np.float64)
        positives, negatives = weights @ present, weights @ (1 - present)
        defined = (positives > 0) & (negatives > 0)
        if not defined.any():
            continue
        for s in range(num_systems):
            order = np.argsort(scores[s, :, k])
            ranked, is_positive = scores[s, order, k], labels[order, k]
            ordered = weights[:, order[~is_positive]]
            before = np.pad(np.cumsum(ordered, axis=1), ((0, 0), (1, 0)))
            pair = ranked[~is_positive], ranked[is_positive]
            lower, upper = (np.searchsorted(*pair, side) for side in ("left", "right"))
            beaten = (before[:, lower] + before[:, upper]) / 2
            wins = np.einsum("rn,rn->r", weights[:, order[is_positive]], beaten)
            areas[defined, s, k] = (wins / np.maximum(positives * negatives, 1))[defined]
    return areas


def defined_mean(values: Float[np.ndarray, "*batch values"]) -> Float[np.ndarray, "*batch"]:
    """Return the mean over the last axis, ignoring NaNs; NaN if all values are NaN."""
    defined = ~np.isnan(values)
    counts = defined.sum(-1)
    total = np.where(defined, values, 0.0).sum(-1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def defined_interval(
    resampled: Float[np.ndarray, " resamples *shape"], level: float
) -> Float[np.ndarray, "*shape 2"]:
    """Return the percentile interval (..., 2) over the first axis, ignoring NaNs.

    The interval is NaN if all values are NaN.
    """
    ends = [(1 - level) / 2, (1 + level) / 2]
    flat = resampled.reshape(len(resampled), -1).T
    defined = [values[~np.isnan(values)] for values in flat]
    quantiles = [np.quantile(v, ends) if len(v) else np.full(2, np.nan) for v in defined]
    return np.reshape(quantiles, (*resampled.shape[1:], 2))


def _check_scores(name: str, scores: ArrayLike) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"{name}: expected finite scores (n,) with n >= 1, got {scores.shape}")
    return scores


def _t_test(difference: float, result, level: float) -> TTest:
    interval = np.array(result.confidence_interval(level))
    return TTest(difference, interval, *map(float, (result.statistic, result.df, result.pvalue)))


def _undefined(difference: float) -> TTest:
    return TTest(difference, np.full(2, np.nan), np.nan, np.nan, np.nan)
