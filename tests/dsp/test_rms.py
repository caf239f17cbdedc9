"""RMS per frame compared with a naive loop."""

import jax
import numpy as np
import pytest

from irec_jax.dsp.rms import frame_rms


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 61])
@pytest.mark.parametrize("frame_length", [1, 8])
@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_frame_rms_matches_a_naive_loop(num_samples, frame_length, leading):
    rng = np.random.default_rng(num_samples)
    samples = rng.standard_normal((*leading, num_samples)).astype(np.float32)
    expected = [
        np.sqrt((samples[..., i : i + frame_length] ** 2).sum(-1) / frame_length)
        for i in range(0, num_samples, frame_length)
    ]
    for function in (frame_rms, jax.jit(frame_rms, static_argnames="frame_length")):
        levels = function(samples, frame_length=frame_length)
        assert levels.dtype == np.float32
        np.testing.assert_allclose(levels, np.stack(expected, axis=-1), rtol=1e-6)


def test_silence_has_no_level_and_no_gradient():
    silence = np.zeros(10, np.float32)
    assert not frame_rms(silence, frame_length=4).any()
    gradient = jax.grad(lambda samples: frame_rms(samples, frame_length=4).sum())(silence)
    np.testing.assert_array_equal(gradient, np.zeros(10))


def test_frame_length_must_be_positive():
    with pytest.raises(ValueError, match="frame_length=0"):
        frame_rms(np.zeros(4, np.float32), frame_length=0)
