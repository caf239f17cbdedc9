"""Training step benchmark of Ligtenberg's networks, without PyTorch."""

import sys

import jax
import numpy as np
import pytest

from irec_jax import losses, models
from irec_jax.benchmarks import networks, unet
from irec_jax.errors import UserError

SMALL = dict(filters=(2, 3), kernels=(3, 3), strides=(2, 2), dilations=(1, 1))


def test_our_step_updates_statistics_and_reduces_the_loss():
    shape = (8, 12)
    model = models.create("unet", **SMALL, bottleneck=(4,))
    variables = unet.random_variables(model, shape)
    state = {key: value for key, value in variables.items() if key != "params"}
    rng = np.random.default_rng(0)
    features = rng.uniform(-0.6, 0, (2, *shape)).astype(np.float32)
    labels = features - 0.1
    start, step = networks.jax_step(
        model, variables["params"], losses.mean_absolute_error, features, labels, state
    )
    estimate = model.apply(variables, features, train=False)
    assert start == pytest.approx(float(np.abs(estimate - labels).mean()), rel=1e-5)
    steps = [step() for _ in range(20)]
    assert steps[-1] < steps[0]


def test_random_variables_are_reproducible_and_differ_from_their_initial_values():
    model = models.create("spectrogram_cnn", num_classes=3, dense=4, **SMALL)
    first, second = (unet.random_variables(model, (8, 8)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    norm = first["params"]["Block_1"]["BatchNorm_0"]
    statistics = first["batch_stats"]["Block_1"]["BatchNorm_0"]
    assert all(np.ptp(a) > 0 for a in (*norm.values(), statistics["mean"], statistics["var"]))
    assert statistics["var"].min() > 0


@pytest.mark.parametrize("arguments", [["--rounds=0"], ["--batch_size=0"]])
def test_options_must_be_positive(arguments):
    with pytest.raises(UserError, match="=0: expected 1 or more"):
        unet.main(arguments)


@pytest.mark.parametrize("name", unet.MODELS)
def test_missing_peer_is_reported_with_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'irec-jax\[peers\]'"):
        unet.implementations(name, 1)
