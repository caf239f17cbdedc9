"""U-Net and spectrogram CNN compared with stock Flax layers, and their contracts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax import models
from irec_jax.errors import UserError
from irec_jax.kernels import convolution
from irec_jax.models.unet import ATTENUATION_DB, ATTENUATION_SHIFT

SMALL = dict(filters=(4, 6, 9), kernels=(5, 3, 3), strides=(2, 2, 2), dilations=(1, 1, 1))
SHAPE = (16, 24)


def _features(batch=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.6, 0.2, (batch, *SHAPE)).astype(np.float32)


def _variables(model, features):
    """Return random variables, so that no statistic is 0 or 1."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), features, train=False))
    rng = np.random.default_rng(0)

    def draw(path, a):
        if path[-1].key == "count":
            return np.zeros(a.shape, a.dtype)
        if a.ndim > 1:  # a kernel, with the variance of Glorot's initialisation
            fans = np.prod(a.shape[:-2]) * sum(a.shape[-2:])
            return rng.normal(0, np.sqrt(2 / fans), a.shape).astype(np.float32)
        low = 0.5 if path[-1].key in ("scale", "var") else -0.3
        return rng.uniform(low, low + 0.6, a.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _apply(model, variables, x):
    return jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, x)


def _stock_norm(variables, name, x, train):
    norm = nn.BatchNorm(use_running_average=not train, epsilon=1e-3, use_fast_variance=False)
    statistics = {k: variables["batch_stats"][name]["BatchNorm_0"][k] for k in ("mean", "var")}
    params = variables["params"][name]["BatchNorm_0"]
    y, _ = norm.apply({"params": params, "batch_stats": statistics}, x, mutable="batch_stats")
    return y


def _stock_encoder(variables, prefix, features, dilations, train, dropout=lambda x: x):
    x, outputs = features[..., None], []
    for number, dilation in enumerate(dilations, 1):
        name = f"{prefix}_{number}"
        x = lax.conv_general_dilated(
            x,
            variables["params"][name]["kernel"],
            (2, 2),
            "SAME",
            rhs_dilation=(dilation, dilation),
            dimension_numbers=convolution.NHWC,
        )
        x = dropout(nn.relu(_stock_norm(variables, name, x, train)))
        outputs.append(x)
    return outputs


def _stock_unet(variables, features, output, train, dilations=(1, 1, 1)):
    params = variables["params"]
    skips = _stock_encoder(variables, "Encoder", features, dilations, train)
    x = skips[-1].reshape(len(features), -1)
    for dense in ("Bottleneck_1", "Bottleneck_2"):
        x = x @ params[dense]["kernel"] + params[dense]["bias"]
    x = x.reshape(skips[-1].shape)
    for number in range(1, len(skips) + 1):
        name = f"Decoder_{number}"
        x = x if number == 1 else jnp.concatenate([x, skips[-number]], -1)
        x = lax.conv_transpose(
            x,
            params[name]["kernel"],
            (2, 2),
            "SAME",
            dimension_numbers=convolution.NHWC,
            transpose_kernel=True,
        )
        x = _stock_norm(variables, name, x, train)
        x = x if number == len(skips) else nn.relu(x)
    values = x[..., 0]
    if output == "direct":
        return jnp.tanh(values)
    if output == "attenuation":
        gain_db = -ATTENUATION_DB * jnp.log1p(jnp.exp(values - ATTENUATION_SHIFT))
    else:
        gain_db = 20 * jnp.log10(1 / (1 + jnp.exp(-values)))
    return jnp.maximum(features + gain_db / 150, -100 / 150)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("output", ["direct", "attenuation", "mask"])
def test_unet_matches_stock_layers(output, train):
    """Outputs and the gradients of all parameters.

    Outside training, one kind of output is enough for the gradients.
    """
    model = models.create("unet", **SMALL, bottleneck=(5,), output=output)
    x = _features()
    variables = _variables(model, x)

    def ours(params):
        mutable = ["batch_stats"] if train else False
        output = model.apply(variables | {"params": params}, x, train=train, mutable=mutable)
        return output[0] if train else output

    def stock(params):
        return _stock_unet(variables | {"params": params}, x, output, train)

    weights = np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)

    def run(function, params):
        if not train and output != "attenuation":
            return function(params), {}
        y, vjp = jax.vjp(function, params)
        return y, vjp(weights)[0]

    (actual, gradients), (expected, stock_gradients) = jax.jit(
        lambda params: [run(function, params) for function in (ours, stock)]
    )(variables["params"])
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    for a, e in zip(jax.tree.leaves(gradients), jax.tree.leaves(stock_gradients), strict=True):
        np.testing.assert_allclose(a, e, atol=1e-4 * float(np.abs(e).max()) + 1e-5)


def test_encoder_dilations_match_stock_layers():
    model = models.create("unet", **SMALL | dict(dilations=(1, 2, 3)), bottleneck=(5,))
    x = _features()
    variables = _variables(model, x)
    stock = jax.jit(lambda v: _stock_unet(v, x, "attenuation", False, dilations=(1, 2, 3)))
    np.testing.assert_allclose(_apply(model, variables, x), stock(variables), atol=2e-5)


def test_cnn_matches_stock_layers():
    model = models.create("spectrogram_cnn", num_classes=3, dense=6, **SMALL)
    x = np.random.default_rng(0).uniform(-0.6, 0.2, (2, 15, 21)).astype(np.float32)
    variables = _variables(model, x)
    params = variables["params"]
    encoder = jax.jit(lambda v: _stock_encoder(v, "Block", x, (1, 1, 1), False)[-1])
    y = np.asarray(encoder(variables)).reshape(2, -1)
    y = np.maximum(y @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0)
    y = y @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
    np.testing.assert_allclose(_apply(model, variables, x), y, atol=2e-5)


