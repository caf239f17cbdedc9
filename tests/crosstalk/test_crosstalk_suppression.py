"""Suppression rules against musical noise, against scipy in float64."""

import numpy as np
import pytest
import scipy.integrate
import scipy.signal
import scipy.special

from irec_jax import crosstalk
from irec_jax.crosstalk import suppression
from irec_jax.crosstalk.reduce import continue_gains, gains
from irec_jax.dsp.stft import istft, power, stft
from irec_jax.errors import UserError
from irec_jax.metrics.musical_noise import musical_noise

RATE_HZ = 8000
FRAME = dict(frame_length=512, hop_length=256)


def reference_gain(prior, posterior):
    """Return the gain of Ephraim and Malah (1984), equation 7, with scipy's Bessel functions."""
    v = prior / (1 + prior) * posterior
    bessel = (1 + v) * scipy.special.iv(0, v / 2) + v * scipy.special.iv(1, v / 2)
    return scipy.special.gamma(1.5) * np.sqrt(v) / posterior * np.exp(-v / 2) * bessel


def test_mmse_gain_matches_scipy():
    prior, posterior = np.meshgrid(np.logspace(-3, 4, 15), np.logspace(-3, 3, 13))
    expected = reference_gain(prior, posterior)
    actual = suppression.mmse_gain(prior.astype(np.float32), posterior.astype(np.float32))
    np.testing.assert_allclose(actual, expected, rtol=2e-5)
    # Where the Bessel functions overflow, the gain is Wiener's.
    wiener = suppression.mmse_gain(np.float32(3.0), np.float32(1e8))
    np.testing.assert_allclose(wiener, 0.75, rtol=1e-4)


@pytest.mark.parametrize(("prior", "posterior"), [(0.1, 0.5), (1.0, 2.0), (10.0, 0.3), (5.0, 9.0)])
def test_mmse_gain_is_the_conditional_mean(prior, posterior):
    """E[A | R] for Gaussian spectra of variances xi and 1, by integration (equation 5)."""
    scale, radius = prior / (1 + prior), np.sqrt(posterior)

    def density(a):  # of the amplitude a, up to a factor
        return (
            a * np.exp(-((a - scale * radius) ** 2) / scale) * scipy.special.ive(0, 2 * a * radius)
        )

    limits = (0, scale * radius + 12 * np.sqrt(scale))
    mean = scipy.integrate.quad(lambda a: a * density(a), *limits)[0]
    mean /= scipy.integrate.quad(density, *limits)[0]
    np.testing.assert_allclose(reference_gain(prior, posterior), mean / radius, rtol=1e-6)


def reference_decision_directed(magnitudes, interference, weight):
    """Return gains and amplitudes of one bin, in float64."""
    result, previous = [], None
    for x, c in zip(magnitudes, interference, strict=True):
        gain = 1.0
        if c > 0:
            posterior = x**2 / c**2
            kept = 1.0 if previous is None else previous**2 / c**2
            prior = max(weight * kept + (1 - weight) * max(posterior - 1, 0), 10**-2.5)
            gain = min(reference_gain(prior, posterior), 1.0)
        previous = gain * x
        result.append(gain)
    return np.array(result), previous


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.98])
def test_decision_directed_gains_match_a_loop(weight):
    rng = np.random.default_rng(0)
    magnitudes = rng.rayleigh(1, (2, 40, 5)).astype(np.float32)
    interference = (0.3 + rng.rayleigh(0.5, (2, 40, 5))).astype(np.float32)
    interference[0, 10:20] = 0
    start = -np.ones((2, 5), np.float32)
    actual, last = suppression.decision_directed(magnitudes, interference, start, weight=weight)
    for j, k in np.ndindex(2, 5):
        expected, amplitude = reference_decision_directed(
            magnitudes[j, :, k].astype(float), interference[j, :, k].astype(float), weight
        )
        np.testing.assert_allclose(actual[j, :, k], expected, rtol=2e-4)
        np.testing.assert_allclose(last[j, k], amplitude, rtol=2e-4)


