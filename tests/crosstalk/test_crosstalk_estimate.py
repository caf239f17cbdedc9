"""Crosstalk weights compared with scipy's non-negative least squares and Seipel's descent."""

import numpy as np
import pytest
import scipy.optimize

from irec_jax import crosstalk
from irec_jax.crosstalk.estimate import momentum_descent
from irec_jax.errors import UserError


def magnitudes(num_tracks, *, num_frames=30, num_bins=20, bleed=0.3, seed=0):
    """Return spectrograms (J, N, K) of sources with pauses, each in about half of the tracks."""
    rng = np.random.default_rng(seed)
    dry = rng.exponential(size=(num_tracks, num_frames, num_bins))
    dry *= rng.random((num_tracks, num_frames, 1)) < 0.6
    mixing = np.eye(num_tracks) + bleed * np.maximum(rng.uniform(-1, 1, (num_tracks,) * 2), 0)
    return np.einsum("lj,jnk->lnk", mixing, dry).astype(np.float32)


def exact_gram(spectrograms):
    flat = spectrograms.astype(np.float64).reshape(len(spectrograms), -1)
    return flat @ flat.T / spectrograms.shape[1]


def scipy_weights(spectrograms):
    """Return the weights of every target, computed by scipy from the spectrograms."""
    flat = spectrograms.astype(np.float64).reshape(len(spectrograms), -1)
    weights = np.zeros((len(flat), len(flat)))
    for target, magnitudes in enumerate(flat):
        others = np.delete(np.arange(len(flat)), target)
        weights[target, others] = scipy.optimize.nnls(flat[others].T, magnitudes)[0]
    return weights


def theta(spectrograms, weights):
    """Return Theta by equation 3.1."""
    spectrograms = spectrograms.astype(np.float64)
    sums = np.zeros(len(spectrograms))
    for target, track in enumerate(spectrograms):
        residual = track - sum(w * x for w, x in zip(weights[target], spectrograms, strict=True))
        sums[target] = (residual**2).sum() / spectrograms.shape[1]
    return sums


def seipel_descent(spectrograms, *, num_steps, initial=None):
    """Return the weights by equations 3.2 to 3.6 on the spectrograms, in loops."""
    spectrograms = spectrograms.astype(np.float64)
    num_tracks, num_frames, _ = spectrograms.shape
    weights = np.zeros((num_tracks, num_tracks)) if initial is None else np.array(initial)
    for target in range(num_tracks):
        others = [j for j in range(num_tracks) if j != target]
        velocity, rate = np.zeros(num_tracks), 0.001
        for _ in range(num_steps):
            residual = spectrograms[target] - sum(
                weights[target, j] * spectrograms[j] for j in others
            )
            for j in others:
                gradient = -2 / num_frames * (residual * spectrograms[j]).sum()
                velocity[j] = 0.8 * velocity[j] + gradient
            for j in others:
                weights[target, j] = max(weights[target, j] - rate * velocity[j], 0.0)
            rate *= 0.99
    return weights


def scaled(spectrograms):
    """Return spectrograms whose Hessian 2 G has the largest eigenvalue 1,000."""
    largest = 2 * np.linalg.eigvalsh(exact_gram(spectrograms))[-1]
    return spectrograms.astype(np.float64) * np.sqrt(1000 / largest)


@pytest.mark.parametrize("num_frames, num_bins", [(30, 20), (1, 1), (103, 1025)])
def test_gram_matches_numpy(num_frames, num_bins):
    sizes = dict(num_frames=num_frames, num_bins=num_bins)  # the last: chunks of 21 frames
    tracks = np.stack([magnitudes(4, seed=s, **sizes) for s in range(3)])
    expected = np.stack([exact_gram(track) for track in tracks])
    np.testing.assert_allclose(crosstalk.gram(tracks), expected, rtol=1e-5)
    np.testing.assert_allclose(crosstalk.gram(tracks[0]), expected[0], rtol=1e-5)


