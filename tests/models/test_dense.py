"""Dense network compared with its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import models
from irec_jax.errors import UserError

X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)


def random_params(model):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), X, train=False))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes)


def test_logits_match_the_equations():
    model = models.create("dense", num_classes=2, units=(4, 5))
    params = random_params(model)
    y = X
    for number in range(3):
        layer = params[f"Dense_{number}"]
        y = y @ layer["kernel"] + layer["bias"]
        y = np.where((y < 0) & (number < 2), 0.01 * y, y)
    logits, state = model.apply({"params": params}, X, train=False, mutable=["intermediates"])
    np.testing.assert_allclose(logits, y, rtol=1e-5, atol=1e-6)
    assert state["intermediates"]["dense_1"][0].shape == (3, 5)
    np.testing.assert_array_equal(state["intermediates"]["output"][0], logits)


def test_initial_weights_match_keras():
    model = models.create("dense", num_classes=2, units=(300,))
    params = jax.jit(lambda: model.init(jax.random.key(0), jnp.zeros((1, 500)), train=False))()
    params = params["params"]
    kernel, limit = np.asarray(params["Dense_0"]["kernel"]), np.sqrt(6 / 800)
    assert 0.99 * limit < np.abs(kernel).max() <= limit  # Glorot uniform
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
    assert not np.any(params["Dense_0"]["bias"])


def test_dropout_is_applied_only_in_training():
    model = models.create("dense", num_classes=2, units=(64,), dropout=0.5)
    variables = {"params": random_params(model)}
    without_dropout = model.apply(variables, X, train=False)
    np.testing.assert_array_equal(without_dropout, model.apply(variables, X, train=False))
    first, second = (
        model.apply(variables, X, train=True, rngs={"dropout": jax.random.key(n)}) for n in (1, 2)
    )
    assert np.all(first != second) and np.all(first != without_dropout)


def test_bfloat16_returns_float32_logits():
    wide, narrow = (
        models.create("dense", num_classes=2, units=(64,), dtype=t)
        for t in (jnp.float32, jnp.bfloat16)
    )
    variables = {"params": random_params(wide)}
    logits = narrow.apply(variables, X, train=False)
    assert logits.dtype == jnp.float32
    assert np.mean(logits == logits.astype(jnp.bfloat16)) < 0.5, "the last layer is rounded"
    np.testing.assert_allclose(logits, wide.apply(variables, X, train=False), atol=0.05)


@pytest.mark.usefixtures("unchecked")
def test_invalid_features_and_activations_are_rejected():
    with pytest.raises(ValueError, match=r"features.*\(3, 0\)"):
        models.create("dense", num_classes=2).init(jax.random.key(0), X[:, :0], train=False)
    with pytest.raises(ValueError, match="features"):
        models.create("dense", num_classes=2).init(jax.random.key(0), X[0], train=False)
    with pytest.raises(UserError, match="'lrelu_0.01'"):
        model = models.create("dense", num_classes=2, activation="lrelu_0.1")
        jax.eval_shape(lambda: model.init(jax.random.key(0), X, train=False))
