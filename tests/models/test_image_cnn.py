"""Goel's image networks compared with stock layers on three equal channels; contracts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import models
from irec_jax.errors import UserError
from irec_jax.models import image_cnn

#: A convolution with stride and cropped pooling, one without pooling, one of 1 x 1.
SMALL = dict(
    num_classes=4, filters=(3, 5, 4), kernels=(4, 3, 1), strides=(3, 1, 1), pools=(2, 1, 2), dense=6
)
SIZE = (31, 35)


def _variables(model, x):
    """Return random kernels with the variance of Glorot's initialisation, and positive biases."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(1)

    def draw(path, a):
        if a.ndim < 2:
            is_bias = path[-1].key == "bias"  # otherwise a slope of PReLU
            values = rng.uniform(0.05, 0.3, a.shape) if is_bias else np.full(a.shape, 0.25)
            return values.astype(np.float32)
        fans = np.prod(a.shape[:-2]) * sum(a.shape[-2:])
        return rng.normal(0, np.sqrt(2 / fans), a.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _images(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.fixture(scope="module")
def small():
    model = models.create("image_cnn", **SMALL)
    return model, _variables(model, _images(1, *SIZE))


def _stock(params, net, images, activation=nn.relu):
    """Apply the network in stock layers to images (batch, height, width) repeated three times."""
    x = jnp.repeat(images[..., None], 3, -1)
    for number, (filters, kernel, stride, pool) in enumerate(net):
        layer = nn.Conv(filters, (kernel, kernel), (stride, stride), "VALID")
        x = activation(layer.apply({"params": params[f"Conv_{number}"]}, x))
        x = nn.max_pool(x, (pool, pool), (pool, pool))
    x = x.reshape(x.shape[0], -1)
    for number in (0, 1):
        kernel, bias = params[f"Dense_{number}"]["kernel"], params[f"Dense_{number}"]["bias"]
        x = (activation if number == 0 else lambda x: x)(x @ kernel + bias)
    return x


def _logits_and_gradients(functions, params, x):
    """Return the logits of each function, and its gradients."""

    def run(function, params, x):
        logits, vjp = jax.vjp(function, params, x)
        cotangent = np.cos(np.arange(logits.size, dtype=np.float32) - 1)
        return logits, vjp(cotangent.reshape(logits.shape))

    return jax.jit(lambda *arguments: [run(f, *arguments) for f in functions])(params, x)


def _assert_near(actual, expected, tolerance=2e-5):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= tolerance * np.abs(e).max()


@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_outputs_and_gradients_match_stock_layers_on_three_channels(activation):
    model = models.create("image_cnn", **SMALL, activation=activation)
    x = _images(3, *SIZE)
    params = _variables(model, x)["params"]
    assert params["Conv_0"]["kernel"].shape == (4, 4, 3, 3)
    functions = {"relu": nn.relu, "prelu": lambda x: nn.leaky_relu(x, 0.25)}
    net = image_cnn.net_layers(
        "b1", **{k: SMALL[k] for k in ("filters", "kernels", "strides", "pools")}
    )

    def ours(params, x):
        return model.apply({"params": params}, x, train=False)

    def stock(params, x):
        return _stock(params, net, x, functions[activation])

    slopes = [name for name in params if "Activation" in name]
    ours, stock = _logits_and_gradients((ours, stock), params, x)
    (actual, (d_params, dx)), (expected, (stock_d_params, stock_dx)) = ours, stock
    _assert_near((actual, dx), (expected, stock_dx))
    for name in set(params) - set(slopes):
        for kind in ("kernel", "bias"):
            _assert_near(d_params[name][kind], stock_d_params[name][kind])


@pytest.mark.parametrize("net", image_cnn.NETS)
def test_published_nets_match_stock_layers(net):
    sizes = {  # after each pooling, from Goel
        "b1": [15, 3],
        "b2": [36, 8, 1],
        "b3": [36, 16, 7, 2],
        "b4": [74, 36, 17, 7, 2],
    }[net]
    model = models.create("image_cnn", num_classes=5, net=net)
    x = _images(1, 150, 150)
    variables = _variables(model, x)

    @jax.jit
    def apply(variables):
        ours = model.apply(variables, x, train=False, mutable=["intermediates"])
        return ours, _stock(variables["params"], image_cnn.NETS[net], x)

    (logits, state), expected = apply(variables)
    shapes = [v[0].shape[1:3] for k, v in state["intermediates"].items() if "block" in k]
    assert shapes == [(size, size) for size in sizes]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_each_image_of_an_example_has_its_own_logits(small):
    model, variables = small
    x = _images(2, 3, *SIZE)
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    logits = apply(x)
    assert logits.shape == (2, 3, 4)
    for number in range(3):
        np.testing.assert_allclose(logits[:, number], apply(x[:, number]), atol=1e-6)
    np.testing.assert_allclose(logits[1:], apply(x[1:]), atol=1e-6)


def test_intermediates_have_the_shapes_of_the_layers(small):
    model, variables = small
    apply = jax.jit(lambda x: model.apply(variables, x, train=False, mutable=["intermediates"]))
    logits, state = apply(_images(2, 3, *SIZE))
    shapes = {name: value[0].shape for name, value in state["intermediates"].items()}
    assert shapes == {
        "block_1": (2, 3, 5, 5, 3),
        "block_2": (2, 3, 3, 3, 5),
        "block_3": (2, 3, 1, 1, 4),
        "dense": (2, 3, 6),
        "output": (2, 3, 4),
    }
    np.testing.assert_array_equal(state["intermediates"]["output"][0], logits)


def test_smallest_image_is_accepted_and_smaller_images_are_rejected():
    model = models.create("image_cnn", num_classes=5, net="b2")
    min_size = 127  # 7 before the last layer, 31 before the second, 2 (2 * 31 - 1) + 5 = 127
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, min_size, min_size)), train=False)
    )
    assert shapes["params"]["Dense_0"]["kernel"].shape == (32, 128)
    with pytest.raises(ValueError, match=f"at least {min_size} x {min_size}"):
        model.init(jax.random.key(0), np.zeros((1, min_size - 1, 150), np.float32), train=False)


