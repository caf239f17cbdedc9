"""The U-Net that takes instruments out of spectrograms of Ligtenberg (2022)."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.kernels import convolution, normalized
from irec_jax.models import layers

#: How kernels start, by name. 'truncated_normal' is the source's: as drawn from a normal
#: distribution of standard deviation 1, what lies beyond 2 drawn again.
KERNEL_INITS = {
    "glorot": nn.initializers.glorot_uniform(),
    "he": nn.initializers.he_normal(),
    "lecun": nn.initializers.lecun_normal(),
    "truncated_normal": nn.initializers.truncated_normal(1.0),
}


def kernel_init(name: str) -> Any:
    """An initialiser of `KERNEL_INITS`.

    Raises:
        UserError: an unknown name.
    """
    if name not in KERNEL_INITS:
        raise registry.unknown("kernel_init", name, KERNEL_INITS)
    return KERNEL_INITS[name]


def layer_settings(
    filters: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int, int, int]]:
    """Channels, size, stride and dilation of each convolution.

    Raises:
        UserError: lists that do not hold one whole number above 0 for each of them.
    """
    lists = dict(filters=filters, kernels=kernels, strides=strides, dilations=dilations)
    layers.check_sizes(**lists)
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1 or 0 in lengths:
        found = ", ".join(f"{len(values)} model.{name}" for name, values in lists.items())
        raise UserError(f"{found}: every convolution needs one of each")
    return list(zip(*lists.values(), strict=True))


def check_features(features: jax.Array) -> None:
    """ValueError unless they are (batch, bins, frames), and not empty."""
    if getattr(features, "ndim", 0) != 3 or 0 in features.shape[1:]:
        raise ValueError(
            "features: expected (batch, bins, frames), none of them 0, got "
            f"{jax.tree.map(jnp.shape, features)}"
        )


def check_rates(**rates: float) -> None:
    """UserError for a rate that is not in [0, 1)."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise UserError(f"model.{name} is {rate!r}: from 0 to below 1, please")


class ConvolutionBlock(nn.Module):
    """Convolution (padding 'same'), batch normalisation, ReLU; or transposed convolution, batch
    normalisation and, unless told otherwise, ReLU.

    Attributes:
        filters, kernel, stride, dilation: of the convolution, square.
        kernel_init: a key of `KERNEL_INITS`.
        momentum: of `layers.BatchNorm`.
        dtype: of the computation.
        transposed: whether to convolve in the other direction.
        relu: whether to end in ReLU.
    """

    filters: int
    kernel: int
    stride: int
    dilation: int
    kernel_init: str
    momentum: float
    dtype: Any
    transposed: bool = False
    relu: bool = True

    @nn.compact
    def __call__(
        self, parts: Sequence[normalized.Normalized], *, train: bool
    ) -> normalized.Normalized:
        """Of activations (batch, height, width, channels), whose channels are joined, to
        (batch, new height, new width, filters)."""
        channels = (sum(part.x.shape[3] for part in parts), self.filters)
        shape = (self.kernel, self.kernel, *(channels[::-1] if self.transposed else channels))
        kernel = self.param("kernel", kernel_init(self.kernel_init), shape).astype(self.dtype)
        layer = functools.partial(
            normalized.convolve,
            parts,
            convolution.spread(kernel, self.dilation),
            (self.stride, self.stride),
            transposed=self.transposed,
        )
        norm = layers.BatchNorm(self.filters, self.momentum, relu=self.relu)
        return norm(layer, len(parts[0].x), train=train)


#: Attenuation in dB per unit of the last layer, and what is taken from that layer's values, which
#: start with mean 0 and variance 1: the attenuation starts with 4 dB in the mean.
ATTENUATION_DB, ATTENUATION_SHIFT = 15.0, 1.5


def _attenuation(values, features, floor, scale_db):
    amount = jax.nn.softplus(values - ATTENUATION_SHIFT) * (ATTENUATION_DB / scale_db)
    return jnp.maximum(features - amount, floor)


def _direct(values, features, floor, scale_db):
    del features, floor, scale_db
    return jnp.tanh(values)


def _mask(values, features, floor, scale_db):
    gain_db = 20 / np.log(10) * jax.nn.log_sigmoid(values)
    return jnp.maximum(features + gain_db / scale_db, floor)


OUTPUTS = {"attenuation": _attenuation, "direct": _direct, "mask": _mask}