@pytest.mark.parametrize("name", ["unet", "spectrogram_cnn"])
def test_batch_matches_single_examples(name):
    classes = {} if name == "unet" else dict(num_classes=3)
    model = models.create(name, **SMALL, **classes)
    x = _features()
    variables = _variables(model, x)
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    for example, expected in zip(x, apply(x), strict=True):
        np.testing.assert_allclose(apply(example[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("output", ["attenuation", "mask"])
def test_output_lies_between_the_floor_and_the_mixture(output):
    model = models.create("unet", **SMALL, output=output, floor_db=-60.0)
    x = np.maximum(_features(), np.float32(-0.4))
    output = np.asarray(_apply(model, _variables(model, x), x))
    assert (output <= x + 1e-6).all() and output.min() >= np.float32(-0.4)


def test_padding_examples_have_no_effect():
    model = models.create("unet", **SMALL)
    x = _features(4)
    variables = _variables(model, x)

    @jax.jit
    def apply(x, mask):
        padded = variables | {"examples": {"mask": mask}}
        return model.apply(padded, x, train=True, mutable=["batch_stats"])

    y, state = apply(x[:2], np.ones(2, np.float32))
    x[2:] *= 5
    padded, padded_state = apply(x, np.array([1, 1, 0, 0], np.float32))
    np.testing.assert_allclose(padded[:2], y, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), padded_state, state
    )


def test_intermediates_have_the_shapes_of_the_layers():
    model = models.create("unet", **SMALL, bottleneck=(5,))
    x = _features()
    variables = _variables(model, x)
    apply = jax.jit(lambda v: model.apply(v, x, train=False, mutable=["intermediates"]))
    sown = apply(variables)[1]["intermediates"]
    shapes = {name: values[0].shape for name, values in sown.items()}
    assert shapes == {
        "encoder_1": (3, 8, 12, 4),
        "encoder_2": (3, 4, 6, 6),
        "encoder_3": (3, 2, 3, 9),
        "bottleneck": (3, 5),
        "decoder_1": (3, 4, 6, 6),
        "decoder_2": (3, 8, 12, 4),
        "output": (3, *SHAPE),
    }
    expected = jax.jit(lambda v: _stock_encoder(v, "Encoder", x, (1, 1, 1), False)[1])(variables)
    np.testing.assert_allclose(sown["encoder_2"][0], expected, atol=2e-5)


@pytest.mark.parametrize("name", ["unet", "spectrogram_cnn"])
def test_dropout_is_applied_only_in_training(name):
    classes = {} if name == "unet" else dict(num_classes=3, dense_dropout=0.0)
    model = models.create(name, **SMALL, **classes, dropout=0.5)
    x = _features()
    variables = _variables(model, x)

    @functools.partial(jax.jit, static_argnames="train")
    def apply(key, train):
        keys = {"dropout": key}
        return model.apply(variables, x, train=train, rngs=keys, mutable=["batch_stats"])[0]

    first, second = (jax.random.key(seed) for seed in (0, 1))
    assert np.abs(apply(first, True) - apply(second, True)).max() > 1e-3
    np.testing.assert_array_equal(apply(first, False), apply(second, False))


@pytest.mark.parametrize("name", ["unet", "spectrogram_cnn"])
def test_bfloat16_is_close_to_float32(name):
    classes = {} if name == "unet" else dict(num_classes=3)
    exact = models.create(name, **SMALL, **classes)
    half = models.create(name, **SMALL, **classes, dtype="bfloat16")
    x = _features()
    variables = _variables(exact, x)
    actual, expected = (_apply(m, variables, x) for m in (half, exact))
    assert actual.dtype == jnp.float32
    _, state = half.apply(variables, x, train=False, mutable=["intermediates"])
    output = np.asarray(state["intermediates"]["output"][0])
    assert np.mean(output == output.astype(jnp.bfloat16)) < 0.1, "the last layer is rounded"
    np.testing.assert_allclose(actual, expected, atol=0.05 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(output="tanh"), "unknown output 'tanh'"),
        (dict(kernel_init="xavier"), "unknown kernel_init 'xavier'"),
        (dict(filters=(4, 6)), "expected one of each for every convolution"),
        (dict(strides=(2, 2, 3)), "must be multiples of their product, 12"),
        (dict(kernels=(5, 3, 0)), r"model.kernels=\(5, 3, 0\): expected positive integers"),
        (dict(dropout=1.0), r"model.dropout=1.0: expected a number in \[0, 1\)"),
        (
            dict(floor_db=0.0),
            "model.floor_db=0.0, model.scale_db=150.0: expected a negative",
        ),
        (dict(bottleneck_activation="rel"), "unknown activation 'rel'"),
    ],
)
def test_invalid_settings_are_rejected(arguments, message):
    model = models.create("unet", **SMALL | arguments)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), _features())


@pytest.mark.usefixtures("unchecked")
def test_features_of_another_rank_are_rejected():
    for name in ("unet", "spectrogram_cnn"):
        classes = {} if name == "unet" else dict(num_classes=3)
        model = models.create(name, **SMALL, **classes)
        with pytest.raises(ValueError, match=r"expected non-empty \(batch, bins, frames\)"):
            jax.eval_shape(
                lambda x, m=model: m.init(jax.random.key(0), x, train=False), jnp.ones(4)
            )
