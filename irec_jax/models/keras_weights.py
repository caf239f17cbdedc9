"""Weights of Keras models in the networks of this package, to check or to go on from them.

What `model.get_weights()` returns is a list of arrays, layer by layer: kernel, recurrent kernel
and bias of a recurrent layer (of `Bidirectional`, those of the way forward, then of the way back),
kernel and bias of a convolution or dense layer. The layers here have the same arrays of the same
shapes in the same order, with one exception: Keras's GRU keeps the share z of its old state, and
the one here (Goel, equation 13) the share 1 - z. Since 1 - sigmoid(x) = sigmoid(-x), the columns of
z change their sign.

    model = models.create("recurrent", num_classes=5, cell="gru", hidden=(50,))
    features = jnp.zeros((1, 294, 300))
    params = model.init(jax.random.key(0), features, train=False)["params"]
    params = keras_weights.from_keras(keras_model.get_weights(), params)
    logits = model.apply({"params": params}, features, train=False)

Keras's last layer often holds the softmax or sigmoid, whose argument the logits are. LSTM and GRU
must have `recurrent_activation="sigmoid"` (the default since TensorFlow 2; before, it was a
'hard_sigmoid', of which the weights know nothing).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irec_jax.errors import UserError

#: Keras's order of the layers, by their names here. Within it, by their numbers.
_ORDER = (("forward", "backward"), ("Conv",), ("Dense",))
_ARRAYS = ("kernel", "recurrent_kernel", "bias")


def from_keras(weights: Sequence[np.ndarray], params: Mapping[str, Any]) -> dict:
    """Parameters of a network from the weights of the same network in Keras.

    Args:
        weights: what `model.get_weights()` of the Keras model returns.
        params: the parameters of the network ('recurrent', 'image_cnn' or 'dense', without
            'prelu'), of which only names and shapes are looked at: arrays, or what
            `jax.eval_shape` gives.

    Returns:
        The same tree with float32 NumPy arrays.

    Raises:
        UserError: an array that does not fit (names the layer and both shapes), too many or too
            few of them, or a GRU that resets after the product (Keras's reset_after=True).
        ValueError: a network with layers that are not known here.
    """
    found, taken = {}, 0
    for layer in sorted(params, key=_place):
        expected = {name: params[layer][name].shape for name in _ARRAYS if name in params[layer]}
        if len(weights) - taken < len(expected):
            raise UserError(
                f"Keras weights: {len(weights)} arrays are too few, {layer!r} would be numbers "
                f"{taken + 1} to {taken + len(expected)}: is this the same network?"
            )
        arrays = weights[taken : taken + len(expected)]
        found[layer] = _layer(layer, expected, dict(zip(expected, arrays, strict=True)))
        taken += len(expected)
    if taken < len(weights):
        raise UserError(
            f"Keras weights: {len(weights)} arrays, but the network has {taken}: is this the same "
            "network?"
        )
    return found


def _place(layer: str) -> tuple[int, int, int]:
    """Where a layer stands among Keras's."""
    match = re.fullmatch(r"(\w+)_(\d+)", layer)
    for kind, names in enumerate(_ORDER):
        if match and match[1] in names:
            return kind, int(match[2]), names.index(match[1])
    raise ValueError(f"params: layer {layer!r} has no counterpart in Keras")


def _layer(layer: str, expected: Mapping[str, tuple], arrays: dict[str, np.ndarray]) -> dict:
    """One layer's arrays, checked and converted."""
    arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    is_gru = "recurrent_kernel" in expected and (
        expected["recurrent_kernel"][1] == 3 * expected["recurrent_kernel"][0]
    )
    if is_gru and arrays["bias"].shape == (2, *expected["bias"]):
        raise UserError(
            f"Keras weights: layer {layer!r}: two rows of bias are those of a GRU with "
            "reset_after=True, which resets after the recurrent product and computes something "
            "else; train it with reset_after=False"
        )
    for name, array in arrays.items():
        if array.shape != expected[name]:
            raise UserError(
                f"Keras weights: layer {layer!r}: {name} of shape {array.shape} does not fit, "
                f"the network's is {expected[name]}"
            )
    if is_gru:
        for array in arrays.values():
            array[..., : expected["recurrent_kernel"][0]] *= -1
    return arrays
