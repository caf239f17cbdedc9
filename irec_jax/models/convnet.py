"""Han, Kim and Lee's (2017) convolutional network for predominant instrument recognition."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax import kernels
from irec_jax.models import layers

#: Zero padding of every convolution, and the size and stride of the max-pooling.
PADDING, POOL = ((2, 2), (2, 2)), (3, 3)
_KERNEL = (3, 3)


class _Weights(nn.Module):
    """Kernel and bias of a convolution, named as in `flax.linen.Conv` and cast to `dtype`."""

    num_inputs: int
    num_outputs: int
    dtype: Any

    @nn.compact
    def __call__(
        self,
    ) -> tuple[
        Float[Array, "height width {self.num_inputs} {self.num_outputs}"],
        Float[Array, " {self.num_outputs}"],
    ]:
        """Return the kernel and the bias."""
        shape = (*_KERNEL, self.num_inputs, self.num_outputs)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.num_outputs,))
        return jnp.asarray(kernel, self.dtype), jnp.asarray(bias, self.dtype)


class ConvNet(layers.Classifier):
    """Four blocks of two 3x3 convolutions and pooling, a dense layer and one output per class.

    Han, Kim, Lee: Deep convolutional neural networks for predominant instrument recognition in
    polyphonic music (2017), table I. With ReLU and 13 classes, this is also the network of Seipel
    (2018).

        input                             1 x  43 x 128
        2 x convolution 3x3, 32 filters  32 x  47 x 132
        max-pooling 3x3, dropout 0.25    32 x  15 x  44
        2 x convolution 3x3, 64          64 x  19 x  48
        max-pooling 3x3, dropout 0.25    64 x   6 x  16
        2 x convolution 3x3, 128        128 x  10 x  20
        max-pooling 3x3, dropout 0.25   128 x   3 x   6
        2 x convolution 3x3, 256        256 x   7 x  10
        global pooling, dropout 0.25    256
        dense, dropout 0.5             1024
        dense                            11

    Every convolution is zero-padded by 2 on all sides, which increases the height and width by 2,
    and is followed by the activation. Since the two convolutions of a block add 4, at least 5 x 5
    values remain to be pooled, and any positive number of frames and bands is valid.

    Intermediates ('intermediates' collection): ``block_1`` etc. after the pooling of each block,
    ``dense`` after the activation of the dense layer, and ``output`` (the logits).

    Attributes, in addition to those of `layers.Classifier`:
        activation: name of the activation after every convolution and the dense layer
            (`layers.Activation`).
        filters: channels of the two convolutions in each block.
        dense: units of the dense layer.
        dropout: dropout rate after each block.
        pooled_dropout: dropout rate after the global pooling of the last block; if None, `dropout`.
        dense_dropout: dropout rate after the dense layer.
        pooling: kind of global pooling in the last block, 'max' or 'mean'.
    """

    activation: str = "lrelu_0.33"
    filters: Sequence[int] = (32, 64, 128, 256)
    dense: int = 1024
    dropout: float = 0.25
    pooled_dropout: float | None = None
    dense_dropout: float = 0.5
    pooling: str = "max"

    @nn.compact
    def __call__(
        self, features: Float[Array | np.ndarray, "batch frames bands"], *, train: bool
    ) -> Float32[Array, "batch {self.num_classes}"]:
        """Return the logits of each example.

        Args:
            features: spectrograms.
            train: whether to apply dropout (random keys from the 'dropout' collection).

        Returns:
            Logits, before the sigmoid.

        Raises:
            ValueError: if the features are empty or have the wrong number of axes.
            UserError: if the activation or pooling is unknown.
        """
        layers.check_features(features, "batch, frames, bands")
        x = features[..., None].astype(self.dtype)
        dropout = self.dropout
        for block, filters in enumerate(self.filters, 1):
            weights = [
                _Weights(num_inputs, filters, self.dtype, name=f"Conv_{2 * block - 2 + number}")()
                for number, num_inputs in enumerate((x.shape[-1], filters))
            ]
            if block == len(self.filters):
                x = layers.global_pool(self._convolutions(x, weights), self.pooling)
                if self.pooled_dropout is not None:
                    dropout = self.pooled_dropout
            else:
                # The first convolution has one input channel, so recomputing it is cheaper than
                # storing it.
                x = self._convolutions_and_max_pooling(x, weights, recompute=block == 1)
            self.sow("intermediates", f"block_{block}", x)
            x = layers.Dropout(dropout)(x, train=train)
        x = layers.dense(self.dense, self.dtype)(x)
        x = layers.Activation(self.activation)(x)
        self.sow("intermediates", "dense", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        return self.classify(x)

    def _convolutions(
        self, x: Float[Array | np.ndarray, "batch height width channels"], weights: Sequence[tuple]
    ) -> Float[Array, "batch new_height new_width filters"]:
        y = jnp.asarray(x)
        for layer in weights:
            y = layers.Activation(self.activation)(_convolve(layer, y))
        return y

    def _convolutions_and_max_pooling(
        self,
        x: Float[Array | np.ndarray, "batch height width channels"],
        weights: Sequence[tuple],
        *,
        recompute: bool,
    ) -> Float[Array, "batch rows columns filters"]:
        """Apply two convolutions and 3x3 max-pooling.

        A monotonic activation commutes with the maximum, so pooling before bias and activation
        leaves a ninth of the values to compute.

        Args:
            x: the input of the first convolution.
            weights: weights of the two convolutions.
            recompute: recompute the first convolution in the backward pass instead of storing it.
        """
        if self.activation not in layers.ACTIVATIONS:
            return kernels.max_pool(self._convolutions(x, weights), POOL)
        activate = layers.ACTIVATIONS[self.activation]

        def first_convolution(weights, x):
            return activate(_convolve(weights, x))

        first_weights, (kernel, bias) = weights
        pads = _pads_before_pooling([size + 2 for size in x.shape[1:3]])
        stem: dict[str, Any] = {}
        if recompute:
            stem = dict(stem=first_convolution, stem_params=first_weights)
        else:
            x = first_convolution(first_weights, x)
        return activate(kernels.conv2d_max_pool(x, kernel, pads, POOL, **stem) + bias)


def _convolve(weights, x: Array | np.ndarray) -> Array:
    kernel, bias = weights
    return kernels.conv2d(x, kernel, (1, 1), PADDING) + bias


def _pads_before_pooling(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return `PADDING` without the rows and columns that the pooling would drop."""
    return tuple(
        (low, high - (size + low + high - kernel + 1) % pool)
        for (low, high), size, kernel, pool in zip(PADDING, sizes, _KERNEL, POOL, strict=True)
    )
