"""Convolutional network that names the instruments in a spectrogram of any length."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax.kernels import DeferredNorm
from irec_jax.models import conv_block, layers


class Tagger(layers.Classifier):
    """Convolutions with batch normalisation, pooling over time and one output per class.

    The design follows the audio taggers of Kong et al. (2020), PANNs, at a fraction of their size:

        level     relative to the example's maximum, limited to `range_db` below it
        7 x [convolution (5, 3, 3, 3, 3, 3, 3; stride 2, 1, 2, 1, 2, 1, 2), batch norm, ReLU]
                  32, 64, 128, 128, 256, 256, 512 filters
        mean over bands, then maximum plus mean over time
        dense 512, ReLU
        dense, one output per class

    Since levels are relative, the outputs do not depend on the gain of the recording. The maximum
    over time makes the network respond even to instruments that play only briefly.

    Intermediates ('intermediates' collection): ``block_1`` etc. after each ReLU, ``pooled``,
    ``dense`` after its activation, and ``output`` (the logits).

    Attributes, in addition to those of `layers.Classifier`:
        filters, kernels, strides: channels, (square) kernel sizes and strides of the convolutions.
        dense: units of the dense layer.
        dropout: dropout rate after every second convolution.
        dense_dropout: dropout rate before and after the dense layer.
        range_db: range of input levels in dB; the inputs are natural logarithms of magnitudes.
        momentum: momentum of the moving averages (`layers.BatchNorm`).
    """

    filters: Sequence[int] = (32, 64, 128, 128, 256, 256, 512)
    kernels: Sequence[int] = (5, 3, 3, 3, 3, 3, 3)
    strides: Sequence[int] = (2, 1, 2, 1, 2, 1, 2)
    dense: int = 512
    dropout: float = 0.1
    dense_dropout: float = 0.3
    range_db: float = 70.0
    momentum: float = 0.98

    @nn.compact
    def __call__(
        self, features: Float[Array | np.ndarray, "batch frames bands"], *, train: bool
    ) -> Float32[Array, "batch {self.num_classes}"]:
        """Return the logits of each example.

        Args:
            features: log-magnitude spectrograms, 1 x 1 or larger.
            train: whether to apply dropout (random keys from the 'dropout' collection), normalise
                with batch statistics and update the 'batch_stats' collection.

        Returns:
            Logits, before the sigmoid.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if a size or rate is invalid.
        """
        layers.check_features(features, "batch, frames, bands")
        layers.check_sizes(num_classes=self.num_classes, dense=self.dense)
        layers.check_rates(dropout=self.dropout, dense_dropout=self.dense_dropout)
        layers.check_rates(momentum=self.momentum)
        sizes = layers.zip_settings(
            filters=self.filters, kernels=self.kernels, strides=self.strides
        )
        x = self._relative_level(jnp.asarray(features))[..., None].astype(self.dtype)
        for number, (filters, kernel, stride) in enumerate(sizes, 1):
            arguments: Any = (filters, kernel, stride, 1, "he", self.momentum, self.dtype)
            block = conv_block.ConvolutionBlock(*arguments, name=f"Block_{number}")
            x = block([DeferredNorm.identity(x)], train=train).values()
            self.sow("intermediates", f"block_{number}", x)
            if number % 2 == 0:
                x = layers.Dropout(self.dropout)(x, train=train)
        over_time = x.mean(axis=2)
        x = over_time.max(axis=1) + over_time.mean(axis=1)
        self.sow("intermediates", "pooled", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        x = nn.relu(layers.dense(self.dense, self.dtype)(x))
        self.sow("intermediates", "dense", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        return self.classify(x)

    def _relative_level(
        self, features: Float[Array, "batch frames bands"]
    ) -> Float[Array, "batch frames bands"]:
        """Map levels to -1..1, where 1 is the example's maximum and -1 is `range_db` below it."""
        loudest = features.max(axis=(1, 2), keepdims=True)
        span = self.range_db * np.log(10.0) / 20.0
        return 2.0 * jnp.maximum(features - loudest, -span) / span + 1.0
