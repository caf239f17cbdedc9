"""Wiener-filter baseline compared with its equations, and on disjoint sources."""

import numpy as np
import pytest

from irec_jax.crosstalk.wiener import wiener


def spectra(num_tracks=3, num_frames=40, num_bins=6, seed=0):
    """Return mixtures (J, N, K) of sources with pauses."""
    rng = np.random.default_rng(seed)
    shape = (num_tracks, num_frames, num_bins)
    dry = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    dry *= 0.01 + (rng.random((num_tracks, num_frames, 1)) < 0.6)
    mixing = np.eye(num_tracks) + 0.4 * rng.random((num_tracks, num_tracks))
    return np.einsum("lj,jnk->lnk", mixing, dry).astype(np.complex64)


def naive_wiener(spectra, *, num_iterations, kernel_frames, initial):
    """Return the reduced spectra and the interference by loops, in float64."""
    num_tracks, num_frames, num_bins = spectra.shape
    power = np.abs(spectra.astype(np.complex128)) ** 2
    levels = power.mean((1, 2))
    power = power / levels[:, None, None]
    interference = np.full((num_tracks, num_tracks), float(initial))
    np.fill_diagonal(interference, 1)
    sources = power.copy()

    def model(l, n, k):  # noqa: E741
        return sum(interference[l, j] * sources[j, n, k] for j in range(num_tracks))

    for _ in range(num_iterations):
        filtered = np.zeros_like(sources)
        for j, n, k in np.ndindex(sources.shape):
            filtered[j, n, k] = (sources[j, n, k] / model(j, n, k)) ** 2 * power[j, n, k]
        for n in range(num_frames):
            neighbours = slice(max(n - kernel_frames // 2, 0), n + kernel_frames // 2 + 1)
            sources[:, n] = filtered[:, neighbours].mean(1)
        factors = np.ones_like(interference)
        for l in range(num_tracks):  # noqa: E741
            for j in range(num_tracks):
                numerator = sum(
                    power[l, n, k] / model(l, n, k) * sources[j, n, k]
                    for n, k in np.ndindex(num_frames, num_bins)
                )
                factors[l, j] = numerator / sources[j].sum()
        interference = interference * factors
        np.fill_diagonal(interference, 1)
    reduced = np.zeros(spectra.shape, np.complex128)
    for j, n, k in np.ndindex(sources.shape):
        reduced[j, n, k] = sources[j, n, k] / model(j, n, k) * spectra[j, n, k]
    return reduced, interference * levels[:, None] / levels


@pytest.mark.parametrize("num_iterations, kernel_frames", [(1, 1), (3, 5)])
def test_wiener_matches_the_equations(num_iterations, kernel_frames):
    mixtures = spectra()
    options = dict(num_iterations=num_iterations, kernel_frames=kernel_frames, initial=0.1)
    reduced, interference = wiener(mixtures, **options)
    expected, expected_interference = naive_wiener(mixtures, **options)
    np.testing.assert_allclose(reduced, expected, atol=2e-5 * np.abs(mixtures).max())
    np.testing.assert_allclose(interference, expected_interference, rtol=1e-4)


@pytest.mark.parametrize("kernel_frames", [1, 5])
def test_disjoint_sources_are_recovered(kernel_frames):
    rng = np.random.default_rng(1)
    # Every source has separate bins and, in part, separate frames.
    dry = np.zeros((4, 70, 24), np.complex128)
    for j in range(4):
        block = dry[j, 10 * j : 10 * j + 40, 6 * j : 6 * j + 6]
        block[:] = np.exp(2j * np.pi * rng.random(block.shape))
    amplitudes = rng.uniform(0.1, 0.5, (4, 4))
    np.fill_diagonal(amplitudes, 1)
    mixtures = np.einsum("lj,jnk->lnk", amplitudes, dry)
    reduced, interference = wiener(mixtures, kernel_frames=kernel_frames)
    np.testing.assert_allclose(interference, amplitudes**2, rtol=0.05)
    np.testing.assert_allclose(reduced, dry, atol=0.01)
    assert np.abs(mixtures - dry).max() > 0.4


def test_levels_of_the_tracks_have_no_effect():
    mixtures = spectra()
    levels = np.array([1e-3, 1.0, 300.0], np.float32)
    reduced, interference = wiener(mixtures)
    scaled, scaled_interference = wiener(levels[:, None, None] * mixtures)
    np.testing.assert_allclose(scaled, levels[:, None, None] * reduced, rtol=1e-3, atol=1e-6)
    expected = interference * (levels[:, None] / levels) ** 2
    np.testing.assert_allclose(scaled_interference, expected, rtol=1e-3)


def test_silent_tracks_stay_silent_and_do_not_interfere():
    mixtures = spectra()
    silent = np.insert(mixtures, 1, 0, axis=0)
    reduced, interference = wiener(silent)
    expected, expected_interference = wiener(mixtures)
    audible = [0, 2, 3]
    np.testing.assert_allclose(reduced[np.array(audible)], expected, atol=1e-5)
    np.testing.assert_allclose(
        interference[np.ix_(audible, audible)], expected_interference, rtol=1e-4
    )
    assert (reduced[1] == 0).all()
    np.testing.assert_array_equal(interference[1], [0, 1, 0, 0])
    np.testing.assert_array_equal(interference[:, 1], [0, 1, 0, 0])
    assert np.isfinite(wiener(np.zeros_like(mixtures))[0]).all()


def test_gains_are_real_and_at_most_one():
    mixtures = spectra()
    reduced, _ = wiener(mixtures)
    gains = np.asarray(reduced / mixtures)
    np.testing.assert_allclose(gains.imag, 0, atol=1e-6)
    assert gains.real.min() >= -1e-6 and gains.real.max() <= 1 + 1e-6


def test_leading_axes_are_recordings():
    recordings = np.stack([spectra(seed=s) for s in range(2)])
    reduced, interference = wiener(recordings)
    for i, mixtures in enumerate(recordings):
        expected, expected_interference = wiener(mixtures)
        np.testing.assert_allclose(reduced[i], expected, atol=1e-5)
        np.testing.assert_allclose(interference[i], expected_interference, rtol=1e-4)


def test_invalid_arguments_are_rejected():
    mixtures = spectra()
    with pytest.raises(ValueError, match="kernel_frames=4: expected an odd number"):
        wiener(mixtures, kernel_frames=4)
    with pytest.raises(ValueError, match="num_iterations"):
        wiener(mixtures, num_iterations=0)
    with pytest.raises(ValueError, match="spectra: expected complex values, got float32"):
        wiener(np.abs(mixtures))
    with pytest.raises(AssertionError, match="spectra"):
        wiener(mixtures[0])
