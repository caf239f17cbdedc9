"""Windows side by side compared with a loop over zero-padded windows."""

import jax
import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.frontends import SpectrogramDb
from irec_jax.inference import side_by_side

FRONTEND = SpectrogramDb(frame_length=64, hop_length=18, num_bins=33, num_frames=22)
WINDOW = 20 * 18
identity = jax.jit(FRONTEND)


def noise(num_samples, num_channels=2):
    rng = np.random.default_rng(num_samples)
    return rng.uniform(-1, 1, (num_samples, num_channels)).astype(np.float32)


def naive_features(audio):
    """Return the features (C, bins, frames) of zero-padded windows, one by one."""
    columns = []
    for first in range(0, len(audio), WINDOW):
        window = np.zeros((WINDOW, audio.shape[1]), np.float32)
        window[: len(audio) - first] = audio[first : first + WINDOW]
        columns.append(np.asarray(identity(window.T))[..., :20])
    return np.concatenate(columns, axis=-1)[..., : -(-len(audio) // 18)]


@pytest.mark.parametrize("num_samples", [1, WINDOW, WINDOW + 1, 1500])
def test_joined_windows_have_the_features_and_the_sound_of_each_window(num_samples):
    audio = noise(num_samples)
    features = side_by_side.estimate_joined(
        audio, identity, FRONTEND, window_samples=WINDOW, batch_size=3
    )
    np.testing.assert_allclose(features, naive_features(audio), atol=1e-6)
    estimate = side_by_side.resynthesise_joined(audio, features, FRONTEND, window_samples=WINDOW)
    assert estimate.shape == audio.shape and estimate.dtype == np.float32
    # The first samples of each window, where the analysis windows are nearly 0, are faded in.
    determined = np.arange(num_samples) % WINDOW >= 20
    np.testing.assert_allclose(estimate[determined], audio[determined], atol=1e-3)


def test_griffin_lim_has_the_magnitudes_and_other_phases():
    audio = noise(2 * WINDOW, 1)
    features = naive_features(audio)
    estimate = side_by_side.resynthesise_joined(
        audio, features, FRONTEND, window_samples=WINDOW, phase="griffin-lim", num_iterations=60
    )
    amplitudes, own = FRONTEND.amplitudes(features), FRONTEND.amplitudes(naive_features(estimate))
    assert np.linalg.norm(own - amplitudes) < 0.3 * np.linalg.norm(amplitudes)
    assert np.linalg.norm(estimate - audio) > 0.5 * np.linalg.norm(audio)


def test_invalid_options_are_rejected():
    audio = noise(400)
    with pytest.raises(UserError, match="360|the 350 samples .* not a multiple"):
        side_by_side.estimate_joined(audio, identity, FRONTEND, window_samples=350, batch_size=2)
    with pytest.raises(ValueError, match="phase='none'"):
        side_by_side.resynthesise_joined(
            audio, naive_features(audio), FRONTEND, window_samples=WINDOW, phase="none"
        )
