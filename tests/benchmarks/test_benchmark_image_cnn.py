"""Training step benchmark of the image networks, without PyTorch."""

import sys

import jax
import numpy as np
import pytest

from irec_jax import losses, models
from irec_jax.benchmarks import image_cnn, networks
from irec_jax.errors import UserError


def test_our_step_reduces_the_initial_loss():
    rng = np.random.default_rng(0)
    images = rng.random((4, 20, 20), np.float32)
    labels = np.eye(5, dtype=np.float32)[:4]
    small = dict(filters=(4,), kernels=(3,), strides=(2,), pools=(2,), dense=8)
    model = models.create("image_cnn", num_classes=5, **small, dropout=0.0, dense_dropout=0.0)
    params = model.init(jax.random.key(0), images, train=False)["params"]
    start, step = networks.jax_step(model, params, losses.softmax_cross_entropy, images, labels)
    shares = jax.nn.log_softmax(model.apply({"params": params}, images, train=False))
    assert start == pytest.approx(-float((labels * shares).sum(-1).mean()), rel=1e-5)
    steps = [step() for _ in range(5)]
    assert steps[0] == pytest.approx(start, rel=1e-5) and steps[-1] < steps[0]


def test_different_losses_are_rejected():
    steps = {
        networks.OURS: networks.Implementation(1.0, lambda: 1.0),
        networks.PEER: networks.Implementation(1.01, lambda: 1.0),
    }
    with pytest.raises(UserError, match="loss 1.01 differs from ours, 1.0, with the same"):
        networks.compare("net", steps, num_rounds=1)


def test_ratio_is_the_peer_time_divided_by_ours(monkeypatch, capsys):
    steps = {
        name: networks.Implementation(1.0, lambda: 1.0) for name in (networks.OURS, networks.PEER)
    }
    seconds = {networks.OURS: [0.02, 0.03, 0.01], networks.PEER: [0.05, 0.01, 0.07]}
    monkeypatch.setattr(networks.timing, "alternate", lambda *_, **__: seconds)
    networks.compare("b1, batch 64", steps, num_rounds=3)
    text = capsys.readouterr().out
    assert text.startswith("\ntraining step of b1, batch 64, 3 rounds\n")
    assert "irec-jax 1.000000, PyTorch channels_last 1.000000" in text
    assert "ratio PyTorch / irec-jax: 2.500" in text


@pytest.mark.parametrize("argument", ["--rounds=0", "--batch=0"])
def test_options_must_be_positive(argument):
    with pytest.raises(UserError, match=f"{argument}: expected 1 or more"):
        image_cnn.main([argument])


def test_missing_peer_is_reported_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'irec-jax\[peers\]'"):
        image_cnn.implementations("b1", 1)


def test_unknown_net_is_reported():
    with pytest.raises(UserError, match="unknown net 'b5'"):
        image_cnn.main(["--nets", "b5"])