def test_smoothing_is_a_recursive_filter():
    rng = np.random.default_rng(1)
    raw = rng.random((2, 30, 3)).astype(np.float32)
    smoothed, last = suppression.smooth(raw, -np.ones((2, 3), np.float32), coefficient=0.8)
    initial = 0.8 * raw[:, :1].astype(float)  # as if the first gain had lasted forever
    expected, _ = scipy.signal.lfilter([0.2], [1, -0.8], raw.astype(float), axis=1, zi=initial)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5)
    np.testing.assert_array_equal(last, smoothed[:, -1])
    time_s = 0.05
    coefficient = suppression.per_frame(time_s, hop_length=256, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(coefficient ** (time_s * RATE_HZ / 256), np.exp(-1), rtol=1e-12)
    assert suppression.per_frame(0.0, hop_length=256, sample_rate_hz=RATE_HZ) == 0


@pytest.mark.parametrize("method", ["mask", "mmse"])
def test_gains_continue_after_any_frame(method):
    rng = np.random.default_rng(2)
    magnitudes = rng.random((3, 12, 4)).astype(np.float32)
    weights = rng.random((3, 3)) * (1 - np.eye(3))
    options = dict(method=method, smoothing=0.7, prior_weight=0.9, floor=0.05)
    expected = gains(magnitudes, weights, **options)
    assert expected.min() >= 0.05 and expected.max() <= 1
    memory, parts = suppression.start((3, 4)), []
    for block in np.split(magnitudes, [1, 7], axis=1):
        part, memory = continue_gains(block, weights, memory, **options)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, rtol=1e-5)


def microphones(seconds=5):
    """Return noise with pauses and steady noise, and two microphones that hear both."""
    rng = np.random.default_rng(3)
    sources = 0.1 * rng.standard_normal((2, seconds * RATE_HZ)).astype(np.float32)
    sources[0, RATE_HZ : 4 * RATE_HZ] = 0
    mixing = np.array([[1, 0.3], [0.1, 1]], np.float32)
    return sources, mixing @ sources


@pytest.mark.parametrize("band_edges_hz", [(), (900,)])
def test_chunks_match_complete_spectrograms(band_edges_hz):
    _, spots = microphones()
    settings = crosstalk.Settings(
        **FRAME, align=False, method="mmse", smoothing_s=0.05, band_edges_hz=band_edges_hz
    )
    reduced, estimated = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
    spectra = stft(spots, **FRAME, window="hamming")
    bands = [
        crosstalk.reduce(
            spectra[..., low:high],
            weights,
            method="mmse",
            smoothing=np.exp(-256 / (RATE_HZ * 0.05)),
            prior_weight=np.exp(-256 / (RATE_HZ * 0.4)),
        )
        for (low, high), weights in zip(settings.bands(RATE_HZ), estimated.weights, strict=True)
    ]
    expected = istft(
        np.concatenate(bands, axis=-1), num_samples=spots.shape[1], **FRAME, window="hamming"
    )
    np.testing.assert_allclose(reduced, expected, atol=2e-6)


def test_musical_noise_falls():
    """Where a player pauses, both remedies leave fewer isolated bins than subtraction."""
    sources, spots = microphones()
    transform = dict(**FRAME, window="hamming")
    before = np.asarray(power(stft(spots, **transform)))[0]
    own = np.asarray(power(stft(sources, **transform)))[0].sum(-1)
    ratios = {}
    for name, options in {
        "subtraction": dict(method="subtraction"),
        "smoothed": dict(method="subtraction", smoothing_s=0.1),
        "mmse": dict(method="mmse"),
    }.items():
        settings = crosstalk.Settings(**FRAME, align=False, **options)
        reduced, _ = crosstalk.debleed_array(spots, settings, sample_rate_hz=RATE_HZ)
        after = np.asarray(power(stft(reduced, **transform)))[0]
        residue = musical_noise(before, after, own < 1e-6 * own.max())
        assert residue.attenuation_db > 6
        ratios[name] = residue.log_kurtosis_ratio
    assert ratios["smoothed"] < ratios["subtraction"] - 0.3
    assert ratios["mmse"] < ratios["subtraction"] - 1


@pytest.mark.parametrize("name", ["prior_s", "smoothing_s"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), 61.0])
def test_invalid_time_constants_are_rejected(name, value):
    with pytest.raises(UserError, match=f"^{name}={value}: expected 0 to 60 seconds"):
        crosstalk.Settings(**{name: value})
