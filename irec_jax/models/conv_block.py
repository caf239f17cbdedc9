"""Convolution block of the spectrogram networks of Ligtenberg (2022), and its settings."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irec_jax import kernels, registry
from irec_jax.errors import UserError
from irec_jax.models import layers

#: Initialisers of kernels by name. 'truncated_normal' is Ligtenberg's: a normal distribution of
#: standard deviation 1, truncated at 2.
KERNEL_INITS = {
    "glorot": nn.initializers.glorot_uniform(),
    "he": nn.initializers.he_normal(),
    "lecun": nn.initializers.lecun_normal(),
    "truncated_normal": nn.initializers.truncated_normal(1.0),
}


def kernel_init(name: str) -> Any:
    """Return an initialiser of `KERNEL_INITS`.

    Raises:
        UserError: unknown name.
    """
    return registry.find("kernel_init", KERNEL_INITS, name)


def convolution_settings(
    filters: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int, int, int]]:
    """Return the filters, kernel size, stride and dilation of each convolution.

    Raises:
        UserError: values that are not positive integers, or lists of different lengths.
    """
    lists = dict(filters=filters, kernels=kernels, strides=strides, dilations=dilations)
    layers.check_sizes(**lists)
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1 or 0 in lengths:
        counts = ", ".join(f"{len(values)} model.{name}" for name, values in lists.items())
        raise UserError(f"{counts}: expected one of each for every convolution")
    return list(zip(*lists.values(), strict=True))


def check_features(features: jax.Array) -> None:
    """Raise ValueError unless features are non-empty (batch, bins, frames)."""
    if getattr(features, "ndim", 0) != 3 or 0 in features.shape[1:]:
        raise ValueError(
            "features: expected non-empty (batch, bins, frames), got "
            f"{jax.tree.map(jnp.shape, features)}"
        )


class ConvolutionBlock(nn.Module):
    """Convolution or transposed convolution (padding 'same'), batch normalisation, ReLU.

    Attributes:
        filters, kernel, stride, dilation: of the convolution; kernel and stride are square.
        kernel_init: a key of `KERNEL_INITS`.
        momentum: of `layers.BatchNorm`.
        dtype: of the computation.
        transposed: whether the convolution is transposed.
        relu: whether ReLU follows.
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
        self, inputs: Sequence[kernels.DeferredNorm], *, train: bool
    ) -> kernels.DeferredNorm:
        """Return activations (batch, new height, new width, filters).

        Args:
            inputs: activations (batch, height, width, channels), to be concatenated.
            train: whether to normalise by the statistics of the batch.
        """
        channels = (sum(part.x.shape[3] for part in inputs), self.filters)
        shape = (self.kernel, self.kernel, *(channels[::-1] if self.transposed else channels))
        kernel = self.param("kernel", kernel_init(self.kernel_init), shape).astype(self.dtype)
        convolution = functools.partial(
            kernels.conv_with_moments,
            inputs,
            kernels.dilate_kernel(kernel, self.dilation),
            (self.stride, self.stride),
            transposed=self.transposed,
        )
        norm = layers.BatchNorm(self.filters, self.momentum, relu=self.relu)
        return norm(convolution, len(inputs[0].x), train=train)
