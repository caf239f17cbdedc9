"""Griffin-Lim benchmark: its implementations converge equally, and its options are checked."""

import numpy as np
import pytest

from irec_jax.benchmarks import griffin_lim
from irec_jax.errors import UserError


def test_implementations_converge_equally():
    num_samples = 16_000
    magnitudes = griffin_lim.make_magnitudes(2, num_samples)
    calls = griffin_lim.implementations(magnitudes, num_samples=num_samples, num_iterations=8)
    reached = {}
    for name, call in calls.items():
        signals = np.asarray(call())
        assert signals.shape == (2, num_samples)
        reached[name] = griffin_lim.convergence_db(signals, magnitudes).mean()
    # Random phases differ, so results are only similar. Without iterations they reach -4 dB.
    np.testing.assert_allclose(list(reached.values()), reached[griffin_lim.OURS], atol=2.5)
    assert max(reached.values()) < -12


def test_convergence_of_halved_and_silent_signals():
    noise = np.random.default_rng(0).standard_normal((1, 20_000)).astype("f")
    magnitudes = np.abs(griffin_lim.stft.stft(noise, **griffin_lim.FRAMING))
    np.testing.assert_allclose(griffin_lim.convergence_db(noise / 2, magnitudes), -6.02, atol=0.01)
    np.testing.assert_allclose(griffin_lim.convergence_db(0 * noise, magnitudes), 0, atol=1e-6)


@pytest.mark.parametrize("option", ["clips", "seconds", "iterations", "rounds"])
def test_options_must_be_positive(option):
    with pytest.raises(UserError, match=f"--{option}=0"):
        griffin_lim.main([f"--{option}=0"])


def test_prints_a_table(capsys):
    griffin_lim.main(["--clips=1", "--seconds=0.2", "--iterations=1", "--rounds=1"])
    printed = capsys.readouterr().out
    assert "librosa, clip by clip" in printed and "x irec-jax" in printed
