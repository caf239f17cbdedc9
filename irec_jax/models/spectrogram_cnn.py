"""Ligtenberg's (2022) convolutional classifier for spectrograms."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax import registry
from irec_jax.kernels import DeferredNorm
from irec_jax.models import conv_block, layers


class SpectrogramCNN(layers.Classifier):
    """Strided convolutions with batch normalisation, ReLU and dropout, then dense layers.

    Ligtenberg (2022), section 3.5:

        7 x [convolution (7, 5, 3, 3, 3, 3, 3; stride 2), batch norm, ReLU, dropout 0.2]
            16, 32, 64, 128, 256, 512, 1024 filters: 2048 x 128 -> 16 x 1 x 1024
        flatten, dense 128, ReLU, dropout 0.5
        dense, one output per class

    The paper leaves some details open. Here, the dense layer has 128 units and a ReLU, padding is
    'same', and convolutions have no biases, because batch normalisation would cancel them (in
    Keras, there would be 2,032 biases with a gradient of 0).

    Intermediates ('intermediates' collection): ``block_1`` etc. after each ReLU, ``dense`` after
    the activation of the dense layer, and ``output`` (the logits).

    Attributes, in addition to those of `layers.Classifier`:
        filters, kernels, strides, dilations: channels, (square) kernel sizes, strides and dilations
            of the convolutions, one value per convolution.
        dense: units of the dense layer.
        activation: name of the activation after the dense layer (`layers.Activation`).
        dropout: dropout rate after every convolution.
        dense_dropout: dropout rate after the dense layer.
        kernel_init, momentum: see `conv_block.ConvolutionBlock`.
    """

    filters: Sequence[int] = (16, 32, 64, 128, 256, 512, 1024)
    kernels: Sequence[int] = (7, 5, 3, 3, 3, 3, 3)
    strides: Sequence[int] = (2, 2, 2, 2, 2, 2, 2)
    dilations: Sequence[int] = (1, 1, 1, 1, 1, 1, 1)
    dense: int = 128
    activation: str = "relu"
    dropout: float = 0.2
    dense_dropout: float = 0.5
    kernel_init: str = "glorot"
    momentum: float = 0.99

    @nn.compact
    def __call__(
        self, features: Float[Array | np.ndarray, "batch bins frames"], *, train: bool
    ) -> Float32[Array, "batch {self.num_classes}"]:
        """Return the logits of each example.

        Args:
            features: spectrograms, 1 x 1 or larger.
            train: whether to apply dropout (random keys from the 'dropout' collection), normalise
                with batch statistics and update the 'batch_stats' collection.

        Returns:
            Logits, before the sigmoid.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if a name is unknown, or a size or rate is invalid.
        """
        layers.check_features(features, "batch, bins, frames")
        layers.check_sizes(num_classes=self.num_classes, dense=self.dense)
        layers.check_rates(dropout=self.dropout, dense_dropout=self.dense_dropout)
        layers.check_rates(momentum=self.momentum)
        init = registry.find("kernel_init", conv_block.KERNEL_INITS, self.kernel_init)
        lists: dict[str, Any] = dict(strides=self.strides, dilations=self.dilations)
        settings = layers.zip_settings(filters=self.filters, kernels=self.kernels, **lists)
        x = features[..., None].astype(self.dtype)
        for number, convolution in enumerate(settings, 1):
            arguments: Any = (*convolution, self.kernel_init, self.momentum, self.dtype)
            block = conv_block.ConvolutionBlock(*arguments, name=f"Block_{number}")
            x = block([DeferredNorm.identity(x)], train=train).values()
            self.sow("intermediates", f"block_{number}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        x = layers.dense(self.dense, self.dtype, kernel_init=init)(x.reshape(x.shape[0], -1))
        x = layers.Activation(self.activation)(x)
        self.sow("intermediates", "dense", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        return self.classify(x, kernel_init=init)
