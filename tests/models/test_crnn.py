"""Goel's convolutional recurrent network compared with its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import models
from irec_jax.errors import UserError

CNN = dict(num_classes=4, filters=(3, 4), kernels=(3, 3), strides=(2, 1), pools=(2, 2), dense=6)
SMALL = CNN | dict(hidden=6)


def _features(batch=3, num_images=2):
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.random((batch, num_images, 20, 18)), jnp.float32),
        "steps": jnp.asarray(rng.normal(size=(batch, 5, 7)), jnp.float32),
        "num_steps": jnp.asarray(rng.integers(1, 6, batch), jnp.int32),
    }


def _init(model, features):
    return jax.jit(model.init, static_argnames="train")(jax.random.key(0), features, train=False)


def _apply(model, features):
    """Return a jitted function of the variables."""
    return jax.jit(lambda variables: model.apply(variables, features, train=False))


def _naive_lstm(params, steps, num_steps, hidden):
    """Return the last hidden states, step by step. The memory starts at 0; columns: i, f, g, o."""
    last = []
    for x, count, h in zip(*map(np.asarray, (steps, num_steps, hidden)), strict=True):
        c = np.zeros_like(h)
        for step in x[:count]:
            gates = step @ params["kernel"] + h @ params["recurrent_kernel"] + params["bias"]
            i, f, g, o = np.split(gates, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        last.append(h)
    return np.stack(last)


@pytest.fixture(scope="module")
def small():
    model = models.create("crnn", **SMALL)
    return model, _init(model, _features())


@pytest.mark.parametrize("hidden", [6, 5])
def test_lstm_starts_from_the_output_of_the_cnn(hidden):
    features = _features()
    model = models.create("crnn", **(SMALL | dict(hidden=hidden)))
    params = jax.tree.map(
        lambda p: np.asarray(p) + 0.1 * np.cos(np.arange(p.size)).reshape(p.shape),  # biases too
        _init(model, features)["params"],
    )
    names = {"Conv_0", "Conv_1", "Dense_0", "forward_0", "Dense_1"}
    assert set(params) == (names if hidden == CNN["dense"] else names | {"projection"})

    cnn = models.create("image_cnn", **CNN)
    shared = {name: params[name] for name in ("Conv_0", "Conv_1", "Dense_0")}
    unused = {"Dense_1": {"kernel": np.zeros((6, 4)), "bias": np.zeros(4)}}
    _, state = jax.jit(
        lambda x: cnn.apply({"params": shared | unused}, x, train=False, mutable="intermediates")
    )(features["image"])
    start = np.asarray(state["intermediates"]["dense"][0])
    if "projection" in params:
        start = start @ params["projection"]["kernel"] + params["projection"]["bias"]

    logits = _apply(model, features)({"params": params})
    assert logits.shape == (3, 2, 4) and logits.dtype == jnp.float32
    for image in range(2):
        last = _naive_lstm(
            params["forward_0"], features["steps"], features["num_steps"], start[:, image]
        )
        expected = last @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
        np.testing.assert_allclose(logits[:, image], expected, atol=1e-5)


def test_single_images_and_examples_match_the_batch(small):
    model, variables = small
    features = _features()
    batched = _apply(model, features)(variables)
    second = features | {"image": features["image"][:, 1]}
    single = _apply(model, second)(variables)
    assert single.shape == (3, 4)
    np.testing.assert_allclose(single, batched[:, 1], atol=1e-6)
    single_example = _apply(model, jax.tree.map(lambda x: x[2:], features))(variables)
    np.testing.assert_allclose(single_example[0], batched[2], atol=1e-6)


def test_gradients_of_several_images_are_sums_of_single_gradients(small):
    model, variables = small
    features = _features()

    @jax.jit
    def gradient(variables, image):
        def loss(variables):
            logits = model.apply(variables, features | {"image": image}, train=False)
            return (logits.reshape(3, -1, 4) ** 2).sum()

        return jax.grad(loss)(variables)

    gradient_of_both = gradient(variables, features["image"])
    single_gradients = [gradient(variables, features["image"][:, image]) for image in (0, 1)]
    for a, e, f in zip(*map(jax.tree.leaves, (gradient_of_both, *single_gradients)), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, e + f, rtol=1e-4, atol=1e-5)


def test_chunks_are_projected_once_for_all_images(small):
    model, variables = small
    features = _features()
    text = str(jax.make_jaxpr(_apply(model, features))(variables))
    projection = "f32[15,24]"  # 3 examples of 5 steps, 4 gates of 6 units
    assert projection in text and "f32[2,15,24]" not in text and "f32[30,24]" not in text


def test_intermediates_and_settings_of_the_recurrent_layer():
    model = models.create("crnn", **(SMALL | dict(cell="gru", hidden=5, dtype="bfloat16")))
    features = _features()
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), features, train=False))
    assert variables["params"]["forward_0"]["kernel"].shape == (7, 15)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
    logits, state = jax.eval_shape(
        lambda v: model.apply(v, features, train=False, mutable=["intermediates"]), variables
    )
    assert logits.dtype == jnp.float32
    shapes = {name: value[0].shape for name, value in state["intermediates"].items()}
    assert shapes == {
        "block_1": (3, 2, 4, 4, 3),
        "block_2": (3, 2, 1, 1, 4),
        "dense": (3, 2, 6),
        "recurrent_0": (3, 2, 5),
        "output": (3, 2, 4),
    }


@pytest.mark.parametrize("rate", ["input_dropout", "output_dropout"])
def test_dropout_is_applied_only_in_training(rate, small):
    no_dropout = dict(dropout=0.0, dense_dropout=0.0)
    model = models.create("crnn", **SMALL, **(no_dropout | {rate: 0.5}))
    features = _features()
    apply = jax.jit(lambda key: model.apply(small[1], features, train=True, rngs={"dropout": key}))
    first, second = (apply(jax.random.key(i)) for i in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(
        _apply(model, features)(small[1]), _apply(small[0], features)(small[1])
    )


@pytest.mark.usefixtures("unchecked")
def test_invalid_features_and_settings_are_rejected(small):
    model, variables = small
    with pytest.raises(ValueError, match="image_and_chunks"):
        model.apply(variables, {"steps": jnp.zeros((1, 5, 7))}, train=False)
    with pytest.raises(ValueError, match="image_and_chunks"):
        model.apply(variables, jnp.zeros((1, 20, 18)), train=False)
    with pytest.raises(ValueError, match="too small"):
        _init(model, _features() | {"image": jnp.zeros((3, 9, 9))})
    with pytest.raises(UserError, match="did you mean 'lstm'"):
        _init(models.create("crnn", **SMALL, cell="lst"), _features())
