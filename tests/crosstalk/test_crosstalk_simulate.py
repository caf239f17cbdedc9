"""Simulated spot microphones: mixing matrices, delays, and mixtures compared with loops."""

import jax
import numpy as np
import pytest

from irec_jax import crosstalk
from irec_jax.errors import UserError


def tracks(num_tracks=3, num_samples=50, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num_tracks, num_samples)).astype(np.float32)


def mixture(tracks, mixing, delays):
    """Return spot signals computed in loops, not normalised."""
    spots = np.zeros(tracks.shape)
    for l, j, t in np.ndindex(*mixing.shape, tracks.shape[1]):  # noqa: E741
        if t >= delays[l, j]:
            spots[l, t] += mixing[l, j] * tracks[j, t - delays[l, j]]
    return spots


@pytest.mark.parametrize("max_crosstalk", [0.5, 0.126])
def test_mixing_matrix_is_symmetric_uniform_and_in_range(max_crosstalk):
    mixing = np.asarray(crosstalk.draw_mixing(jax.random.key(0), 60, max_crosstalk=max_crosstalk))
    np.testing.assert_array_equal(mixing, mixing.T)
    np.testing.assert_array_equal(np.diag(mixing), 1)
    gains = mixing[np.triu_indices(60, 1)]
    assert 0 < gains.min() and gains.max() < max_crosstalk
    fractions = np.histogram(gains, bins=5, range=(0, max_crosstalk))[0] / gains.size
    np.testing.assert_allclose(fractions, 0.2, atol=0.04)
    assert mixing.dtype == np.float32


def test_mixing_matrix_depends_only_on_the_key():
    def draw(seed):
        return crosstalk.draw_mixing(jax.random.key(seed), 4, max_crosstalk=0.5)

    np.testing.assert_array_equal(draw(3), draw(3))
    assert (np.asarray(draw(3)) != np.asarray(draw(4))).sum() == 12


def test_delays_match_hand_calculations():
    mixing = np.array([[1, 0.25], [0.5, 1]], np.float32)
    # 0.25 is 2 m away, 1 m more than the direct sound: 48,000 / 343 = 139.94 samples; 0.5 is
    # 1.4142 m away: 57.97.
    delays = crosstalk.delays_samples(mixing, 48_000)
    np.testing.assert_array_equal(delays, [[0, 140], [58, 0]])
    # By 1 / A, 0.25 is 4 m away, 3 m more: 419.83; 0.5 is 2 m away: 139.94.
    delays = crosstalk.delays_samples(mixing, 48_000, law="inverse")
    np.testing.assert_array_equal(delays, [[0, 420], [140, 0]])
    assert delays.dtype == np.int32


def test_simulation_matches_loops():
    dry = tracks()
    mixing = np.array([[1, 0.3, 0.2], [0.1, 1, 0.05], [0.4, 0.25, 1]], np.float32)
    # One delay exceeds the length, one is the longest that does not.
    delays = np.array([[0, 3, 49], [7, 0, 12], [50, 1, 0]])
    spots, gain = crosstalk.simulate(dry, mixing, delays)
    expected = mixture(dry, mixing, delays)
    np.testing.assert_allclose(gain, 1 / np.abs(expected).max(), rtol=1e-6)
    np.testing.assert_allclose(spots, expected / np.abs(expected).max(), atol=1e-6)
    assert np.abs(spots).max() == pytest.approx(1)
    assert spots.dtype == np.float32


def test_tracks_are_normalised_jointly():
    dry = tracks() * np.array([[1e-3], [5.0], [0.1]], np.float32)
    spots, gain = crosstalk.simulate(dry, np.eye(3), np.zeros((3, 3), int))
    np.testing.assert_allclose(spots, gain * dry, rtol=1e-6)
    assert np.abs(spots).max(-1).argmax() == 1


def test_simulation_is_linear_up_to_the_gain():
    mixing = np.asarray(crosstalk.draw_mixing(jax.random.key(0), 3, max_crosstalk=0.5))
    delays = crosstalk.delays_samples(mixing, 2000)

    def unnormalised(dry):
        spots, gain = crosstalk.simulate(dry, mixing, delays)
        return np.asarray(spots) / gain

    first, second = tracks(seed=1), tracks(seed=2)
    expected = 0.5 * unnormalised(first) - 3 * unnormalised(second)
    np.testing.assert_allclose(unnormalised(0.5 * first - 3 * second), expected, atol=1e-5)


