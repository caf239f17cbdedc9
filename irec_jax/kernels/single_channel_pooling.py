"""Convolution and max-pooling of single-channel images as matrix products.

With a single channel, XLA's convolution on CPU is slow because each pixel involves little work.
Here, the image is cut into one patch per pooling window. Patches are
``span = kernel + stride * (window - 1)`` pixels high and wide, at intervals of
``hop = stride * window`` pixels. Multiplying them by a matrix that contains the kernel at every
position within a window gives all values of each window side by side. This takes
``(span / kernel) ** 2`` times as many multiplications, but they run at least ten times as fast.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from irec_jax.kernels import convolution, pooling
from irec_jax.kernels.patches import Pads, Sizes, accumulator_dtype, output_sizes
from irec_jax.kernels.row_blocks import choose_chunk_size, scan_chunks

_NO_PADDING = ((0, 0), (0, 0))


class _Grid(NamedTuple):
    """Division of a padded image into patches.

    Attributes, each with a vertical and a horizontal value:
        sizes, strides: kernel size and strides of the convolution.
        window: size of the pooling windows.
        spans: size of a patch.
        hops: distance between patches.
        counts: number of patches.
    """

    sizes: Sizes
    strides: Sizes
    window: Sizes
    spans: Sizes
    hops: Sizes
    counts: Sizes


def single_channel_conv2d_max_pool(
    x: Float[Array | np.ndarray, "batch height width 1"],
    kernel: Float[Array | np.ndarray, "kernel_height kernel_width 1 outputs"],
    pads: Pads,
    window: Sizes,
    *,
    strides: Sizes = (1, 1),
) -> Float[Array, "batch rows columns outputs"]:
    """Compute `pooling.conv2d_max_pool` for images with one channel."""
    return _conv2d_max_pool(x, kernel, strides, pads, window)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d_max_pool(x, kernel, strides, pads, window):
    return _forward(x, kernel, strides, pads, window)[0]


def _forward(x, kernel, strides, pads, window):
    def cpu(x, kernel):
        grid = _grid(x.shape, kernel.shape, strides, pads, window)
        shifted = _shifted_kernels(kernel, grid)

        def step(_, frames):
            values = convolution.unit_stride_conv2d(frames, shifted, _NO_PADDING)
            parts = jnp.split(values, math.prod(window), -1)
            return None, pooling.max_and_argmax(parts)

        frames, chunk = _frames(x, pads, grid), _chunk_size(x, kernel, grid)
        return scan_chunks(step, None, (frames,), chunk=chunk)[1]

    default = functools.partial(pooling.unfused_forward, strides=strides, pads=pads, window=window)
    maximum, argmax = lax.platform_dependent(x, kernel, cpu=cpu, default=default)
    return maximum, (x, kernel, argmax)


def _backward(strides, pads, window, residuals, cotangent):
    def cpu(x, kernel, argmax, cotangent):
        grid = _grid(x.shape, kernel.shape, strides, pads, window)
        shifted, kernel_vjp = jax.vjp(functools.partial(_shifted_kernels, grid=grid), kernel)
        frames, x_vjp = jax.vjp(lambda x: _frames(x, pads, grid), x)
        positions = jnp.arange(math.prod(window), dtype=argmax.dtype)[:, None]

        def step(total, frames, argmax, cotangent):
            values = jnp.where(argmax[..., None, :] == positions, cotangent[..., None, :], 0)
            values = values.reshape(*argmax.shape[:3], -1)
            pair = _patches(frames, grid), values.reshape(-1, values.shape[3])
            a, b = pair if is_wide else reversed(pair)
            dimensions = (((0,), (0,)), ((), ()))
            product = lax.dot_general(a, b, dimensions, preferred_element_type=total.dtype)
            geometry = frames.shape, (1, 1), _NO_PADDING
            d_frames = convolution.input_gradient(shifted, values, *geometry)
            return total + product, d_frames

        # Use the product with fewer rows than columns; its transpose takes up to twice as long.
        sizes = math.prod(grid.spans), shifted.shape[3]
        is_wide = sizes[0] < sizes[1]
        start = jnp.zeros(sorted(sizes), accumulator_dtype(x.dtype))
        chunk = _chunk_size(x, kernel, grid)
        total, d_frames = scan_chunks(step, start, (frames, argmax, cotangent), chunk=chunk)
        d_shifted = _fold_rows(total if is_wide else total.T, grid).astype(shifted.dtype)
        return x_vjp(d_frames)[0], kernel_vjp(d_shifted)[0]

    static = dict(strides=strides, pads=pads, window=window)
    default = functools.partial(pooling.unfused_gradients, **static)
    return lax.platform_dependent(*residuals, cotangent, cpu=cpu, default=default)


_conv2d_max_pool.defvjp(_forward, _backward)


def _grid(x_shape, kernel_shape, strides, pads, window) -> _Grid:
    sizes = tuple(kernel_shape[:2])
    outputs = output_sizes(x_shape[1:3], sizes, strides, pads)
    spans = tuple(k + s * (w - 1) for k, s, w in zip(sizes, strides, window, strict=True))
    hops = tuple(s * w for s, w in zip(strides, window, strict=True))
    counts = tuple(n // w for n, w in zip(outputs, window, strict=True))
    return _Grid(sizes, strides, window, spans, hops, counts)


def _chunk_size(x, kernel, grid) -> int:
    """Return the number of examples whose patches and values fit into the cache."""
    values_per_patch = math.prod(grid.spans) + math.prod(grid.window) * kernel.shape[3]
    example_bytes = math.prod(grid.counts) * values_per_patch * x.dtype.itemsize
    return choose_chunk_size(x.shape[0], convolution.CHUNK_BYTES // example_bytes)


def _shifted_kernels(kernel, grid):
    """Return the kernel at every position within a window, to be convolved with `_frames`.

    The shape is (blocks, 1, hops[0] * spans[1], positions * outputs).
    """
    columns = []
    for position in np.ndindex(*grid.window):
        starts = np.multiply(position, grid.strides)
        ends = np.subtract(grid.spans, grid.sizes) - starts
        columns.append(jnp.pad(kernel[:, :, 0], (*zip(starts, ends, strict=True), (0, 0))))
    return _fold_rows(jnp.stack(columns, 2).reshape(math.prod(grid.spans), -1), grid)


def _fold_rows(matrix, grid):
    """Reshape (patch pixels, columns) to (blocks, 1, block pixels, columns) with zero padding."""
    block = grid.hops[0] * grid.spans[1]
    padded = jnp.pad(matrix, ((0, -len(matrix) % block), (0, 0)))
    return padded.reshape(-1, 1, block, matrix.shape[1])


def _frames(x, pads, grid):
    """Cut the columns of the patches and group the rows by hops, for the full batch.

    Images (batch, height, width, 1) become frames (batch, blocks of hops[0] rows, counts[1],
    hops[0] * spans[1]), from which `_patches` cuts the patches.
    """
    axes = zip(grid.counts, grid.spans, grid.hops, strict=True)
    blocks = [count + -(-span // hop) - 1 for count, span, hop in axes]
    sizes = [number * hop for number, hop in zip(blocks, grid.hops, strict=True)]
    x = jnp.pad(x[..., 0], ((0, 0), *pads))
    missing = [max(0, size - given) for size, given in zip(sizes, x.shape[1:], strict=True)]
    x = jnp.pad(x, ((0, 0), *((0, number) for number in missing)))[:, : sizes[0], : sizes[1]]
    span, hop, count = grid.spans[1], grid.hops[1], grid.counts[1]
    x = x.reshape(*x.shape[:2], blocks[1], hop)
    pieces = [x[:, :, i : i + count, : span - i * hop] for i in range(-(-span // hop))]
    x = jnp.concatenate(pieces, -1).reshape(x.shape[0], blocks[0], grid.hops[0], count, span)
    return x.swapaxes(2, 3).reshape(x.shape[0], blocks[0], count, grid.hops[0] * span)


def _patches(frames, grid):
    """Return the patches (number of patches, pixels per patch)."""
    span, hop, count = grid.spans[0], grid.hops[0], grid.counts[0]
    widths = [(span - i * hop) * grid.spans[1] for i in range(-(-span // hop))]
    pieces = [frames[:, i : i + count, :, :width] for i, width in enumerate(widths)]
    return jnp.concatenate(pieces, -1).reshape(-1, math.prod(grid.spans))
