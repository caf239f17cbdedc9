"""Goel's convolutional networks for images of waveforms."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax import kernels, registry
from irec_jax.models import layers

_NO_PADDING = ((0, 0), (0, 0))


class Layer(NamedTuple):
    """Convolution and max-pooling, both square and without padding."""

    filters: int
    kernel: int
    stride: int
    pool: int


#: Goel's networks: filters, kernel size, stride and pooling of each layer.
NETS = {
    "b1": (Layer(16, 10, 3, 3), Layer(32, 5, 2, 2)),
    "b2": (Layer(32, 5, 2, 2),) * 3,
    "b3": (Layer(32, 5, 2, 2), Layer(32, 5, 1, 2), Layer(32, 3, 1, 2), Layer(32, 3, 1, 2)),
    "b4": (Layer(32, 3, 1, 2), *(Layer(64, 3, 1, 2),) * 3, Layer(32, 3, 1, 2)),
}


def net_layers(
    net: str,
    filters: Sequence[int] = (),
    kernels: Sequence[int] = (),
    strides: Sequence[int] = (),
    pools: Sequence[int] = (),
) -> tuple[Layer, ...]:
    """Return a net's layers, with the given settings in place of its own.

    Args:
        net: a key of `NETS`.
        filters, kernels, strides, pools: one value per layer; if empty, the values of `net`.

    Raises:
        UserError: if the net is unknown, a value is not a positive integer, or lists differ in
            length.
    """
    defaults = zip(*registry.find("net", NETS, net), strict=True)
    settings = dict(filters=filters, kernels=kernels, strides=strides, pools=pools)
    pairs = zip(settings.items(), defaults, strict=True)
    lists: dict[str, Any] = {name: tuple(values) or default for (name, values), default in pairs}
    hint = f" (the defaults are those of net {net!r})"
    return tuple(Layer(*values) for values in layers.zip_settings(hint, **lists))


def min_image_size(net: Sequence[Layer]) -> int:
    """Return the smallest height and width that leave at least one pixel after all layers."""
    size = 1
    for layer in reversed(net):
        size = (size * layer.pool - 1) * layer.stride + layer.kernel
    return size


class _Convolution(nn.Module):
    """Convolution, activation and max-pooling, with parameters named as in `flax.linen.Conv`."""

    layer: Layer
    num_inputs: int
    activation: str
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array | np.ndarray, "batch height width channels"]
    ) -> Float[Array, "batch rows columns {self.layer.filters}"]:
        """Return the pooled activation.

        Args:
            x: activations or images; a single channel represents num_inputs identical channels.
        """
        size, stride, pool = ((number, number) for number in self.layer[1:])
        shape = (*size, self.num_inputs, self.layer.filters)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:]).astype(self.dtype)
        single_channel = x.shape[-1] == 1
        kernel = (kernel.sum(2, keepdims=True) if single_channel else kernel).astype(self.dtype)
        activation = layers.Activation(self.activation)
        if self.activation in layers.ACTIVATIONS:
            # A monotonic activation commutes with the maximum, so pooling before bias and
            # activation leaves fewer values to compute.
            conv2d_max_pool = kernels.conv2d_max_pool
            if single_channel:
                conv2d_max_pool = kernels.single_channel_conv2d_max_pool
            return activation(conv2d_max_pool(x, kernel, _NO_PADDING, pool, strides=stride) + bias)
        convolved = kernels.conv2d(x, kernel, stride, _NO_PADDING)
        return kernels.max_pool(activation(convolved + bias), pool)


class ImageCNN(layers.Classifier):
    """Unpadded convolutions with max-pooling, then a dense layer and one output per class.

    These are Goel's networks B1 to B4 (`NETS`) on images of 150 x 150 pixels with three identical
    channels. Here, the images have a single channel: convolving identical channels gives the same
    outputs and gradients as convolving one channel with the kernel summed over its inputs. The
    parameters still have the shapes for three channels.

    Goel mentions "dropout layers in between" without stating their positions or rates. Here,
    dropout follows every pooling (`dropout`) and the dense layer (`dense_dropout`).

    Intermediates ('intermediates' collection): ``block_1`` etc. after the pooling of each layer,
    ``dense`` after the activation of the dense layer, and ``output`` (the logits).

    Attributes, in addition to those of `layers.Classifier`:
        net: 'b1', 'b2', 'b3' or 'b4'.
        filters, kernels, strides, pools: channels, kernel sizes and strides of the convolutions,
            and sizes (and strides) of the pooling, one value per layer; if empty, the values of
            `net`.
        input_channels: number of identical channels that an image represents.
        activation: name of the activation after every convolution and the dense layer
            (`layers.Activation`).
        dense: units of the dense layer.
        dropout: dropout rate after each layer's pooling.
        dense_dropout: dropout rate after the dense layer.
    """

    net: str = "b1"
    filters: Sequence[int] = ()
    kernels: Sequence[int] = ()
    strides: Sequence[int] = ()
    pools: Sequence[int] = ()
    input_channels: int = 3
    activation: str = "relu"
    dense: int = 128
    dropout: float = 0.25
    dense_dropout: float = 0.5

    @nn.compact
    def __call__(
        self, features: Float[Array | np.ndarray, "*batch height width"], *, train: bool
    ) -> Float32[Array, "*batch {self.num_classes}"]:
        """Return the logits of each image.

        Args:
            features: images (batch, height, width) or (batch, images, height, width).
            train: whether to apply dropout (random keys from the 'dropout' collection).

        Returns:
            Logits, before the softmax.

        Raises:
            ValueError: if the features have the wrong number of axes, or images are too small.
            UserError: if the net or activation is unknown, or lists differ in length.
        """
        return self.classify(self.encode(features, train=train))

    def encode(
        self, images: Float[Array | np.ndarray, "*batch height width"], *, train: bool
    ) -> Float[Array, "*batch {self.dense}"]:
        """Return the dense layer's output."""
        net = net_layers(self.net, self.filters, self.kernels, self.strides, self.pools)
        if getattr(images, "ndim", 0) not in (3, 4):
            raise ValueError(
                "features: expected (batch, height, width) or (batch, images, height, width), "
                f"got {jax.tree.map(jnp.shape, images)}"
            )
        leading, sizes, min_size = images.shape[:-2], images.shape[-2:], min_image_size(net)
        if min(sizes) < min_size:
            raise ValueError(
                f"features: images of {sizes[0]} x {sizes[1]} are too small for the {len(net)} "
                f"layers of the network; expected at least {min_size} x {min_size}"
            )
        layers.check_sizes(input_channels=self.input_channels, dense=self.dense)
        x = images.reshape(-1, *sizes, 1).astype(self.dtype)
        for number, layer in enumerate(net):
            num_inputs = x.shape[-1] if number else self.input_channels
            options = dict(dtype=self.dtype, name=f"Conv_{number}")
            x = _Convolution(layer, num_inputs, self.activation, **options)(x)
            block = x.reshape(*leading, *x.shape[1:])
            self.sow("intermediates", f"block_{number + 1}", block)
            x = layers.Dropout(self.dropout)(block, train=train).reshape(x.shape)
        x = layers.dense(self.dense, self.dtype)(x.reshape(*leading, -1))
        x = layers.Activation(self.activation)(x)
        self.sow("intermediates", "dense", x)
        return jnp.asarray(layers.Dropout(self.dense_dropout)(x, train=train))