def test_silence_stays_silent():
    mixing = np.full((2, 2), 0.5)
    spots, gain = crosstalk.simulate(np.zeros((2, 9), np.float32), mixing, np.zeros((2, 2), int))
    assert (np.asarray(spots) == 0).all() and gain == 1


def test_tracks_shorter_than_the_delays_have_no_crosstalk():
    dry = tracks(num_samples=10)
    mixing = np.where(np.eye(3), 1, 0.3).astype(np.float32)
    delays = np.where(np.eye(3), 0, [[10, 11, 1000]] * 3)
    spots, gain = crosstalk.simulate(dry, mixing, delays)
    np.testing.assert_allclose(spots, gain * dry, rtol=1e-6)


def test_results_with_and_without_jit_match():
    dry = tracks()
    mixing = np.asarray(crosstalk.draw_mixing(jax.random.key(1), 3, max_crosstalk=0.5))
    delays = crosstalk.delays_samples(mixing, 4000)
    spots, gain = crosstalk.simulate(dry, mixing, delays)
    with jax.disable_jit():
        plain, plain_gain = crosstalk.simulate(dry, mixing, delays)
    np.testing.assert_allclose(spots, plain, atol=1e-6)
    np.testing.assert_allclose(gain, plain_gain, rtol=1e-6)


def test_invalid_arguments_are_rejected():
    for level in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match="max_crosstalk"):
            crosstalk.draw_mixing(jax.random.key(0), 3, max_crosstalk=level)
    with pytest.raises(UserError, match="unknown distance law 'inverse_squared'"):
        crosstalk.delays_samples(np.eye(2) + 0.1, 48_000, law="inverse_squared")
    for amplitude in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match="mixing: expected amplitudes"):
            crosstalk.delays_samples(np.array([[1, amplitude], [0.5, 1]]), 48_000)


def test_room_adds_a_separate_tail_to_every_sound():
    rng = np.random.default_rng(11)
    tracks = np.zeros((2, 4000), np.float32)
    tracks[0, 100], tracks[1, 900] = 1, 0.5  # impulses: the spots are the responses
    mixing = np.array([[1, 0.3], [0.3, 1]], np.float32)
    delays = np.array([[0, 40], [25, 0]])
    rate_hz, decay_s = 8000, 0.05
    room = dict(decay_s=decay_s, sample_rate_hz=rate_hz, crosstalk_tail_db=-3.0, own_tail_db=-9.0)
    spots, own = crosstalk.simulate_room(jax.random.key(1), tracks, mixing, delays, **room)
    spots, own = np.asarray(spots), np.asarray(own)
    np.testing.assert_allclose(np.abs(spots).max(), 1, rtol=1e-5)
    gain = own[0, 100] / tracks[0, 100]
    direct = spots / gain
    tail = round(decay_s * rate_hz)
    for mic, source, start in ((0, 0, 100), (0, 1, 940), (1, 0, 125), (1, 1, 900)):
        response = direct[mic, start : start + tail] / tracks[source].max() / mixing[mic, source]
        np.testing.assert_allclose(response[0], 1, atol=0.02)
        expected = 10 ** ((-9 if mic == source else -3) / 10)
        np.testing.assert_allclose(np.square(response[1:]).sum(), expected, rtol=0.05)
        first, second = np.split(response[tail // 5 :][: 2 * (tail // 3)], 2)
        assert np.square(second).sum() < 0.1 * np.square(first).sum()
    assert np.abs(own[0, 940:]).max() < 1e-3  # only its own source
    without_tails = dict(room, crosstalk_tail_db=-200.0, own_tail_db=-200.0)
    music = rng.standard_normal((2, 4000)).astype(np.float32)
    dry, gain = crosstalk.simulate(music, mixing, delays)
    wet, own = crosstalk.simulate_room(jax.random.key(1), music, mixing, delays, **without_tails)
    np.testing.assert_allclose(wet, dry, atol=1e-4)
    np.testing.assert_allclose(own, gain * music, atol=1e-4)