@pytest.mark.parametrize("num_tracks", [2, 5, 14])
@pytest.mark.parametrize("bleed", [0.05, 0.5])
def test_nnls_matches_scipy_for_every_target(num_tracks, bleed):
    tracks = magnitudes(num_tracks, bleed=bleed, num_frames=40)
    weights = crosstalk.estimate(exact_gram(tracks))
    np.testing.assert_allclose(weights, scipy_weights(tracks), atol=1e-9)
    assert weights.dtype == np.float64
    if num_tracks == 14:
        assert (weights == 0).sum() > 2 * num_tracks  # many are at the boundary


@pytest.mark.parametrize("num_tracks", [5, 14])
def test_nnls_satisfies_the_optimality_conditions(num_tracks):
    gram = exact_gram(magnitudes(num_tracks, seed=3))
    weights = crosstalk.estimate(gram)
    gradient = 2 * (weights @ gram - gram)
    norm = np.sqrt(np.diag(gram))
    gradient /= np.outer(norm, norm)
    off_diagonal = ~np.eye(num_tracks, dtype=bool)
    assert (weights >= 0).all() and (np.diag(weights) == 0).all()
    assert (gradient[off_diagonal] > -1e-9).all()
    np.testing.assert_allclose(gradient[off_diagonal & (weights > 0)], 0, atol=1e-9)


def test_leading_axes_are_bands():
    bands = np.stack([[magnitudes(5, seed=3 * i + j) for j in range(3)] for i in range(2)])
    grams = np.array([[exact_gram(b) for b in row] for row in bands])
    separate = np.array([[crosstalk.estimate(g) for g in row] for row in grams])
    np.testing.assert_allclose(crosstalk.estimate(grams), separate, atol=1e-12)
    costs = crosstalk.cost(grams, separate)
    np.testing.assert_allclose(costs[1, 2], theta(bands[1, 2], separate[1, 2]), rtol=1e-9)
    assert costs.shape == (2, 3, 5)
    descents = crosstalk.estimate(grams, solver="momentum", max_steps=300)
    single = crosstalk.estimate(grams[1, 2], solver="momentum", max_steps=300)
    np.testing.assert_allclose(descents[1, 2], single, atol=1e-12)


@pytest.mark.parametrize("solver", ["nnls", "momentum"])
def test_silent_tracks_have_no_weights(solver):
    tracks = magnitudes(5)
    tracks[[1, 3]] = 0
    weights = crosstalk.estimate(exact_gram(tracks), solver=solver)
    assert (weights[[1, 3]] == 0).all() and (weights[:, [1, 3]] == 0).all()
    audible = [0, 2, 4]
    expected = crosstalk.estimate(exact_gram(tracks[audible]), solver=solver)
    np.testing.assert_allclose(weights[np.ix_(audible, audible)], expected, atol=1e-9)
    assert (crosstalk.estimate(np.zeros((3, 3)), solver=solver) == 0).all()


def test_one_of_two_equal_tracks_carries_the_weight():
    tracks = magnitudes(5)
    tracks[3] = tracks[1]
    gram = exact_gram(tracks)
    weights = crosstalk.estimate(gram)
    np.testing.assert_allclose(crosstalk.cost(gram, weights), theta(tracks, scipy_weights(tracks)),
                               rtol=1e-9, atol=1e-9)  # fmt: skip
    assert (np.minimum(weights[:, 1], weights[:, 3]) == 0).all()
    np.testing.assert_allclose(weights[[1, 3], [3, 1]], 1)
    np.testing.assert_allclose(crosstalk.cost(gram, weights)[[1, 3]], 0, atol=1e-9)


@pytest.mark.parametrize("difference", [0, 1e-6, 1e-3])
def test_rounding_errors_of_nearly_equal_tracks_are_harmless(difference):
    rng = np.random.default_rng(1)
    tracks = magnitudes(14)
    tracks[9:] = tracks[:5] * (1 + difference * rng.random((5, 30, 20)))
    gram = exact_gram(tracks)
    noise = 1e-7 * rng.uniform(-1, 1, gram.shape)
    rounded = gram * (1 + noise + noise.T)
    assert np.linalg.eigvalsh(rounded)[0] < 0
    weights = crosstalk.estimate(rounded)
    assert np.isfinite(weights).all() and (weights >= 0).all()
    excess = theta(tracks, weights) - theta(tracks, scipy_weights(tracks))
    assert (excess < 1e-5 * np.diag(gram)).all()


