"""The convolutional network for predominant instruments of Han, Kim and Lee (2017)."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax.models import convolution, layers, pooling

_KERNEL, _PADDING, _POOL = (3, 3), ((2, 2), (2, 2)), (3, 3)


class _Convolution(nn.Module):
    """Convolution with bias, its parameters named as in `flax.linen.Conv`, fast on CPU.

    Attributes:
        features: output channels.
        kernel_size: height and width.
        padding: ((top, bottom), (left, right)).
        window: of max-pooling without overlap; none when left out. The maximum is taken before
            the bias is added, which gives the same and costs less.
        dtype: of the computation.
    """

    features: int
    kernel_size: Sequence[int]
    padding: Sequence[tuple[int, int]]
    window: tuple[int, int] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, ..., features)."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        if self.window is not None:
            return pooling.convolve_and_max_pool(x, kernel, self.padding, self.window) + bias
        layout = ("NHWC", "HWIO", "NHWC")
        return bias + convolution.conv_general_dilated(
            x, kernel, (1, 1), self.padding, dimension_numbers=layout
        )


def _needed_padding(shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`_PADDING` without what only adds rows and columns that the pooling leaves out."""
    return tuple(
        (low, high - (size + low + high - kernel + 1) % pool)
        for (low, high), size, kernel, pool in zip(
            _PADDING, shape[1:3], _KERNEL, _POOL, strict=True
        )
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
        if features.ndim != 3 or 0 in features.shape[1:]:
            raise ValueError(
                f"features: expected (batch, frames, bands), none of them 0, got {features.shape}"
            )
        convolve = functools.partial(_Convolution, kernel_size=_KERNEL, dtype=self.dtype)
        init = dict(kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype)
        x = features[..., None].astype(self.dtype)
        for block, num_filters in enumerate(self.filters, 1):
            last = block == len(self.filters)
            x = convolve(num_filters, padding=_PADDING, name=f"Conv_{2 * block - 2}")(x)
            x = layers.Activation(self.activation)(x)
            # A maximum may as well be taken before what never falls: it leaves less to compute.
            first = self.activation in layers.MONOTONIC and not last
            x = convolve(
                num_filters,
                padding=_PADDING if last else _needed_padding(x.shape),
                window=_POOL if first else None,
                name=f"Conv_{2 * block - 1}",
            )(x)
            x = layers.Activation(self.activation)(x)
            if last:
                x = layers.global_pool(x, self.pooling)
            elif not first:
                x = pooling.max_pool(x, _POOL)
            self.sow("intermediates", f"block_{block}", x)
            x = layers.Dropout(self.dropout)(x, train=train)
        x = layers.Activation(self.activation)(nn.Dense(self.dense, **init)(x))
        self.sow("intermediates", "dense", x)
        x = layers.Dropout(self.dense_dropout)(x, train=train)
        logits = nn.Dense(self.num_classes, **init)(x).astype(jnp.float32)
        self.sow("intermediates", "output", logits)
        return logits
