"""Convolution with max-pooling of pictures of one channel, as products of matrices.

One channel gives XLA's convolution on CPU little to do at a time. Here a picture is cut into the
patches that the windows of the pooling look at, ``span = kernel + stride * (window - 1)`` pixels
high and wide, one every ``hop = stride * window`` pixels. Their product with a table that holds
the kernel at every place of a window gives all values of a window side by side. That takes
``(span / kernel) ** 2`` times as many products as are needed, at ten times the speed or more.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from irec_jax.kernels import chunks, convolution, im2col, pooling

_NO_PADDING = ((0, 0), (0, 0))


class _Grid(NamedTuple):
    """How a padded picture is cut; all of (height, width)."""

    sizes: pooling.Sizes  # of the kernel
    strides: pooling.Sizes
    window: pooling.Sizes
    spans: pooling.Sizes
    hops: pooling.Sizes
    counts: pooling.Sizes  # patches


def convolve_and_max_pool(
    x: jax.Array,
    kernel: jax.Array,
    pads: convolution.Pads,
    window: pooling.Sizes,
    *,
    strides: pooling.Sizes = (1, 1),
) -> jax.Array:
    """`pooling.convolve_and_max_pool` of pictures of one channel; elsewhere than on CPU the same.

    Args:
        x: (batch, height, width, 1).
        kernel: (height, width, 1, output channels).
        pads: ((top, bottom), (left, right)), non-negative.
        window: height and width of the windows, which do not overlap.
        strides: of the convolution, vertically and horizontally.

    Returns:
        (batch, windows vertically, windows horizontally, output channels).
    """
    return _fused(x, kernel, strides, pads, window)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _fused(x, kernel, strides, pads, window):
    return _forward(x, kernel, strides, pads, window)[0]


def _forward(x, kernel, strides, pads, window):
    def as_products(x, kernel):
        grid = _grid(x.shape, kernel.shape, strides, pads, window)
        table = _table(kernel, grid)

        def step(_, framed):
            values = convolution.padded(framed, table, (1, 1), _NO_PADDING)
            parts = jnp.split(values, math.prod(window), -1)
            return None, pooling.max_and_place(parts)

        return chunks.scan_chunks(
            step, None, (_framed(x, pads, grid),), chunk=_chunk_size(x, kernel, grid)
        )[1]

    plain = functools.partial(pooling.whole_batch, strides=strides, pads=pads, window=window)
    largest, place = lax.platform_dependent(x, kernel, cpu=as_products, default=plain)
    return largest, (x, kernel, place)


def _backward(strides, pads, window, residuals, cotangent):
    def as_products(x, kernel, place, cotangent):
        grid = _grid(x.shape, kernel.shape, strides, pads, window)
        table, pull_kernel = jax.vjp(functools.partial(_table, grid=grid), kernel)
        framed, pull_x = jax.vjp(lambda x: _framed(x, pads, grid), x)
        numbers = jnp.arange(math.prod(window), dtype=place.dtype)[:, None]

        def step(total, framed, place, cotangent):
            values = jnp.where(place[..., None, :] == numbers, cotangent[..., None, :], 0)
            values = values.reshape(*place.shape[:3], -1)
            pair = _patches(framed, grid), values.reshape(-1, values.shape[3])
            product = lax.dot_general(
                *(pair if wide else reversed(pair)),
                (((0,), (0,)), ((), ())),
                preferred_element_type=total.dtype,
            )
            of_framed = convolution.input_gradient(
                table, values, framed.shape, (1, 1), _NO_PADDING, None
            )
            return total + product, of_framed

        # Fewer rows than columns: the other product takes up to twice as long.
        sizes = math.prod(grid.spans), table.shape[3]
        wide = sizes[0] < sizes[1]
        start = jnp.zeros(sorted(sizes), im2col.accumulator(x.dtype))
        total, of_framed = chunks.scan_chunks(
            step, start, (framed, place, cotangent), chunk=_chunk_size(x, kernel, grid)
        )
        of_table = _folded(total if wide else total.T, grid).astype(table.dtype)
        return pull_x(of_framed)[0], pull_kernel(of_table)[0]

    plain = functools.partial(pooling.whole_gradients, strides=strides, pads=pads, window=window)
    return lax.platform_dependent(*residuals, cotangent, cpu=as_products, default=plain)


_fused.defvjp(_forward, _backward)


def _grid(x_shape, kernel_shape, strides, pads, window) -> _Grid:
    outputs = convolution.output_sizes(x_shape, kernel_shape, strides, pads)
    sizes = tuple(kernel_shape[:2])
    return _Grid(
        sizes=sizes,
        strides=strides,
        window=window,
        spans=tuple(k + s * (w - 1) for k, s, w in zip(sizes, strides, window, strict=True)),
        hops=tuple(s * w for s, w in zip(strides, window, strict=True)),
        counts=tuple(n // w for n, w in zip(outputs, window, strict=True)),
    )


def _chunk_size(x, kernel, grid) -> int:
    """Examples whose patches and values stay in the cache."""
    values_per_patch = math.prod(grid.spans) + math.prod(grid.window) * kernel.shape[3]
    example_bytes = math.prod(grid.counts) * values_per_patch * x.dtype.itemsize
    return chunks.fitting(x.shape[0], convolution.CHUNK_BYTES // example_bytes)


def _table(kernel, grid):
    """The kernel at every place of a window: (blocks, 1, hops[0] * spans[1], places * outputs), to
    be convolved with what `_framed` gives."""
    columns = []
    for place in np.ndindex(*grid.window):
        pads = [
            (stride * number, span - size - stride * number)
            for number, stride, span, size in zip(
                place, grid.strides, grid.spans, grid.sizes, strict=True
            )
        ]
        columns.append(jnp.pad(kernel[:, :, 0], (*pads, (0, 0))))
    return _folded(jnp.stack(columns, 2).reshape(math.prod(grid.spans), -1), grid)


def _folded(table, grid):
    """(pixels of a patch, columns) to (blocks, 1, pixels of a block, columns), with zeros below."""
    block = grid.hops[0] * grid.spans[1]
    return jnp.pad(table, ((0, -len(table) % block), (0, 0))).reshape(-1, 1, block, table.shape[1])


def _framed(x, pads, grid):
    """What of `_patches` is done for the whole batch: columns cut, rows gathered by hops.

    (batch, height, width, 1) to (batch, blocks of hops[0] rows, counts[1], hops[0] * spans[1]).
    """
    blocks = [
        count + -(-span // hop) - 1
        for count, span, hop in zip(grid.counts, grid.spans, grid.hops, strict=True)
    ]
    sizes = [number * hop for number, hop in zip(blocks, grid.hops, strict=True)]
    x = jnp.pad(x[..., 0], ((0, 0), *pads))
    missing = [max(0, size - given) for size, given in zip(sizes, x.shape[1:], strict=True)]
    x = jnp.pad(x, ((0, 0), *((0, number) for number in missing)))[:, : sizes[0], : sizes[1]]
    span, hop, count = grid.spans[1], grid.hops[1], grid.counts[1]
    x = x.reshape(*x.shape[:2], blocks[1], hop)
    pieces = [x[:, :, i : i + count, : span - i * hop] for i in range(-(-span // hop))]
    x = jnp.concatenate(pieces, -1).reshape(x.shape[0], blocks[0], grid.hops[0], count, span)
    return x.swapaxes(2, 3).reshape(x.shape[0], blocks[0], count, grid.hops[0] * span)


def _patches(framed, grid):
    """(number of patches, pixels of a patch)."""
    span, hop, count = grid.spans[0], grid.hops[0], grid.counts[0]
    pieces = [
        framed[:, i : i + count, :, : (span - i * hop) * grid.spans[1]]
        for i in range(-(-span // hop))
    ]
    return jnp.concatenate(pieces, -1).reshape(-1, math.prod(grid.spans))
