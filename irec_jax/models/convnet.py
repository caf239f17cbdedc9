"""The convolutional network for predominant instruments of Han, Kim and Lee (2017)."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax.kernels import convolution, pooling
from irec_jax.models import layers

_KERNEL, _PADDING, _POOL = (3, 3), ((2, 2), (2, 2)), (3, 3)


class _Weights(nn.Module):
    """Kernel and bias of a convolution, named as in `flax.linen.Conv`, in the computing dtype."""

    num_inputs: int
    num_outputs: int
    dtype: Any

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """(height, width, inputs, outputs) and (outputs,)."""
        shape = (*_KERNEL, self.num_inputs, self.num_outputs)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.num_outputs,))
        return kernel.astype(self.dtype), bias.astype(self.dtype)


def _convolve(weights, x: jax.Array) -> jax.Array:
    kernel, bias = weights
    convolved = convolution.conv_general_dilated(
        x, kernel, (1, 1), _PADDING, dimension_numbers=convolution.NHWC
    )
    return convolved + bias


def _fast_block(x, weights_1, weights_2, activate: Callable, *, recompute: bool) -> jax.Array:
    """Two convolutions and max-pooling, for an activation that never falls.

    Then the maximum may as well be taken before bias and activation: that leaves a ninth of them.
    recompute: do the first convolution again in the backward pass instead of keeping its result.
    """

    def first(weights, x):
        return activate(_convolve(weights, x))

    pads = _needed_padding([size + 2 for size in x.shape[1:3]])
    stem = dict(stem=first, stem_params=weights_1) if recompute else {}
    x = x if recompute else first(weights_1, x)
    kernel, bias = weights_2
    return activate(pooling.convolve_and_max_pool(x, kernel, pads, _POOL, **stem) + bias)


def _needed_padding(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`_PADDING` without what only adds rows and columns that the pooling leaves out."""
    return tuple(
        (low, high - (size + low + high - kernel + 1) % pool)
        for (low, high), size, kernel, pool in zip(_PADDING, sizes, _KERNEL, _POOL, strict=True)
    )


class ConvNet(nn.Module):
    """Four blocks of two 3x3 convolutions and max-pooling, a dense layer, one output per class.

    Han, Kim, Lee: Deep convolutional neural networks for predominant instrument recognition in
    polyphonic music (2017), table I; with ReLU and 13 classes also the network of Seipel (2018).

    Every convolution is zero-padded by 2 on all sides, so it adds 2 to both sizes; 3x3 pooling
    with stride 3 follows each block but the last, which ends in global pooling. Since two
    convolutions add 4, there are always at least 3 x 3 values to pool: any number of frames and
    bands from 1 on is fine.

    Intermediates (collection 'intermediates'): ``block_1`` ... after the pooling of each block,
    ``dense`` after the activation of the dense layer, ``output`` (the logits).

    Attributes:
        num_classes: number of outputs.
        activation: name of the activation after every convolution and the dense layer
            (`layers.Activation`).
        filters: channels of the two convolutions of each block.
        dense: units of the dense layer.
        dropout: rate after each block.
        dense_dropout: rate after the dense layer.
        pooling: global pooling of the last block, 'max' or 'mean'.
        dtype: of the computation, float32 or bfloat16; parameters and logits are float32.
    """

    num_classes: int
    activation: str = "lrelu_0.33"
    filters: Sequence[int] = (32, 64, 128, 256)
    dense: int = 1024
    dropout: float = 0.25
    dense_dropout: float = 0.5
    pooling: str = "max"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Logits of each example.

        Args:
            features: (batch, frames, bands).
            train: whether to drop units (random keys from the collection 'dropout').

        Returns:
            float32 (batch, num_classes), before the sigmoid.

        Raises:
            ValueError: features of another rank, or empty.
            UserError: unknown activation or pooling.
        """
        if getattr(features, "ndim", 0) != 3 or 0 in features.shape[1:]:
            raise ValueError(
                "features: expected (batch, frames, bands), none of them 0, got "
                f"{jax.tree.map(jnp.shape, features)}"
            )
        init = dict(kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype)
        x = features[..., None].astype(self.dtype)
        for block, num_filters in enumerate(self.filters, 1):
            last = block == len(self.filters)
            weights_1, weights_2 = (
                _Weights(num_inputs, num_filters, self.dtype, name=f"Conv_{2 * block - place}")()
                for num_inputs, place in ((x.shape[-1], 2), (num_filters, 1))
            )
            if self.activation in layers.MONOTONIC and not last:
                activate = layers.ACTIVATIONS[self.activation]
                # The first convolution of all, of one channel, costs less than its memory.
                x = _fast_block(x, weights_1, weights_2, activate, recompute=block == 1)
            else:
                for weights in (weights_1, weights_2):
                    x = layers.Activation(self.activation)(_convolve(weights, x))
                x = layers.global_pool(x, self.pooling) if last else pooling.max_pool(x, _POOL)
            self.sow("intermediates", f"block_{block}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        x = layers.Activation(self.activation)(nn.Dense(self.dense, **init)(x))
        self.sow("intermediates", "dense", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        logits = nn.Dense(self.num_classes, **init)(x).astype(jnp.float32)
        self.sow("intermediates", "output", logits)
        return logits
