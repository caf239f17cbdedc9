"""Transposed convolution that is fast on CPU in the forward and backward passes."""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from irec_jax.kernels import strided_convolution
from irec_jax.kernels.convolution import xla_conv2d
from irec_jax.kernels.patches import Pads, Sizes


def conv2d_transpose(
    x: Float[Array | np.ndarray, "batch height width inputs"],
    kernel: Float[Array | np.ndarray, "kernel_height kernel_width outputs inputs"],
    strides: Sequence[int],
    *,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "batch height*{strides[0]} width*{strides[1]} outputs"]:
    """Return a transposed convolution with padding 'same', like Keras's Conv2DTranspose.

    This is the input gradient of a convolution from (height * stride, width * stride) to (height,
    width) with the same kernel, strides and padding 'SAME'. Pixel i of the input is spread over the
    pixels ``stride * i - low + (0 ... size - 1)`` of the output, where
    ``low = max(size - stride, 0) // 2``; pixels beyond the borders are cropped. If the kernel is
    smaller than the stride, the pixels in between are zero. Differentiation works as in
    `convolution.conv_general_dilated`.

    Args:
        x: images.
        kernel: kernel of the convolution.
        strides: vertical and horizontal stride.
        precision: as in `jax.lax.conv_general_dilated`.

    Raises:
        ValueError: if the shapes or dtypes are incompatible.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[3] or x.dtype != kernel.dtype:
        raise ValueError(
            f"x: {x.dtype}{x.shape} is incompatible with the kernel {kernel.dtype}{kernel.shape}"
        )
    return _conv2d_transpose(x, kernel, tuple(strides), precision)


def _output_shape_and_pads(x_shape, kernel_shape, strides) -> tuple[tuple[int, ...], Pads]:
    """Return the output shape, and the padding of the convolution whose gradient is computed."""
    sizes = tuple(n * s for n, s in zip(x_shape[1:3], strides, strict=True))
    totals = (max(k - s, 0) for k, s in zip(kernel_shape[:2], strides, strict=True))
    pads = tuple((total // 2, total - total // 2) for total in totals)
    return (x_shape[0], *sizes, kernel_shape[2]), pads


def xla_conv2d_transpose(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width outputs inputs"],
    strides: Sizes,
    precision: lax.PrecisionLike,
) -> Float[Array, "batch height*{strides[0]} width*{strides[1]} outputs"]:
    """Return XLA's own transposed convolution."""
    shape, pads = _output_shape_and_pads(x.shape, kernel.shape, strides)
    image = jax.ShapeDtypeStruct(shape, x.dtype)
    options = (kernel, strides, pads, precision)
    return jax.linear_transpose(lambda image: xla_conv2d(image, *options), image)(x)[0]


def xla_gradients(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width outputs inputs"],
    cotangent: Float[Array, "batch height*{strides[0]} width*{strides[1]} outputs"],
    strides: Sizes,
    precision: lax.PrecisionLike,
) -> tuple[
    Float[Array, "batch height width inputs"],
    Float[Array, "kernel_height kernel_width outputs inputs"],
]:
    """Return the gradients of `xla_conv2d_transpose` as convolutions that cuDNN supports.

    XLA's own rule inserts zeros between the pixels of an image and convolves it with a kernel as
    large as the image. cuDNN has no algorithm for this; compilation took minutes and 32 GiB of
    memory.
    """
    pads = _output_shape_and_pads(x.shape, kernel.shape, strides)[1]

    def convolve(kernel):
        return xla_conv2d(cotangent, kernel, strides, pads, precision)

    return convolve(kernel), jax.linear_transpose(convolve, kernel)(x)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv2d_transpose(x, kernel, strides, precision):
    def cpu(x, kernel):
        shape, pads = _output_shape_and_pads(x.shape, kernel.shape, strides)
        return strided_convolution.input_gradient(kernel, x, shape, strides, pads, precision)

    default = functools.partial(xla_conv2d_transpose, strides=strides, precision=precision)
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


def _forward(x, kernel, strides, precision):
    return _conv2d_transpose(x, kernel, strides, precision), (x, kernel)


def _backward(strides, precision, residuals, cotangent):
    def cpu(x, kernel, cotangent):
        pads = _output_shape_and_pads(x.shape, kernel.shape, strides)[1]
        arguments = (x, kernel, cotangent, strides, pads, precision)
        dx, d_kernel = strided_convolution.transposed_gradients(*arguments)
        return dx, d_kernel.astype(kernel.dtype)

    default = functools.partial(xla_gradients, strides=strides, precision=precision)
    return lax.platform_dependent(*residuals, cotangent, cpu=cpu, default=default)


_conv2d_transpose.defvjp(_forward, _backward)
