"""Log kurtosis ratio of residues of unwanted sound."""

import numpy as np

from irec_jax.metrics.musical_noise import kurtosis, musical_noise


def noise(num_frames=4000, num_bins=8, seed=0):
    return np.random.default_rng(seed).exponential(1, (num_frames, num_bins))


def test_kurtosis_of_gaussian_noise_and_of_a_steady_tone():
    # The power of Gaussian noise is exponential: mean(x^m) = m!, so the kurtosis is 24 / 4.
    np.testing.assert_allclose(kurtosis(noise(400_000, 4)), 6, rtol=0.05)
    np.testing.assert_allclose(kurtosis(np.full((20, 3), 1e-30)), 1)
    single_peak = np.eye(20)[:, :1] * 1e-20
    np.testing.assert_allclose(kurtosis(single_peak), 20)


def test_constant_gain_makes_no_musical_noise():
    before = noise()
    result = musical_noise(before, 0.01 * before, np.ones(len(before), bool))
    np.testing.assert_allclose(result, [0, 20], atol=1e-9)


def test_bins_that_remain_alone_make_musical_noise():
    before = noise()
    sparse = np.where(before > 3, before, 0)
    alone = np.arange(len(before)) % 2 == 0
    before[~alone], sparse[~alone] = 1e6, 1.0  # other frames do not count
    result = musical_noise(before, sparse, alone)
    moments = [np.mean([x[alone] ** m for x in (before, sparse)], axis=1) for m in (4, 2)]
    ratios = moments[0] / moments[1] ** 2
    np.testing.assert_allclose(result.log_kurtosis_ratio, np.log(ratios[1] / ratios[0]).mean())
    assert result.log_kurtosis_ratio > 0.3


def test_inaudible_bins_and_silent_residues_are_left_out():
    before, after = noise(), noise(seed=1)
    expected = musical_noise(before[:, :4], after[:, :4], np.ones(len(before), bool))
    before[:, 4:6] *= 1e-9
    after[:, 6:] = 0
    result = musical_noise(before, after, np.ones(len(before), bool))
    np.testing.assert_allclose(result.log_kurtosis_ratio, expected.log_kurtosis_ratio)
    silent = musical_noise(before, 0 * after, np.ones(len(before), bool))
    assert np.isnan(silent.log_kurtosis_ratio) and silent.attenuation_db == np.inf


def test_too_little_to_compare_has_no_score():
    before = noise(40)
    assert np.isnan(musical_noise(before, before, np.arange(40) < 15)).all()
    assert np.isnan(musical_noise(0 * before, before, np.ones(40, bool))).all()