@pytest.mark.parametrize("shape", [(31, 35), (2, 1, 31, 35, 1)])
@pytest.mark.usefixtures("unchecked")
def test_features_of_a_wrong_shape_are_rejected(small, shape):
    model, variables = small
    with pytest.raises(ValueError, match="features: expected"):
        model.apply(variables, jnp.zeros(shape), train=False)
    with pytest.raises(ValueError, match="features: expected"):
        model.apply(variables, {"steps": jnp.zeros(shape)}, train=False)


@pytest.mark.parametrize(
    "arguments, match",
    [
        (dict(net="b5"), "did you mean 'b"),
        (dict(net="b3", filters=(8, 8)), "2 model.filters, 4 model.kernels"),
        (dict(net="b1", strides=(1, 0)), "model.strides"),
        (dict(net="b1", pools=(2, 2.5)), "model.pools"),
        (dict(net="b1", input_channels=0), "model.input_channels=0"),
        (dict(net="b1", activation="rel"), "did you mean 'relu'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_invalid_settings_are_rejected(arguments, match):
    model = models.create("image_cnn", num_classes=2, **arguments)
    with pytest.raises(UserError, match=match):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 99, 99)), train=False))


def test_lists_replace_single_settings_of_a_net():
    layers = image_cnn.net_layers("b1", filters=[8, 9])
    assert layers == ((8, 10, 3, 3), (9, 5, 2, 2))


def test_initial_weights_are_glorot_uniform_with_zero_bias():
    model = models.create("image_cnn", num_classes=5)
    init = jax.jit(lambda key: model.init(key, _images(1, 150, 150), train=False))
    params = init(jax.random.key(0, impl="rbg"))["params"]
    for name, layer in params.items():
        kernel = np.asarray(layer["kernel"])
        fans = np.prod(kernel.shape[:-2]) * (kernel.shape[-2] + kernel.shape[-1])
        limit = np.sqrt(6 / fans)
        assert 0.9 * limit < np.abs(kernel).max() <= limit, name
        np.testing.assert_array_equal(layer["bias"], 0)


@pytest.mark.parametrize("rates", [dict(dropout=0.5), dict(dense_dropout=0.5)])
def test_dropout_is_applied_only_in_training_and_depends_on_the_example_index(small, rates):
    no_dropout = dict(dropout=0.0, dense_dropout=0.0)
    model, variables = models.create("image_cnn", **SMALL, **(no_dropout | rates)), small[1]
    x = np.broadcast_to(_images(1, 1, *SIZE), (2, 2, *SIZE))

    @jax.jit
    def apply(key, index, x):
        variables_ = variables | {"examples": {"index": index}}
        return model.apply(variables_, x, train=True, rngs={"dropout": key})

    first = apply(jax.random.key(0), jnp.array([0, 1]), x)
    assert np.abs(first - apply(jax.random.key(1), jnp.array([0, 1]), x)).max() > 1e-3
    assert (
        np.abs(first[0] - first[1]).max() > 1e-3 and np.abs(first[:, 0] - first[:, 1]).max() > 1e-3
    )
    np.testing.assert_allclose(
        apply(jax.random.key(0), jnp.array([1, 0]), x), first[::-1], atol=1e-6
    )
    plain, same = (
        jax.jit(lambda x, m=m: m.apply(variables, x, train=False))(x) for m in (model, small[0])
    )
    np.testing.assert_array_equal(plain, same)


def test_bfloat16_is_close_to_float32_with_float32_parameters(small):
    model, variables = small
    half = models.create("image_cnn", **SMALL, dtype="bfloat16")
    x = _images(2, *SIZE)
    starts = jax.eval_shape(lambda: half.init(jax.random.key(0), x, train=False))
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(starts))
    functions = [lambda v, x, m=m: m.apply(v, x, train=False) for m in (half, model)]
    actual, expected = _logits_and_gradients(functions, variables, x)
    assert actual[0].dtype == jnp.float32
    # Compare norms: if two values of a window round to the same number, the gradient moves.
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(a - e) <= 0.1 * np.linalg.norm(e)


def test_gradient_of_the_images_is_computed_only_on_request(small):
    """The gradient of the first layer's input would be an additional product."""
    model, variables = small

    def num_products(argnums):
        def loss(variables, x):
            return model.apply(variables, x, train=False).sum()

        compiled = jax.jit(jax.grad(loss, argnums)).lower(variables, _images(2, *SIZE)).compile()
        text = compiled.as_text()
        return sum(text.count(f" {name}(") for name in ("dot", "convolution"))

    assert num_products(0) < num_products((0, 1))
