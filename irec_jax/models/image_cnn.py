"""The convolutional networks for pictures of waveforms of Goel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.kernels import convolution, pooling, single_channel
from irec_jax.models import layers

_NO_PADDING = ((0, 0), (0, 0))


class Layer(NamedTuple):
    """A convolution and the max-pooling after it, both square and without padding."""

    filters: int
    kernel: int
    stride: int
    pool: int


NETS = {
    "b1": (Layer(16, 10, 3, 3), Layer(32, 5, 2, 2)),
    "b2": (Layer(32, 5, 2, 2),) * 3,
    "b3": (Layer(32, 5, 2, 2), Layer(32, 5, 1, 2), Layer(32, 3, 1, 2), Layer(32, 3, 1, 2)),
    "b4": (Layer(32, 3, 1, 2), *(Layer(64, 3, 1, 2),) * 3, Layer(32, 3, 1, 2)),
}


def net_layers(
    net: str,
    *,
    filters: Sequence[int] = (),
    kernels: Sequence[int] = (),
    strides: Sequence[int] = (),
    pools: Sequence[int] = (),
) -> tuple[Layer, ...]:
    """The layers of a net, of which single settings may be replaced.

    Args:
        net: a key of `NETS`.
        filters, kernels, strides, pools: one value for each layer; empty: those of `net`.

    Raises:
        UserError: an unknown net, values below 1, or lists of different lengths.
    """
    if net not in NETS:
        raise registry.unknown("net", net, NETS)
    given = dict(filters=filters, kernels=kernels, strides=strides, pools=pools)
    known = zip(*NETS[net], strict=True)
    lists = {name: tuple(given[name]) or of_net for name, of_net in zip(given, known, strict=True)}
    for name, values in lists.items():
        if not all(isinstance(value, int) and value >= 1 for value in values):
            raise UserError(f"model.{name} is {values}: must be whole numbers, 1 or more")
    if len({len(values) for values in lists.values()}) > 1:
        lengths = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise UserError(
            f"model: {lengths}: every layer needs one of each (what is not given is net {net!r}'s)"
        )
    return tuple(Layer(*values) for values in zip(*lists.values(), strict=True))


def least_size(net: Sequence[Layer]) -> int:
    """Height and width of the smallest picture of which something is left after all layers."""
    size = 1
    for layer in reversed(net):
        size = (size * layer.pool - 1) * layer.stride + layer.kernel
    return size


class _Convolution(nn.Module):
    """Convolution, bias, activation, max-pooling; parameters named as in `flax.linen.Conv`."""

    layer: Layer
    num_inputs: int
    activation: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels); one channel stands for num_inputs equal ones."""
        size, stride, pool = ((number, number) for number in self.layer[1:])
        shape = (*size, self.num_inputs, self.layer.filters)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:]).astype(self.dtype)
        single = x.shape[-1] == 1
        kernel = (kernel.sum(2, keepdims=True) if single else kernel).astype(self.dtype)
        activation = layers.Activation(self.activation)
        if self.activation in layers.MONOTONIC:
            # Then the maximum may as well be taken before bias and activation.
            fused = single_channel if single else pooling
            pooled = fused.convolve_and_max_pool(x, kernel, _NO_PADDING, pool, strides=stride)
            return activation(pooled + bias)
        convolved = convolution.conv_general_dilated(
            x, kernel, stride, _NO_PADDING, dimension_numbers=convolution.NHWC
        )
        return pooling.max_pool(activation(convolved + bias), pool)


class ImageCNN(nn.Module):
    """Convolutions without padding, each with max-pooling, a dense layer, one output per class.

    Goel: networks B1 to B4, for pictures of 150 x 150 with three equal channels. Such pictures
    come here as one channel: a convolution of equal channels is one of a single channel with the
    kernel summed over its inputs, outputs and gradients alike. The parameters are those of the
    three channels.

    The paper has "dropout layers in between" and says neither where nor how much: here one follows
    every pooling (`dropout`) and one the dense layer (`dense_dropout`).

    Intermediates (collection 'intermediates'): ``block_1`` ... after the pooling of each layer,
    ``dense`` after the activation of the dense layer, ``output`` (the logits).

    Attributes:
        num_classes: number of outputs.
        net: 'b1', 'b2', 'b3' or 'b4'.
        filters, kernels, strides, pools: channels, kernel sizes and strides of the convolutions
            and sizes (and strides) of the pooling, one for each layer; what is empty is that of
            `net`.
        input_channels: equal channels that a picture stands for.
        activation: name of the activation after every convolution and the dense layer
            (`layers.Activation`).
        dense: units of the dense layer.
        dropout: rate after each layer's pooling.
        dense_dropout: rate after the dense layer.
        dtype: of the computation, float32 or bfloat16; parameters and logits are float32.
    """

    num_classes: int
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
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Logits of each picture.

        Args:
            features: pictures (batch, height, width) or (batch, pictures, height, width).
            train: whether to drop units (random keys from the collection 'dropout').

        Returns:
            float32 (batch, num_classes) or (batch, pictures, num_classes), before the softmax.

        Raises:
            ValueError: features of another rank, or pictures that are too small.
            UserError: unknown net or activation, or lists that do not go together.
        """
        return self.classify(self.encode(features, train=train))

    def encode(self, pictures: jax.Array, *, train: bool) -> jax.Array:
        """Output of the dense layer for pictures (..., height, width): (..., dense)."""
        net = net_layers(
            self.net,
            filters=self.filters,
            kernels=self.kernels,
            strides=self.strides,
            pools=self.pools,
        )
        if getattr(pictures, "ndim", 0) not in (3, 4):
            raise ValueError(
                "features: expected (batch, height, width) or (batch, pictures, height, width), "
                f"got {jax.tree.map(jnp.shape, pictures)}"
            )
        leading, sizes, least = pictures.shape[:-2], pictures.shape[-2:], least_size(net)
        if min(sizes) < least:
            raise ValueError(
                f"features: pictures of {sizes[0]} x {sizes[1]} are too small for the "
                f"{len(net)} layers of the network: must be at least {least} x {least}"
            )
        layers.check_sizes(input_channels=self.input_channels, dense=self.dense)
        x = pictures.reshape(-1, *sizes, 1).astype(self.dtype)
        for number, layer in enumerate(net):
            num_inputs = x.shape[-1] if number else self.input_channels
            x = _Convolution(layer, num_inputs, self.activation, self.dtype, name=f"Conv_{number}")(
                x
            )
            per_example = x.reshape(*leading, *x.shape[1:])
            self.sow("intermediates", f"block_{number + 1}", per_example)
            x = layers.Dropout(self.dropout)(per_example, train=train).reshape(x.shape)
        x = self.dense_layer(self.dense)(x.reshape(*leading, -1))
        x = layers.Activation(self.activation)(x)
        self.sow("intermediates", "dense", x)
        return layers.Dropout(self.dense_dropout)(x, train=train)

    def classify(self, x: jax.Array) -> jax.Array:
        """Logits of the last layer's inputs."""
        logits = self.dense_layer(self.num_classes)(x).astype(jnp.float32)
        self.sow("intermediates", "output", logits)
        return logits

    def dense_layer(self, units: int, **options: Any) -> nn.Dense:
        """A dense layer that starts as all of them."""
        init = nn.initializers.glorot_uniform()
        return nn.Dense(units, kernel_init=init, dtype=self.dtype, **options)
