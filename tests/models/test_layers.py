"""Activations, pooling and dropout compared with their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.errors import UserError
from irec_jax.models import layers

X = np.linspace(-3, 3, 7).astype(np.float32)  # contains 0


@pytest.mark.parametrize(
    "kind, expected, slope",
    [
        ("tanh", np.tanh(X), 1 - np.tanh(X) ** 2),
        ("relu", np.maximum(X, 0), X > 0),
        ("lrelu_0.01", np.where(X < 0, 0.01 * X, X), np.where(X < 0, 0.01, 1)),
        ("lrelu_0.33", np.where(X < 0, 0.33 * X, X), np.where(X < 0, 0.33, 1)),
        ("prelu", np.where(X < 0, 0.25 * X, X), np.where(X < 0, 0.25, 1)),
    ],
)
def test_activation_and_derivative_match_the_definition(kind, expected, slope):
    module = layers.Activation(kind)
    x = X[:, None]
    variables = module.init(jax.random.key(0), x)
    y, vjp = jax.vjp(lambda x: module.apply(variables, x), x)
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(vjp(2 * jnp.ones_like(y))[0][:, 0], 2 * slope, rtol=1e-4)


def test_prelu_learns_a_slope_per_channel():
    module = layers.Activation("prelu")
    x = np.array([[-1.0, 2.0, -3.0]], np.float32)
    variables = module.init(jax.random.key(0), x)
    assert variables["params"]["negative_slope"].shape == (3,)
    gradient = jax.grad(lambda v: module.apply(v, x).sum())(variables)
    np.testing.assert_allclose(gradient["params"]["negative_slope"], [-1, 0, -3])


def test_unknown_activation_and_pooling_are_rejected():
    with pytest.raises(UserError, match="'lrelu_0.33'"):
        layers.Activation("lrelu_0.3").init(jax.random.key(0), X)
    with pytest.raises(UserError, match="mean"):
        layers.global_pool(jnp.ones((1, 2, 2, 1)), "men")


@pytest.mark.parametrize("kind, expected", [("max", [3.0, 8.0]), ("mean", [1.5, 5.0])])
def test_global_pool_matches_manual_results(kind, expected):
    x = jnp.asarray([[[0.0, 8.0], [1.0, 3.0]], [[3.0, 4.0], [2.0, 5.0]]])[None]
    np.testing.assert_allclose(layers.global_pool(x, kind), [expected])


@pytest.mark.parametrize("rate, kept", [(0.25, 0.75), (0.5, 0.5), (0.1, 58982 / 65536)])
def test_dropout_keeps_the_expected_fraction_and_expectation(rate, kept):
    x = jnp.ones((512, 512))
    module = layers.Dropout(rate)
    y = np.asarray(module.apply({}, x, train=True, rngs={"dropout": jax.random.key(1)}))
    np.testing.assert_allclose(np.unique(y), [0, 1 / kept], rtol=1e-6)
    deviation = np.sqrt(kept * (1 - kept) / x.size)
    assert abs((y > 0).mean() - kept) < 5 * deviation
    second = module.apply({}, x, train=True, rngs={"dropout": jax.random.key(2)})
    agreement = ((y > 0) == (np.asarray(second) > 0)).mean()
    assert abs(agreement - (kept**2 + (1 - kept) ** 2)) < 5e-3
    np.testing.assert_array_equal(module.apply({}, x, train=False), x)


def test_dropout_preserves_the_dtype_and_rejects_rates_out_of_range():
    x = jnp.ones((4, 4), jnp.bfloat16)
    rngs = {"dropout": jax.random.key(0)}
    assert layers.Dropout(0.1).apply({}, x, train=True, rngs=rngs).dtype == jnp.bfloat16
    np.testing.assert_array_equal(layers.Dropout(0.0).apply({}, x, train=True), x)
    with pytest.raises(ValueError, match="rate"):
        layers.Dropout(1.0).apply({}, x, train=True, rngs=rngs)


@pytest.mark.parametrize("sizes", [0, -5, 1.5, True, (3, 0), (1.5,)])
def test_sizes_must_be_positive_integers(sizes):
    layers.check_sizes(hidden=(3, 4), dense=(), units=7)
    with pytest.raises(UserError, match=r"model\.hidden=.*: expected positive integers"):
        layers.check_sizes(hidden=sizes)
