"""Conversion of Keras weights to parameters for the networks in this package.

Keras's `model.get_weights()` returns a list of arrays, layer by layer: kernel, recurrent kernel and
bias of a recurrent layer (with `Bidirectional`, the forward and then the backward layer), and
kernel and bias of a convolution or dense layer. The layers in this package have the same arrays
with the same shapes in the same order. There is one difference: Keras's GRU weights the old state
by z, whereas the GRU here (Goel, equation 13) weights it by 1 - z. Since 1 - sigmoid(x) =
sigmoid(-x), the conversion flips the sign of the z columns.

    model = models.create("recurrent", num_classes=5, cell="gru", hidden=(50,))
    features = jnp.zeros((1, 294, 300))
    params = model.init(jax.random.key(0), features, train=False)["params"]
    params = keras_weights.from_keras(keras_model.get_weights(), params)
    logits = model.apply({"params": params}, features, train=False)

In Keras, the last layer often includes the softmax or sigmoid of the logits. LSTM and GRU layers
must use `recurrent_activation="sigmoid"`, the default since TensorFlow 2. Earlier versions used
'hard_sigmoid', which cannot be detected from the weights.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from irec_jax.errors import UserError

#: Order of the layers in Keras, by their names here; layers of the same kind are in numeric order.
_ORDER = (("forward", "backward"), ("Conv",), ("Dense",))
_ARRAYS = ("kernel", "recurrent_kernel", "bias")


def from_keras(
    weights: Sequence[Float[np.ndarray, "..."]], params: Mapping[str, Any]
) -> dict[str, dict[str, Float32[np.ndarray, "..."]]]:
    """Return a network's parameters, converted from the weights of the same network in Keras.

    Args:
        weights: the result of the Keras model's `get_weights()`.
        params: parameters of the network ('recurrent', 'image_cnn' or 'dense', without 'prelu'), as
            arrays or shapes from `jax.eval_shape`; only names and shapes are used.

    Returns:
        A tree with the same structure and the converted arrays.

    Raises:
        UserError: if there are too many or too few arrays, an array has the wrong shape, or a GRU
            applies the reset gate after the product (Keras's reset_after=True).
        ValueError: if the network has layers without a counterpart in Keras.
    """
    converted, num_used = {}, 0
    check = "check that both networks have the same layers"
    for layer in sorted(params, key=_keras_position):
        shapes = {name: params[layer][name].shape for name in _ARRAYS if name in params[layer]}
        end = num_used + len(shapes)
        if len(weights) < end:
            raise UserError(
                f"Keras weights: {len(weights)} arrays are too few; layer {layer!r} needs arrays "
                f"{num_used + 1} to {end}; {check}"
            )
        arrays = dict(zip(shapes, weights[num_used:end], strict=True))
        converted[layer] = _convert_layer(layer, shapes, arrays)
        num_used = end
    if num_used < len(weights):
        counts = f"{len(weights)} arrays, but the network has {num_used}"
        raise UserError(f"Keras weights: {counts}; {check}")
    return converted


def _keras_position(layer: str) -> tuple[int, int, int]:
    """Return a sort key that puts layers in Keras's order."""
    match = re.fullmatch(r"(\w+)_(\d+)", layer)
    for kind, names in enumerate(_ORDER):
        if match and match[1] in names:
            return kind, int(match[2]), names.index(match[1])
    raise ValueError(f"params: layer {layer!r} has no counterpart in Keras")


def _convert_layer(layer: str, shapes: Mapping[str, tuple], arrays: dict[str, np.ndarray]) -> dict:
    """Check and convert the arrays of a layer."""
    arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    hidden, width = shapes.get("recurrent_kernel", (0, 1))
    is_gru = width == 3 * hidden
    if is_gru and arrays["bias"].shape == (2, *shapes["bias"]):
        raise UserError(
            f"Keras weights: layer {layer!r}: a bias with two rows indicates a GRU with "
            "reset_after=True, which applies the reset gate after the recurrent matrix product and "
            "is not supported; retrain with reset_after=False"
        )
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            reason = f"{name} has shape {array.shape}, expected {shapes[name]}"
            raise UserError(f"Keras weights: layer {layer!r}: {reason}")
    if is_gru:
        for array in arrays.values():
            array[..., :hidden] *= -1
    return arrays
