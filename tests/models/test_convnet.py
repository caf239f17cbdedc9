"""Han's network compared with stock Flax layers, and its contracts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import models
from irec_jax.errors import UserError

SMALL = dict(num_classes=5, filters=(4, 6, 8, 10), dense=16)


def _variables(model, x):
    """Return random kernels with the variance of Glorot's initialisation, and zero biases."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(1)

    def draw(path, a):
        if a.ndim < 2:
            value = 0.0 if path[-1].key == "bias" else 0.25  # a slope of PReLU
            return np.full(a.shape, value, np.float32)
        fans = np.prod(a.shape[:-2]) * sum(a.shape[-2:])
        return rng.normal(0, np.sqrt(2 / fans), a.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _features(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def small():
    model = models.create("convnet", **SMALL)
    return model, _variables(model, _features(1, 43, 128))


@pytest.mark.parametrize("activation, slope", [("lrelu_0.33", 0.33), ("prelu", 0.25)])
def test_matches_the_table_of_the_paper_in_stock_layers(activation, slope):
    model = models.create("convnet", **SMALL, activation=activation)
    x = _features(2, 43, 128)
    variables = _variables(model, x)
    params = variables["params"]
    sizes = [(45, 130), (47, 132), (17, 46), (19, 48), (8, 18), (10, 20), (5, 8), (7, 10)]

    def stock(x):
        y = x[..., None]
        for layer, size in enumerate(sizes):
            convolution = nn.Conv(SMALL["filters"][layer // 2], (3, 3), padding=((2, 2), (2, 2)))
            y = convolution.apply({"params": params[f"Conv_{layer}"]}, y)
            assert y.shape[1:3] == size
            y = nn.leaky_relu(y, slope)
            if layer in (1, 3, 5):
                y = nn.max_pool(y, (3, 3), (3, 3))
        y = nn.Dense(16).apply({"params": params["Dense_0"]}, y.max((1, 2)))
        return nn.Dense(5).apply({"params": params["Dense_1"]}, nn.leaky_relu(y, slope))

    actual, expected = jax.jit(lambda x: (model.apply(variables, x, train=False), stock(x)))(x)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_batch_matches_single_examples(small):
    model, variables = small
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    x = _features(3, 43, 128)
    for example, expected in zip(x, apply(x), strict=True):
        np.testing.assert_allclose(apply(example[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("frames, bands", [(1, 1), (16, 2), (21, 128), (64, 128), (129, 128)])
def test_any_number_of_frames_and_bands_is_valid(small, frames, bands):
    model, variables = small
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    logits = apply(_features(2, frames, bands))
    assert logits.shape == (2, 5) and np.isfinite(logits).all()


@pytest.mark.parametrize("shape", [(43, 128), (2, 43, 128, 1), (2, 0, 128)])
@pytest.mark.usefixtures("unchecked")
def test_features_of_a_wrong_shape_are_rejected(small, shape):
    model, variables = small
    with pytest.raises(ValueError, match="features"):
        model.apply(variables, jnp.zeros(shape), train=False)


def test_initial_weights_are_glorot_uniform_with_zero_bias():
    model = models.create("convnet", num_classes=11)
    init = jax.jit(lambda key: model.init(key, _features(1, 16, 20), train=False))
    params = init(jax.random.key(0, impl="rbg"))["params"]
    for name, layer in params.items():
        kernel = np.asarray(layer["kernel"])
        fans = np.prod(kernel.shape[:-2]) * (kernel.shape[-2] + kernel.shape[-1])
        limit = np.sqrt(6 / fans)
        assert np.abs(kernel).max() <= limit, name
        if kernel.size > 5_000:
            np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
        np.testing.assert_array_equal(layer["bias"], 0)


def test_intermediates_have_the_shapes_of_the_layers(small):
    model, variables = small
    apply = jax.jit(lambda x: model.apply(variables, x, train=False, mutable=["intermediates"]))
    logits, state = apply(_features(2, 43, 128))
    shapes = {name: value[0].shape for name, value in state["intermediates"].items()}
    assert shapes == {
        "block_1": (2, 15, 44, 4),
        "block_2": (2, 6, 16, 6),
        "block_3": (2, 3, 6, 8),
        "block_4": (2, 10),
        "dense": (2, 16),
        "output": (2, 5),
    }
    np.testing.assert_array_equal(state["intermediates"]["output"][0], logits)


def test_dropout_is_applied_only_in_training(small):
    model, variables = small
    x = _features(2, 16, 20)
    apply = jax.jit(lambda key: model.apply(variables, x, train=True, rngs={"dropout": key}))
    first, second = (apply(jax.random.key(i)) for i in (0, 1))
    assert np.abs(first - second).max() > 1e-3


def test_bfloat16_is_close_to_float32_with_float32_parameters(small):
    model, variables = small
    half = models.create("convnet", **SMALL, dtype="bfloat16")
    x = _features(2, 16, 20)
    initial = jax.eval_shape(lambda: half.init(jax.random.key(0), x, train=False))
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(initial))
    actual, expected = (
        jax.jit(lambda x, model=m: model.apply(variables, x, train=False))(x) for m in (half, model)
    )
    assert actual.dtype == jnp.float32
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("activation", ["tanh", "relu", "prelu", "lrelu_0.01"])
def test_other_activations_and_mean_pooling_have_gradients(activation):
    model = models.create("convnet", **SMALL, activation=activation, pooling="mean")
    x = _features(2, 16, 20)
    variables = _variables(model, x)
    gradients = jax.jit(jax.grad(lambda v: (model.apply(v, x, train=False) ** 2).sum()))(variables)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_unknown_names_suggest_the_closest_match():
    with pytest.raises(UserError, match="did you mean 'convnet'"):
        models.create("convnett", num_classes=11)
    with pytest.raises(UserError, match="did you mean 'activation'"):
        models.create("convnet", num_classes=11, activaton="relu")
    with pytest.raises(UserError, match="lrelu_0.33"):
        models.create("convnet", **SMALL, activation="lrelu_0.3").init(
            jax.random.key(0), jnp.zeros((1, 16, 20)), train=False
        )
