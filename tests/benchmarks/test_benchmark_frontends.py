"""Log-mel benchmark without its peers, and agreement of librosa and our front end."""

import sys

import numpy as np
import pytest

from irec_jax.benchmarks import frontends
from irec_jax.errors import UserError


@pytest.mark.parametrize("package", ["torch", "nnAudio.features"])
def test_missing_peers_are_reported_with_the_remedy(package, monkeypatch):
    if package != "torch":  # any module replaces an installed torch
        monkeypatch.setitem(sys.modules, "torch", np)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'irec-jax\[peers\]'"):
        frontends.main([])


def test_rounds_must_be_positive():
    with pytest.raises(UserError, match="--rounds=0"):
        frontends.main(["--rounds=0"])


def test_deviation_is_relative_to_librosa_in_float64():
    waveforms = frontends.make_waveforms(2, 0.2)
    exact = frontends.librosa_log_mel(waveforms.astype(np.float64))
    calls = {
        "ours": lambda: frontends.FRONTEND(waveforms),
        "wrong": lambda: exact + 0.5 * np.abs(exact).max(),
    }
    relative = frontends.deviations(calls, waveforms)
    assert relative["ours"] < 1e-5
    np.testing.assert_allclose(relative["wrong"], 0.5)
