"""Recurrent benchmark on tiny sizes, without PyTorch."""

import sys

import numpy as np
import pytest

from irec_jax import models
from irec_jax.benchmarks import recurrent as benchmark
from irec_jax.errors import UserError


@pytest.fixture
def tiny(monkeypatch):
    """Small sizes, with our implementation in place of PyTorch."""
    monkeypatch.setattr(benchmark, "torch_gradient", lambda *a: benchmark.jax_gradient(*a[:-1]))
    monkeypatch.setattr(benchmark, "CHUNKED", {"BLSTM": dict(bidirectional=True, hidden=(3,))})
    for name, value in dict(CHUNKS=5, CHUNK_SAMPLES=4, LONG_STEPS=9, LONG_BATCHES=(1,)).items():
        monkeypatch.setattr(benchmark, name, value)


def test_prints_a_ratio_for_every_network(tiny, capsys):
    benchmark.main(["--rounds=1", "--long_rounds=1"])
    printed = capsys.readouterr().out
    assert "BLSTM on 5 x 4 samples, batch 64: ratio PyTorch / irec-jax:" in printed
    assert "LSTM on 9 single samples, batch 1: ratio PyTorch / irec-jax:" in printed
    assert "LSTM on 9 single samples, batch 1: ratio PyTorch, one thread / irec-jax:" in printed


def test_different_losses_are_rejected(tiny, monkeypatch):
    def other(*arguments):
        loss, call = benchmark.jax_gradient(*arguments[:-1])
        return 1.01 * loss, call

    monkeypatch.setattr(benchmark, "torch_gradient", other)
    with pytest.raises(UserError, match="PyTorch: loss"):
        benchmark.implementations(2, 3, 4, num_classes=5, hidden=(3,))


@pytest.mark.parametrize("cell, gates", [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_torch_weights_match_the_equations(cell, gates):
    """Compare with the equations in PyTorch's documentation on two steps."""
    rng = np.random.default_rng(0)
    model = models.create("recurrent", num_classes=2, cell=cell, hidden=(3,))
    steps = rng.normal(size=(1, 2, 4)).astype(np.float32)
    params = benchmark.random_params(model, steps)
    params["forward_0"]["bias"] = rng.normal(size=3 * gates).astype(np.float32)
    weights = benchmark.torch_weights(cell, params["forward_0"])
    assert weights["weight_ih"].shape == (3 * gates, 4)

    hidden, memory = np.zeros(3), np.zeros(3)
    for x in steps[0]:
        of_input = weights["weight_ih"] @ x + weights["bias_ih"]
        of_hidden = weights["weight_hh"] @ hidden + weights["bias_hh"]
        a, b = np.split(of_input, gates), np.split(of_hidden, gates)
        sigmoid = [1 / (1 + np.exp(-(p + q))) for p, q in zip(a, b, strict=True)]
        if cell == "rnn":
            hidden = np.tanh(of_input + of_hidden)
        elif cell == "lstm":
            memory = sigmoid[1] * memory + sigmoid[0] * np.tanh(a[2] + b[2])
            hidden = sigmoid[3] * np.tanh(memory)
        else:
            new = np.tanh(a[2] + sigmoid[0] * b[2])
            hidden = (1 - sigmoid[1]) * new + sigmoid[1] * hidden
    expected = hidden @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    logits = model.apply({"params": params}, steps, train=False)[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_memory_is_printed_by_length(monkeypatch, capsys):
    measured = {10: (0.5, 1 << 29), 20: (1.0, 3 << 28)}
    monkeypatch.setattr(benchmark, "measure", lambda batch, num_steps: measured[num_steps])
    benchmark.main(["--memory", "--steps", "10", "20", "--batch=2"])
    printed = capsys.readouterr().out
    assert "0.500 GiB" in printed and "0.750 GiB     1.50      1.00" in printed


def test_measures_one_length(capsys):
    benchmark.main(["--child_steps=600", "--batch=2"])
    seconds, peak = capsys.readouterr().out.split()
    assert float(seconds) > 0 and int(peak) > 1 << 26


def test_invalid_options_and_missing_peers_are_reported(monkeypatch):
    for option in ("--rounds=0", "--long_rounds=0", "--batch=0", "--steps=0"):
        with pytest.raises(UserError, match=option.split("=")[0]):
            benchmark.main([option])
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="--memory: 10 steps, batch 2: exit status 1"):
        benchmark.measure(2, 10)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'irec-jax\[peers\]'"):
        benchmark.torch_gradient(None, {}, np.ones(1), np.ones(1), 1)