class UNet(nn.Module):
    """Strided convolutions, a dense bottleneck, transposed convolutions, skip connections.

    Ligtenberg (2022), section 3.2.1: six convolutions with stride 2, batch normalisation and ReLU
    (2048 x 128 -> 32 x 2 x 512); flattened, dense layers to 128 units and back; six transposed
    convolutions with the mirrored sizes, each with batch normalisation and ReLU. The input of all
    of these but the first is joined by what the encoder has at that size. The last one gives one
    channel and has, after its batch normalisation, the activation of the output.

    Of what the source leaves open: the dense layers have no activation (`bottleneck_activation`),
    padding is 'same', convolutions have no biases, since the batch normalisation that follows
    takes them out again (Keras would keep 1,505 of them, whose gradient is 0).

    `dilations` are those of the encoder: a transposed convolution with dilation and stride of 2
    would leave three quarters of its outputs empty.

    Intermediates (collection 'intermediates'): ``encoder_1`` ... and ``decoder_1`` ... after each
    layer, ``bottleneck`` (the units), ``output`` (after the last batch normalisation).

    Attributes:
        output: 'attenuation': the mixture minus an amount in dB that is never negative; 'mask':
            a sigmoid multiplies the mixture's amplitude; both no less than the floor; 'direct':
            the features themselves, by tanh, the source's.
        filters, kernels, strides, dilations: channels, sizes (square), strides and dilations of
            the encoder's convolutions, one for each.
        bottleneck: units of the dense layers in the middle, before the one back; empty: the
            decoder starts from the encoder's output.
        bottleneck_activation: name of the activation (`layers.Activation`) after each of the
            dense layers, the one back included; empty: none.
        dropout: rate after the first three layers of the encoder.
        scale_db: what features were divided by (`frontends.SpectrogramDb`).
        floor_db: the least level.
        kernel_init: a key of `KERNEL_INITS`.
        momentum: of the moving averages (`layers.BatchNorm`).
        dtype: of the computation, float32 or bfloat16; parameters and outputs are float32.
    """

    output: str = "attenuation"
    filters: Sequence[int] = (16, 32, 64, 128, 256, 512)
    kernels: Sequence[int] = (5, 5, 3, 3, 3, 3)
    strides: Sequence[int] = (2, 2, 2, 2, 2, 2)
    dilations: Sequence[int] = (1, 1, 1, 1, 1, 1)
    bottleneck: Sequence[int] = (128,)
    bottleneck_activation: str = ""
    dropout: float = 0.0
    scale_db: float = 150.0
    floor_db: float = -100.0
    kernel_init: str = "glorot"
    momentum: float = 0.99
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Features of what is to stay.

        Args:
            features: of the mixture in dB divided by scale_db, (batch, bins, frames).
            train: whether to drop units (random keys from the collection 'dropout') and to
                normalise by, and keep, the statistics of the batch (collection 'batch_stats').

        Returns:
            float32 (batch, bins, frames), in the same unit.

        Raises:
            ValueError: features of another rank.
            UserError: unknown names, sizes that do not go together, or features whose sizes the
                strides do not divide.
        """
        encoder = self._settings(features)
        block = functools.partial(
            ConvolutionBlock,
            kernel_init=self.kernel_init,
            momentum=self.momentum,
            dtype=self.dtype,
        )
        as_it_is = normalized.Normalized.of
        x = as_it_is(features[..., None].astype(self.dtype))
        skips = []
        for number, settings in enumerate(encoder, 1):
            x = block(*settings, name=f"Encoder_{number}")([x], train=train)
            if number <= 3 and self.dropout:
                x = as_it_is(layers.Dropout(self.dropout)(x.values(), train=train))
            self.sow("intermediates", f"encoder_{number}", x.values())
            skips.append(x)
        x = as_it_is(self._bottleneck(x.values()))
        num_outputs = (1, *self.filters[:-1])
        for number, (_, size, stride, _) in enumerate(reversed(encoder), 1):
            last = number == len(encoder)
            parts = [x] if number == 1 else [x, skips[-number]]
            settings = (num_outputs[-number], size, stride, 1)
            transposed = block(*settings, transposed=True, relu=not last, name=f"Decoder_{number}")
            x = transposed(parts, train=train)
            if not last:
                self.sow("intermediates", f"decoder_{number}", x.values())
        values = x.values()[..., 0].astype(jnp.float32)
        self.sow("intermediates", "output", values)
        floor = self.floor_db / self.scale_db
        return OUTPUTS[self.output](values, features.astype(jnp.float32), floor, self.scale_db)

    def _bottleneck(self, x: jax.Array) -> jax.Array:
        """Dense layers through few units and back; the same shape."""
        if not self.bottleneck:
            return x
        shape, x = x.shape, x.reshape(x.shape[0], -1)
        for number, units in enumerate((*self.bottleneck, x.shape[1]), 1):
            dense = nn.Dense(
                units,
                kernel_init=kernel_init(self.kernel_init),
                dtype=self.dtype,
                name=f"Bottleneck_{number}",
            )
            x = dense(x)
            if self.bottleneck_activation:
                x = layers.Activation(self.bottleneck_activation)(x)
            if number == len(self.bottleneck):
                self.sow("intermediates", "bottleneck", x)
        return x.reshape(shape)

    def _settings(self, features: jax.Array) -> list[tuple[int, int, int, int]]:
        """`layer_settings` of the encoder, after all was checked."""
        check_features(features)
        if self.output not in OUTPUTS:
            raise registry.unknown("output", self.output, OUTPUTS)
        layers.check_sizes(bottleneck=self.bottleneck)
        check_rates(dropout=self.dropout, momentum=self.momentum)
        if self.bottleneck_activation:
            layers.check_activation(self.bottleneck_activation)
        if not self.floor_db < 0 < self.scale_db:
            raise UserError(
                f"model.floor_db={self.floor_db} must be below 0, model.scale_db={self.scale_db} "
                "above"
            )
        settings = layer_settings(self.filters, self.kernels, self.strides, self.dilations)
        step = math.prod(self.strides)
        if any(size % step for size in features.shape[1:]):
            raise UserError(
                f"model.strides={tuple(self.strides)}: {features.shape[1]} bins and "
                f"{features.shape[2]} frames must be multiples of their product, {step}"
            )
        return settings
