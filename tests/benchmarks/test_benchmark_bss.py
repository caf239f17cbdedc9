"""BSS-Eval benchmark on tiny sizes, without mir_eval."""

import sys

import numpy as np
import pytest

from irec_jax.benchmarks import bss as benchmark
from irec_jax.errors import UserError
from irec_jax.metrics.bss import bss_eval_sources


def test_prints_scores_and_deviations(monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark, "mir_eval_scores", lambda *sets: 0.25 + np.stack(bss_eval_sources(*sets))
    )
    benchmark.main(["--sources=2", "--seconds=0.2", "--rounds=1"])
    printed = capsys.readouterr().out
    assert "BSS-Eval of 2 x 8820 samples, 1 round\n" in printed
    assert printed.count("2.5e-01") == 3


def test_estimates_differ_in_quality():
    sources = benchmark.make_sources(3, 0.5)
    assert sources.shape == (3, 22050) and sources.dtype == np.float32
    np.testing.assert_allclose(np.abs(sources).max(-1), 0.9, rtol=1e-6)
    scores = bss_eval_sources(sources, benchmark.make_estimates(sources), num_taps=8)
    assert scores.bss_sdr_db[0] < 20 and scores.bss_sdr_db[2] > 50


def test_deviation_ignores_rounding_errors():
    assert benchmark.deviation_db([1.0, np.inf], [1.5, 250.0]) == 0.5


def test_invalid_options_and_missing_peers_are_reported(monkeypatch):
    for option in ("--sources=0", "--rounds=0", "--seconds=nan"):
        with pytest.raises(UserError, match=option.split("=")[0]):
            benchmark.main([option])
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    with pytest.raises(UserError, match=r"pip install 'irec-jax\[peers\]'"):
        benchmark.mir_eval_scores(np.ones((1, 9)), np.ones((1, 9)))
