"""SI-SDR compared with its definition, and undefined cases."""

import numpy as np
import pytest

from irec_jax.metrics.scale_invariant import si_sdr


def naive(s, e):
    a = np.dot(e, s) / np.dot(s, s)
    return 10 * np.log10(np.sum((a * s) ** 2) / np.sum((a * s - e) ** 2))


def case(level, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((2, 3, 500)) + 0.3
    return reference, 0.7 * reference + level * rng.standard_normal(reference.shape) - 0.1


@pytest.mark.parametrize("level", [1e-5, 0.1, 100.0])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_si_sdr_matches_its_definition(level, zero_mean):
    reference, estimated = case(level)
    scores = si_sdr(reference, estimated, zero_mean=zero_mean)
    if zero_mean:
        reference, estimated = (x - x.mean(-1, keepdims=True) for x in (reference, estimated))
    pairs = zip(reference.reshape(-1, 500), estimated.reshape(-1, 500), strict=True)
    expected = np.reshape([naive(s, e) for s, e in pairs], (2, 3))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(si_sdr(reference[0, 0], estimated[0, 0]), expected[0, 0], atol=0.02)


def test_si_sdr_ignores_gain_and_float32_input_is_precise():
    reference, estimated = (signals.astype(np.float32) for signals in case(1e-5))
    estimated += np.float32(0.1)
    scores = si_sdr(reference, estimated)
    assert (scores > 90).all()
    np.testing.assert_allclose(si_sdr(4 * reference, -0.5 * estimated), scores, atol=1e-9)


def test_si_sdr_of_silence_and_exact_estimates():
    reference, estimated = case(0.1)
    expected = si_sdr(reference, estimated)
    reference[0, 0], estimated[0, 1], estimated[0, 2] = 0, 0, 3 * reference[0, 2]
    scores = si_sdr(reference, estimated)
    np.testing.assert_array_equal(scores[0], [np.nan, -np.inf, np.inf])
    np.testing.assert_array_equal(scores[1], expected[1])
    constant = np.full(1000, 0.1)
    assert np.isnan(si_sdr(constant, reference[1, 0].repeat(2), zero_mean=True))
    assert si_sdr(reference[1, 0].repeat(2), constant, zero_mean=True) == -np.inf


def test_invalid_input_is_rejected():
    with pytest.raises(ValueError, match=r"reference \(5,\) and estimated \(4,\)"):
        si_sdr(np.ones(5), np.ones(4))
    with pytest.raises(ValueError, match="estimated contains NaN"):
        si_sdr(np.ones(2), np.array([1, np.nan]))
    with pytest.raises(ValueError, match="reference has shape"):
        si_sdr(np.float64(1), np.float64(1))
