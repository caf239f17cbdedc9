"""Networks with converted Keras weights compared with Keras layers in NumPy."""

import jax
import keras_reference as keras
import numpy as np
import pytest

from irec_jax import models
from irec_jax.errors import UserError
from irec_jax.models.keras_weights import from_keras


def relu(x):
    return np.maximum(x, 0)


def template(model, features):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), features, train=False))["params"]


def logits(model, weights, features):
    params = from_keras(weights, template(model, features))
    return jax.jit(lambda: model.apply({"params": params}, features, train=False))()


def draw(rng, *shapes):
    return [rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def recurrent_shapes(cell, num_inputs, hidden):
    width = keras.LAYERS[cell][0] * hidden
    return (num_inputs, width), (hidden, width), (width,)


@pytest.mark.parametrize("cell", keras.LAYERS)
def test_recurrent_network_matches_keras(cell):
    """Bidirectional(return_sequences), one more layer, Dense relu, Dense."""
    rng = np.random.default_rng(0)
    weights = draw(rng, *recurrent_shapes(cell, 3, 4), *recurrent_shapes(cell, 3, 4))
    weights += draw(rng, *recurrent_shapes(cell, 8, 5), *recurrent_shapes(cell, 8, 5))
    weights += draw(rng, (10, 6), (6,), (6, 2), (2,))
    x = rng.normal(size=(2, 7, 3)).astype(np.float32)

    layer, expected = keras.LAYERS[cell][1], []
    for example in x:
        directions = layer(example, *weights[:3]), layer(example[::-1], *weights[3:6])[::-1]
        states = np.concatenate(directions, -1)
        directions = layer(states, *weights[6:9])[-1], layer(states[::-1], *weights[9:12])[-1]
        y = relu(np.concatenate(directions, -1) @ weights[12] + weights[13])
        expected.append(y @ weights[14] + weights[15])
    model = models.create(
        "recurrent", num_classes=2, cell=cell, hidden=(4, 5), bidirectional=True, dense=(6,)
    )
    np.testing.assert_allclose(logits(model, weights, x), expected, rtol=1e-4, atol=1e-5)


def test_image_network_matches_keras():
    rng = np.random.default_rng(1)
    weights = draw(rng, (3, 3, 3, 4), (4,), (2, 2, 4, 5), (5,), (45, 6), (6,), (6, 2), (2,))
    x = rng.uniform(size=(2, 19, 19)).astype(np.float32)
    expected = []
    for image in x:
        y = np.repeat(image[..., None], 3, -1)
        y = keras.max_pool(relu(keras.convolution(y, *weights[:2], stride=2)), 2)
        y = relu(keras.convolution(y, *weights[2:4], stride=1)).ravel()
        expected.append(relu(y @ weights[4] + weights[5]) @ weights[6] + weights[7])
    settings = dict(filters=(4, 5), kernels=(3, 2), strides=(2, 1), pools=(2, 1), dense=6)
    model = models.create("image_cnn", num_classes=2, **settings)
    np.testing.assert_allclose(logits(model, weights, x), expected, rtol=1e-4, atol=1e-5)


def test_dense_network_of_more_than_ten_layers_matches_keras():
    rng = np.random.default_rng(2)
    weights, x = [], rng.normal(size=(2, 3)).astype(np.float32)
    y = x
    for inputs, outputs in zip(range(3, 14), [*range(4, 14), 2], strict=True):
        kernel, bias = draw(rng, (inputs, outputs), (outputs,))
        weights += [kernel, bias]
        y = relu(y) @ kernel + bias if inputs > 3 else y @ kernel + bias
    model = models.create("dense", num_classes=2, units=tuple(range(4, 14)), activation="relu")
    np.testing.assert_allclose(logits(model, weights, x), y, rtol=1e-4, atol=1e-5)


def test_inputs_are_not_modified():
    rng = np.random.default_rng(3)
    weights = draw(rng, *recurrent_shapes("gru", 3, 4), (4, 2), (2,))
    original = [array.copy() for array in weights]
    model = models.create("recurrent", num_classes=2, cell="gru", hidden=(4,))
    params = template(model, np.zeros((1, 2, 3), np.float32))
    converted = from_keras(weights, params)
    for array, copy in zip(weights, original, strict=True):
        np.testing.assert_array_equal(array, copy)
    kernel = converted["forward_0"]["kernel"]
    np.testing.assert_array_equal(kernel[:, :4], -weights[0][:, :4])
    np.testing.assert_array_equal(kernel[:, 4:], weights[0][:, 4:])
    assert jax.tree.structure(converted) == jax.tree.structure(params)


def test_mismatching_arrays_are_rejected():
    rng = np.random.default_rng(4)
    model = models.create("recurrent", num_classes=2, cell="gru", hidden=(4,))
    params = template(model, np.zeros((1, 2, 3), np.float32))
    shapes = [*recurrent_shapes("gru", 3, 4), (4, 2), (2,)]
    fitting = draw(rng, *shapes)
    with pytest.raises(UserError, match=r"'forward_0': kernel has shape \(5, 12\).* \(3, 12\)"):
        from_keras(draw(rng, (5, 12), *shapes[1:]), params)
    with pytest.raises(UserError, match=r"'Dense_0': bias has shape \(3,\).* \(2,\)"):
        from_keras(draw(rng, *shapes[:4], (3,)), params)
    with pytest.raises(UserError, match=r"'forward_0'.*reset_after=True"):
        from_keras(draw(rng, *shapes[:2], (2, 12), *shapes[3:]), params)
    with pytest.raises(UserError, match="4 arrays are too few; layer 'Dense_0'.* 4 to 5"):
        from_keras(fitting[:4], params)
    with pytest.raises(UserError, match="6 arrays, but the network has 5"):
        from_keras([*fitting, np.zeros(3)], params)


def test_layers_without_keras_counterpart_are_rejected():
    model = models.create("dense", num_classes=2, units=(3,), activation="prelu")
    params = template(model, np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="'Activation_0'"):
        from_keras([], params)