def test_levels_of_the_tracks_have_no_effect():
    tracks = magnitudes(5)
    expected = crosstalk.estimate(exact_gram(tracks))
    levels = 10.0 ** np.array([-5, 0, 4, -2, 1])
    gram = exact_gram(tracks) * np.outer(levels, levels)
    weights = crosstalk.estimate(gram) * levels / levels[:, None]
    np.testing.assert_allclose(weights, expected, atol=1e-8)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 60])
def test_momentum_matches_seipels_iterations(num_steps):
    tracks = magnitudes(4, num_frames=12, num_bins=9)
    weights = crosstalk.estimate(
        exact_gram(tracks), solver="momentum", max_steps=num_steps, tolerance=0.0
    )
    expected = seipel_descent(scaled(tracks), num_steps=num_steps)
    np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-12)
    assert expected.any()


@pytest.mark.parametrize("num_tracks", [2, 14])
def test_momentum_reaches_the_exact_minimum(num_tracks):
    gram = exact_gram(magnitudes(num_tracks, num_frames=60))
    exact = crosstalk.cost(gram, crosstalk.estimate(gram))
    descent = momentum_descent(gram)
    np.testing.assert_allclose(crosstalk.cost(gram, descent.weights), exact, rtol=1e-8)
    assert (descent.num_steps < 1000).all()
    # The steps do not depend on the level.
    scaled_descent = momentum_descent(1e-6 * gram)
    np.testing.assert_allclose(scaled_descent.weights, descent.weights, atol=1e-9)


def test_restarts_from_random_weights_end_in_the_same_minimum():
    gram = exact_gram(magnitudes(5))
    expected = crosstalk.estimate(gram)
    rng = np.random.default_rng(0)
    weights = [
        crosstalk.estimate(gram, solver="momentum", initial=rng.random((5, 5))) for _ in range(5)
    ]
    np.testing.assert_allclose(weights, np.broadcast_to(expected, (5, 5, 5)), atol=1e-5)


def test_descent_stalls_at_the_scale_of_samples_but_not_at_the_chosen_scale():
    tracks = magnitudes(3, num_frames=10, num_bins=8)
    largest = 2 * np.linalg.eigvalsh(exact_gram(tracks))[-1]
    gram = exact_gram(tracks)
    start, end = np.diag(gram), crosstalk.cost(gram, crosstalk.estimate(gram))

    def progress(hessian):
        """Return the fraction of the decrease of Theta that 500 steps achieve."""
        weights = seipel_descent(tracks * np.sqrt(hessian / largest), num_steps=500)
        return (start - crosstalk.cost(gram, weights)) / (start - end)

    assert (progress(0.01) < 0.05).all()
    np.testing.assert_allclose(progress(1000.0), 1, atol=1e-6)


def test_converged_targets_stop_iterating():
    gram = exact_gram(magnitudes(5))
    descent = momentum_descent(gram, tolerance=1e-4)
    assert len(set(descent.num_steps)) > 1
    for target, num_steps in enumerate(descent.num_steps):
        exact = momentum_descent(gram, tolerance=0.0, max_steps=int(num_steps))
        np.testing.assert_allclose(descent.weights[target], exact.weights[target], rtol=1e-12)


def test_cost_matches_its_definition():
    tracks = magnitudes(4)
    weights = np.random.default_rng(2).random((4, 4)) * (1 - np.eye(4))
    np.testing.assert_allclose(
        crosstalk.cost(exact_gram(tracks), weights), theta(tracks, weights), rtol=1e-10
    )


def test_invalid_arguments_are_rejected():
    gram = exact_gram(magnitudes(2))
    with pytest.raises(UserError, match="did you mean 'momentum'"):
        crosstalk.estimate(gram, solver="momentun")
    with pytest.raises(UserError, match="max_step"):
        crosstalk.estimate(gram, solver="momentum", max_step=3)
    with pytest.raises(ValueError, match="gram: expected finite"):
        crosstalk.estimate(gram[0])
    with pytest.raises(ValueError, match="gram: expected finite"):
        crosstalk.estimate(np.full((2, 2), np.nan))
    for initial in (np.zeros((3, 3)), -np.ones((2, 2))):
        with pytest.raises(ValueError, match="initial: expected non-negative weights"):
            crosstalk.estimate(gram, solver="momentum", initial=initial)
