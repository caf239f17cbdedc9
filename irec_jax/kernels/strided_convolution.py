"""Strided convolutions that are fast on CPU: outputs and gradients as matrix products of patches.

A convolution multiplies the patches of the image (im2col) by the kernel. The input gradient is the
product of the cotangent and the kernel, overlap-added into the image (col2im); the kernel gradient
is the product of the patches and the cotangent. In a transposed convolution, the forward pass and
the input gradient are swapped. Since patches are several times as large as the image, they are
computed for a few rows, or for a few small examples, at a time and never leave the caches.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from irec_jax.kernels.patches import Col2Im, Im2Col, Pads, Sizes, output_sizes
from irec_jax.kernels.row_blocks import LazyImage, scan_row_blocks


def conv2d(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "batch rows columns outputs"]:
    """Return a convolution; see `Im2Col` for the strides and pads."""
    im2col = Im2Col(kernel.shape, strides, pads)
    counts = output_sizes(x.shape[1:3], kernel.shape[:2], strides, pads)

    def block(carry, images, first, rows):
        patches = im2col.patches(images[0], first, (rows, counts[1]))
        return carry, [im2col.convolve(patches, kernel, precision).astype(x.dtype)]

    images = [LazyImage((x,), pad=im2col.pad)]
    return scan_row_blocks(block, None, images, counts, im2col.values_per_patch)[1][0]


def kernel_gradient(
    x: Float[Array, "batch height width inputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    kernel_shape: Sequence[int],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "kernel_height kernel_width inputs outputs"]:
    """Return the gradient of `conv2d` with respect to the kernel, in float32 or wider."""
    return _scan_patches(x, cotangent, None, Im2Col(kernel_shape, strides, pads), precision)[0]


def input_gradient(
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    x_shape: Sequence[int],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "batch height width inputs"]:
    """Return the gradient of `conv2d` with respect to x, a transposed convolution."""
    im2col = Im2Col(kernel.shape, strides, pads)
    col2im = Col2Im(im2col, x_shape[1:3])

    def block(carry, images, first, rows):
        image = col2im.overlap_add(images[0], kernel, first, rows, precision)
        return carry, [image.astype(cotangent.dtype)]

    images = [LazyImage((cotangent,), pad=col2im.pad)]
    (gradient,) = scan_row_blocks(block, None, images, col2im.counts, im2col.values_per_patch)[1]
    return gradient[:, : x_shape[1], : x_shape[2]]


def transposed_gradients(
    x: Float[Array, "batch rows columns outputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    cotangent: Float[Array, "batch height width inputs"],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> tuple[
    Float[Array, "batch rows columns outputs"],
    Float[Array, "kernel_height kernel_width inputs outputs"],
]:
    """Return the gradients of ``input_gradient(kernel, x, ...)`` with respect to x and the kernel.

    Both gradients use the same patches. The kernel gradient is float32 or wider.
    """
    im2col = Im2Col(kernel.shape, strides, pads)
    d_kernel, dx = _scan_patches(cotangent, x, kernel, im2col, precision)
    return dx, d_kernel


def _scan_patches(x, outputs, kernel, im2col: Im2Col, precision):
    """Return the kernel gradient and, unless the kernel is None, the convolution of x."""
    counts = outputs.shape[1:3]

    def block(total, images, first, rows):
        x, outputs = images
        patches = im2col.patches(x, first, (rows, counts[1]))
        if kernel is not None:
            # The barrier keeps XLA from computing the patches separately for each product.
            patches = lax.optimization_barrier(patches)
        total = total + im2col.kernel_gradient(patches, outputs(first, rows), precision)
        if kernel is None:
            return total, []
        return total, [im2col.convolve(patches, kernel, precision).astype(kernel.dtype)]

    images = [LazyImage((x,), pad=im2col.pad), LazyImage((outputs,), pad=_zeros_below)]
    start = im2col.init_kernel_gradient(x.dtype)
    total, convolved = scan_row_blocks(block, start, images, counts, im2col.values_per_patch)
    return im2col.finish_kernel_gradient(total), *convolved


def _zeros_below(x, more_rows: int):
    return jnp.pad(x, ((0, 0), (0, more_rows), (0, 0), (0, 0))) if more_rows else x
