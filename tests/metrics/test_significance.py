"""Significance tests compared with equations, scikit-learn, published tables and naive loops."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from irec_jax.metrics import confidence, significance
from irec_jax.studies.published import ligtenberg


def _scores(seed=0, num_first=12, num_second=12):
    generator = np.random.default_rng(seed)
    first = generator.normal(9.3, 4.3, num_first)
    return first, generator.normal(7.3, 1.2, num_second)


@pytest.mark.parametrize("equal_variances", [True, False])
@pytest.mark.parametrize("num_second", [2, 12, 40])
def test_independent_t_test_follows_its_equations(equal_variances, num_second):
    first, second = _scores(num_second=num_second)
    actual = significance.independent_t_test(
        first, second, equal_variances=equal_variances, level=0.9
    )
    n1, n2, v1, v2 = len(first), len(second), first.var(ddof=1), second.var(ddof=1)
    df = n1 + n2 - 2
    if equal_variances:
        v1 = v2 = ((n1 - 1) * v1 + (n2 - 1) * v2) / df
    else:
        terms = (v1 / n1) ** 2 / (n1 - 1) + (v2 / n2) ** 2 / (n2 - 1)
        df = (v1 / n1 + v2 / n2) ** 2 / terms
    assert actual.difference == pytest.approx(first.mean() - second.mean(), rel=1e-12)
    _check_t_test(actual, np.sqrt(v1 / n1 + v2 / n2), df, level=0.9)


def _check_t_test(actual, error, df, *, level):
    t = actual.difference / error
    expected = (t, df, 2 * scipy.stats.t.sf(abs(t), df))
    assert (actual.t, actual.df, actual.p_value) == pytest.approx(expected, rel=1e-12)
    half_width = error * scipy.stats.t.ppf((1 + level) / 2, df)
    expected = (actual.difference - half_width, actual.difference + half_width)
    np.testing.assert_allclose(actual.interval, expected, rtol=1e-12)


def test_published_t_follows_from_the_published_table():
    """Two sets of 50 scores have the published means and standard deviations, up to rounding."""
    shape = np.random.default_rng(0).standard_normal(50)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    actual = significance.independent_t_test(9.33 + 4.29 * shape, 7.29 + 3.25 * shape)
    assert actual.df == 98
    assert actual.t == pytest.approx(2.69, abs=0.02)
    assert actual.p_value == pytest.approx(0.008, abs=1e-3)


def test_paired_t_test_follows_its_equations_and_is_more_powerful():
    generator = np.random.default_rng(1)
    first = generator.normal(9, 4, 30)
    second = first - 0.5 + 0.3 * generator.standard_normal(30)
    actual = significance.paired_t_test(first, second)
    assert actual.difference == pytest.approx((first - second).mean(), rel=1e-12)
    _check_t_test(actual, (first - second).std(ddof=1) / np.sqrt(30), 29, level=0.95)
    assert actual.p_value < 1e-6 < 0.3 < significance.independent_t_test(first, second).p_value


def test_t_tests_are_undefined_without_spread_or_with_a_single_score():
    for test in (significance.independent_t_test, significance.paired_t_test):
        for first, second in (([2.0], [1.5]), ([2.0, 2.0], [1.5, 1.5])):
            result = test(first, second)
            assert result.difference == 0.5
            assert np.isnan([result.t, result.df, result.p_value, *result.interval]).all()
        with pytest.raises(ValueError, match="first: expected finite scores"):
            test([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="differ in shape"):
        significance.paired_t_test([1, 2, 3], [1, 2])


def test_auc_standard_error_matches_the_example_of_hanley_and_mcneil():
    """Example of Hanley and McNeil (1982): A = 0.893, 51 abnormal and 58 normal, SE = 0.032."""
    result = significance.auc_standard_error(0.893, 51, 58)
    assert result == pytest.approx(0.0323, abs=3e-4)
    undefined = significance.auc_standard_error([0.5, 0.5, np.nan, 1.0], [0, 3, 4, 5], [3, 0, 4, 5])
    np.testing.assert_array_equal(undefined, [np.nan, np.nan, np.nan, 0])
    with pytest.raises(ValueError, match="auc"):
        significance.auc_standard_error(1.2, 3, 4)


def test_auc_standard_error_matches_the_spread_for_exponential_scores():
    """Model: negatives ~ Exp(1), positives ~ Exp(1 / m), A = m / (1 + m)."""
    generator = np.random.default_rng(2)
    positives = generator.exponential(4, (4000, 15))
    negatives = generator.exponential(1, (4000, 40))
    areas = (positives[:, :, None] > negatives[:, None]).mean((1, 2))
    assert areas.mean() == pytest.approx(0.8, abs=0.005)
    assert significance.auc_standard_error(0.8, 15, 40) == pytest.approx(areas.std(), rel=0.04)


def test_mean_standard_error_and_d_score():
    assert significance.mean_standard_error([0.3, np.nan, 0.4]) == pytest.approx(0.25)
    assert np.isnan(significance.mean_standard_error([np.nan]))
    for name, row in ligtenberg.AUC.items():
        for kind in ("raw", "post"):
            result = significance.d_score(*row[kind], *row["base"])
            # The paper prints D = -.001 for the saxophone; its own formula gives -.010.
            expected = -0.010 if (name, kind) == ("sax", "post") else row[f"d_{kind}"]
            assert result == pytest.approx(expected, abs=0.0011), (name, kind)


def _case(num_clips=50, num_classes=3, num_songs=18):
    generator = np.random.default_rng(5)
    labels = generator.random((num_clips, num_classes)) < 0.3
    labels[:, 2] = False
    labels[[3, 7], 2] = True  # a class that is missing from some resamples
    noise = generator.random((3, num_clips, num_classes))
    scores = np.round(labels * np.array([0.3, 0.5, 0.2])[:, None, None] + noise, 1)  # with ties
    return labels, scores, [f"song {i}" for i in generator.integers(num_songs, size=num_clips)]


def test_bootstrap_matches_resampling_clip_by_clip():
    labels, scores, songs = _case()
    names = sorted(set(songs))
    members = [[i for i, song in enumerate(songs) if song == name] for name in names]
    areas = []
    for weights in confidence.song_weights(len(names), num_resamples=60, seed=3):
        for row in weights.astype(int):
            rows = [i for song, times in enumerate(row) for i in members[song] * times]
            areas.append(np.full((3, 3), np.nan))
            for s, k in np.ndindex(3, 3):
                if 0 < labels[rows, k].sum() < len(rows):
                    areas[-1][s, k] = sklearn.metrics.roc_auc_score(
                        labels[rows, k], scores[s, rows, k]
                    )
    areas = np.array(areas)
    absent = np.isnan(areas[:, 0]).sum(0)
    assert 0 < absent[2] < 60
    actual = significance.auc_bootstrap(labels, scores, songs, num_resamples=60, seed=3, level=0.9)
    macro, ends = np.nanmean(areas, axis=-1), [0.05, 0.95]
    more = macro - macro[:, :1]
    expected = np.quantile(macro, ends, axis=0).T
    np.testing.assert_allclose(actual.macro_intervals, expected, rtol=1e-12)
    expected = np.quantile(more, ends, axis=0).T
    np.testing.assert_allclose(actual.difference_intervals, expected, atol=1e-12)
    expected = np.moveaxis(np.nanquantile(areas - areas[:, :1], ends, axis=0), 0, -1)
    np.testing.assert_allclose(actual.class_difference_intervals, expected, atol=1e-12)
    np.testing.assert_array_equal(actual.num_undefined, absent)
    np.testing.assert_allclose(actual.share_better[1:], (more[:, 1:] > 0).mean(0))
    assert actual.share_better[0] == 0.5
    macro = [sklearn.metrics.roc_auc_score(labels, system, average="macro") for system in scores]
    np.testing.assert_allclose(actual.macro, macro)
    np.testing.assert_allclose(actual.differences, np.subtract(macro, macro[0]), atol=1e-12)


def test_bootstrap_in_chunks_is_reproducible(monkeypatch):
    case = _case()
    result = significance.auc_bootstrap(*case, num_resamples=23, seed=1)
    different_seed = significance.auc_bootstrap(*case, num_resamples=23, seed=2)
    assert not np.array_equal(result.macro_intervals, different_seed.macro_intervals)
    monkeypatch.setattr(confidence, "_MAX_WEIGHTS", 100)
    repeated = significance.auc_bootstrap(*case, num_resamples=23, seed=1)
    np.testing.assert_allclose(result.macro_intervals, repeated.macro_intervals, rtol=0.2)


def test_pairing_narrows_the_interval_of_the_difference():
    """The difference of systems with common errors is more certain than their areas."""
    generator = np.random.default_rng(6)
    labels = generator.random((300, 2)) < 0.4
    base = labels + generator.standard_normal(labels.shape)
    better = base + 0.15 * labels
    actual = significance.auc_bootstrap(labels, np.stack([base, better]), np.arange(300))
    assert np.ptp(actual.difference_intervals[1]) < 0.2 * np.ptp(actual.macro_intervals[1])
    assert actual.difference_intervals[1][0] > 0 and actual.share_better[1] == 1


def test_bootstrap_is_undefined_without_songs_or_classes():
    labels, scores, _ = _case()
    single_song = significance.auc_bootstrap(labels, scores, ["one"] * 50, num_resamples=5)
    assert (
        np.isfinite(single_song.differences).all()
        and np.isnan(single_song.difference_intervals).all()
    )
    assert np.isnan(single_song.share_better).all() and not single_song.num_undefined.any()
    labels[:, 2] = False
    without_positives = significance.auc_bootstrap(labels, scores, np.arange(50), num_resamples=5)
    assert (
        np.isnan(without_positives.class_differences[:, 2]).all()
        and np.isfinite(without_positives.macro).all()
    )
    empty = significance.auc_bootstrap(labels[:, 2:], scores[..., 2:], np.arange(50))
    assert np.isnan(empty.macro).all() and np.isnan(empty.difference_intervals).all()
    with pytest.raises(ValueError, match=r"\(49,\) do not match"):
        significance.auc_bootstrap(labels, scores, np.arange(49))
    scores[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        significance.auc_bootstrap(labels, scores, np.arange(50))
