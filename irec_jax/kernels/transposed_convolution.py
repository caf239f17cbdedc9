"""Transposed convolution, forwards and backwards fast on CPU; elsewhere XLA's own."""

import functools
from collections.abc import Sequence

import jax
from jax import lax

from irec_jax.kernels import convolution, im2col


def conv_transpose(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], *, precision=None
) -> jax.Array:
    """Transposed convolution with padding 'same', as Keras' Conv2DTranspose has it; fast on CPU.

    It is the gradient of the input of a convolution from (height * stride, width * stride) to
    (height, width) with that kernel, these strides and padding 'SAME': pixel i of the input is
    spread over the pixels ``stride * i - low + (0 ... size - 1)`` of the output, where
    ``low = max(size - stride, 0) // 2``; what falls outside is left out. Kernels smaller than
    the stride leave zeros between them. Derivatives as in `conv_general_dilated`.

    Args:
        x: (batch, height, width, input channels).
        kernel: (height, width, output channels, input channels).
        strides: of height and width.
        precision: as in `jax.lax.conv_general_dilated`.

    Returns:
        (batch, height * stride, width * stride, output channels).

    Raises:
        ValueError: arrays that do not go together.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[3] or x.dtype != kernel.dtype:
        raise ValueError(
            f"x: {x.dtype}{x.shape} does not go with the kernel {kernel.dtype}{kernel.shape}"
        )
    return _transposed(x, kernel, tuple(strides), precision)


def _sizes_and_pads(x_shape, kernel_shape, strides) -> tuple[tuple[int, ...], convolution.Pads]:
    """Shape of the result, and the padding of the convolution of which this is the gradient."""
    sizes = tuple(n * s for n, s in zip(x_shape[1:3], strides, strict=True))
    pads = tuple(
        (max(k - s, 0) // 2, max(k - s, 0) - max(k - s, 0) // 2)
        for k, s in zip(kernel_shape[:2], strides, strict=True)
    )
    return (x_shape[0], *sizes, kernel_shape[2]), pads


def xla(x, kernel, strides, precision):
    """XLA's own transposed convolution."""
    shape, pads = _sizes_and_pads(x.shape, kernel.shape, strides)

    def convolve(y):
        return convolution.xla(y, kernel, strides, pads, precision)

    return jax.linear_transpose(convolve, jax.ShapeDtypeStruct(shape, x.dtype))(x)[0]


def xla_gradients(x, kernel, cotangent, strides, precision):
    """Gradients of input and kernel of `xla`, by convolutions that cuDNN knows.

    XLA's own rule convolves pixels with zeros between them by a kernel as large as the picture,
    which cuDNN has no algorithm for: to compile that took it minutes and 32 GiB.
    """
    pads = _sizes_and_pads(x.shape, kernel.shape, strides)[1]

    def convolve(kernel):
        return convolution.xla(cotangent, kernel, strides, pads, precision)

    return convolve(kernel), jax.linear_transpose(convolve, kernel)(x)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _transposed(x, kernel, strides, precision):
    def fast(x, kernel):
        shape, pads = _sizes_and_pads(x.shape, kernel.shape, strides)
        return im2col.input_gradient(kernel, x, shape, strides, pads, precision)

    stock = functools.partial(xla, strides=strides, precision=precision)
    return lax.platform_dependent(x, kernel, cpu=fast, default=stock)


def _transposed_forward(x, kernel, strides, precision):
    return _transposed(x, kernel, strides, precision), (x, kernel)


def _transposed_backward(strides, precision, residuals, cotangent):
    def fast(x, kernel, cotangent):
        pads = _sizes_and_pads(x.shape, kernel.shape, strides)[1]
        of_x, of_kernel = im2col.transposed_gradients(
            x, kernel, cotangent, strides, pads, precision
        )
        return of_x, of_kernel.astype(kernel.dtype)

    stock = functools.partial(xla_gradients, strides=strides, precision=precision)
    return lax.platform_dependent(*residuals, cotangent, cpu=fast, default=stock)


_transposed.defvjp(_transposed_forward, _transposed_backward)
