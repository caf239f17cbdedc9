"""Convolution block used in Ligtenberg's (2022) spectrogram networks."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from irec_jax import kernels, registry
from irec_jax.models import layers

#: Kernel initialisers by name. 'truncated_normal' is Ligtenberg's: a normal distribution with a
#: standard deviation of 1, truncated at -2 and 2.
KERNEL_INITS = {
    "glorot": nn.initializers.glorot_uniform(),
    "he": nn.initializers.he_normal(),
    "lecun": nn.initializers.lecun_normal(),
    "truncated_normal": nn.initializers.truncated_normal(1.0),
}


class ConvolutionBlock(nn.Module):
    """Convolution or transposed convolution (padding 'same') with batch normalisation and ReLU.

    Attributes:
        filters, kernel, stride, dilation: settings of the (square) convolution.
        kernel_init: a key of `KERNEL_INITS`.
        momentum: momentum of the moving averages (`layers.BatchNorm`).
        dtype: dtype of the computation.
        transposed: whether the convolution is transposed.
        relu: whether to apply ReLU afterwards.
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
        """Return activations with `filters` channels.

        Args:
            inputs: activations of the same size and any dtype, which are concatenated.
            train: whether to normalise with batch statistics.
        """
        channels = (sum(part.x.shape[3] for part in inputs), self.filters)
        shape = (self.kernel, self.kernel, *(channels[::-1] if self.transposed else channels))
        init = registry.find("kernel_init", KERNEL_INITS, self.kernel_init)
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        kernel, strides = kernels.dilate_kernel(kernel, self.dilation), (self.stride, self.stride)
        inputs = [dataclasses.replace(part, x=part.x.astype(self.dtype)) for part in inputs]
        convolution = functools.partial(
            kernels.conv_with_moments, inputs, kernel, strides, transposed=self.transposed
        )
        norm = layers.BatchNorm(self.filters, self.momentum, relu=self.relu)
        return norm(convolution, len(inputs[0].x), train=train)
