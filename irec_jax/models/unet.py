"""Ligtenberg's (2022) U-Net, which removes instruments from spectrograms."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.kernels import DeferredNorm
from irec_jax.models import conv_block, layers

#: Attenuation in dB per unit of the last layer's values, and a shift that is subtracted from these
#: values. The values initially have mean 0 and variance 1, so the mean attenuation starts at 4 dB.
ATTENUATION_DB, ATTENUATION_SHIFT = 15.0, 1.5


def _attenuation(values, features, floor, scale_db):
    attenuation = jax.nn.softplus(values - ATTENUATION_SHIFT) * (ATTENUATION_DB / scale_db)
    return jnp.maximum(features - attenuation, floor)


def _direct(values, features, floor, scale_db):
    del features, floor, scale_db
    return jnp.tanh(values)


def _mask(values, features, floor, scale_db):
    gain_db = 20 / np.log(10) * jax.nn.log_sigmoid(values)
    return jnp.maximum(features + gain_db / scale_db, floor)


OUTPUTS = {"attenuation": _attenuation, "direct": _direct, "mask": _mask}


class UNet(nn.Module):
    """Strided convolutions, a dense bottleneck and transposed convolutions with skip connections.

    Ligtenberg (2022), section 3.2.1:

        encoder     6 x [convolution (5, 5, 3, 3, 3, 3; stride 2), batch norm, ReLU]
                    16, 32, 64, 128, 256, 512 filters: 2048 x 128 -> 32 x 2 x 512
        bottleneck  flatten, dense to 128 units, dense back to 32 x 2 x 512
        decoder     6 x [transposed convolution with the mirrored sizes, batch norm, ReLU]; all but
                    the first also receive the encoder's output of the same size; the last has one
                    filter and the output's activation instead of ReLU

    The paper leaves some details open. Here, the dense layers have no activation
    (`bottleneck_activation`), padding is 'same', and convolutions have no biases, because batch
    normalisation would cancel them (in Keras, there would be 1,505 biases with a gradient of 0).

    `dilations` apply to the encoder only: a transposed convolution with dilation and stride 2 would
    leave three quarters of its outputs empty.

    Intermediates ('intermediates' collection): ``encoder_1`` etc. and ``decoder_1`` etc. after each
    layer, ``bottleneck`` (the units), and ``output`` after the last batch normalisation.

    Attributes:
        output: 'attenuation' subtracts a non-negative number of dB from the mixture, and 'mask'
            multiplies the mixture's amplitude by a sigmoid; both results are clipped at the floor.
            'direct' predicts the features themselves through tanh, as in the paper.
        filters, kernels, strides, dilations: channels, (square) kernel sizes, strides and dilations
            of the encoder, one value per convolution.
        bottleneck: units of the dense layers in the middle; another dense layer restores the size
            of the encoder's output. If empty, there are no dense layers.
        bottleneck_activation: name of the activation (`layers.Activation`) after each dense layer;
            if empty, there is none.
        dropout: dropout rate after the first three layers of the encoder.
        scale_db: divisor of the features (`frontends.SpectrogramDb`).
        floor_db: lowest level in dB.
        kernel_init, momentum: see `conv_block.ConvolutionBlock`.
        dtype: dtype of the computation, float32 or bfloat16; parameters and the last layer are
            float32.
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
    def __call__(
        self, features: Float[Array | np.ndarray, "batch bins frames"], *, train: bool
    ) -> Float32[Array, "batch bins frames"]:
        """Return the features of the remaining instruments.

        Args:
            features: features of the mixture, levels in dB divided by scale_db.
            train: whether to apply dropout (random keys from the 'dropout' collection), normalise
                with batch statistics and update the 'batch_stats' collection.

        Returns:
            Features in the same unit as the input.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if a name is unknown, a setting is invalid, or the sizes of the features are
                not multiples of the product of the strides.
        """
        settings = self._check_settings(features)
        x = DeferredNorm.identity(features[..., None].astype(self.dtype))
        skips = self._encode(x, settings, train=train)
        x = self._bottleneck(skips[-1].values())
        values = self._decode(x, skips, settings, train=train)
        self.sow("intermediates", "output", values)
        floor = self.floor_db / self.scale_db
        return OUTPUTS[self.output](values, features.astype(jnp.float32), floor, self.scale_db)

    def _block(self, *convolution: Any, **options: Any) -> conv_block.ConvolutionBlock:
        shared = dict(kernel_init=self.kernel_init, momentum=self.momentum, dtype=self.dtype)
        return conv_block.ConvolutionBlock(*convolution, **shared | options)

    def _encode(
        self, x: DeferredNorm, settings: Sequence[tuple], *, train: bool
    ) -> list[DeferredNorm]:
        """Return the output of each encoder layer."""
        outputs = []
        for number, convolution in enumerate(settings, 1):
            x = self._block(*convolution, name=f"Encoder_{number}")([x], train=train)
            if number <= 3 and self.dropout:
                x = DeferredNorm.identity(layers.Dropout(self.dropout)(x.values(), train=train))
            self.sow("intermediates", f"encoder_{number}", x.values())
            outputs.append(x)
        return outputs

    def _bottleneck(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Apply the dense layers, which reduce the size and restore it."""
        if not self.bottleneck:
            return x
        shape, x = x.shape, x.reshape(x.shape[0], -1)
        for number, units in enumerate((*self.bottleneck, x.shape[1]), 1):
            init = registry.find("kernel_init", conv_block.KERNEL_INITS, self.kernel_init)
            x = layers.dense(units, self.dtype, kernel_init=init, name=f"Bottleneck_{number}")(x)
            if self.bottleneck_activation:
                x = layers.Activation(self.bottleneck_activation)(x)
            if number == len(self.bottleneck):
                self.sow("intermediates", "bottleneck", x)
        return x.reshape(shape)

    def _decode(
        self,
        x: Float[Array, "batch height width channels"],
        skips: list[DeferredNorm],
        settings: Sequence[tuple],
        *,
        train: bool,
    ) -> Float32[Array, "batch bins frames"]:
        """Return the last layer's output."""
        y = DeferredNorm.identity(x)
        filters = (1, *self.filters[:-1])
        for number, (_, size, stride, _) in enumerate(reversed(settings), 1):
            is_last = number == len(settings)
            inputs = [y] if number == 1 else [y, skips[-number]]
            options: dict[str, Any] = dict(transposed=True, relu=not is_last)
            options |= dict(name=f"Decoder_{number}")
            if is_last:  # bfloat16 would round the output levels to steps of about 0.4 dB
                options |= dict(dtype=jnp.float32)
            y = self._block(filters[-number], size, stride, 1, **options)(inputs, train=train)
            if not is_last:
                self.sow("intermediates", f"decoder_{number}", y.values())
        return y.values()[..., 0]

    def _check_settings(self, features: Array | np.ndarray) -> Sequence[tuple]:
        """Check the features and all settings; return the settings of the convolutions."""
        layers.check_features(features, "batch, bins, frames")
        registry.find("output", OUTPUTS, self.output)
        layers.check_sizes(bottleneck=self.bottleneck)
        layers.check_rates(dropout=self.dropout, momentum=self.momentum)
        if self.bottleneck_activation:
            layers.check_activation(self.bottleneck_activation)
        if not self.floor_db < 0 < self.scale_db:
            levels = f"model.floor_db={self.floor_db}, model.scale_db={self.scale_db}"
            raise UserError(f"{levels}: expected a negative floor_db and a positive scale_db")
        lists: dict[str, Any] = dict(strides=self.strides, dilations=self.dilations)
        settings = layers.zip_settings(filters=self.filters, kernels=self.kernels, **lists)
        step = math.prod(self.strides)
        if any(size % step for size in features.shape[1:]):
            sizes = f"{features.shape[1]} bins and {features.shape[2]} frames"
            must = f"must be multiples of their product, {step}"
            raise UserError(f"model.strides={tuple(self.strides)}: {sizes} {must}")
        return settings
