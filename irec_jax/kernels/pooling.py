"""Max-pooling, and convolution with max-pooling as one operation."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Integer

from irec_jax.kernels import convolution
from irec_jax.kernels.patches import Pads, Sizes, output_sizes
from irec_jax.kernels.row_blocks import scan_chunks


def max_pool(
    x: Float[Array | np.ndarray, "batch height width channels"],
    window: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
) -> Float[Array, "batch rows columns channels"]:
    """Return the maximum of each window, without padding; incomplete windows are dropped.

    The gradient of a window goes to its maximum, or to the first one (row by row) if several values
    are equal. If windows do not overlap, only the position of the maximum is stored for the
    backward pass.

    Args:
        x: images.
        window: height and width of a window.
        strides: strides of the windows; if None, the window size.

    Returns:
        The maxima, one for each row and column of windows.

    Raises:
        ValueError: if the input is smaller than one window.
    """
    window = tuple(window)
    strides = window if strides is None else tuple(strides)
    if any(size < span for size, span in zip(x.shape[1:3], window, strict=True)):
        raise ValueError(f"x: {x.shape[1:3]} is smaller than the pooling window {window}")
    if strides != window:
        return nn.max_pool(x, window, strides)
    return _max_of_windows(_split_windows(x, window))


def _split_windows(x, window):
    """Reshape to (batch, rows, window, columns, window, channels)."""
    rows, columns = (size // span for size, span in zip(x.shape[1:3], window, strict=True))
    x = x[:, : rows * window[0], : columns * window[1]]
    return x.reshape(x.shape[0], rows, window[0], columns, window[1], x.shape[3])


@jax.custom_vjp
def _max_of_windows(x):
    """Return the maximum over axes 2 and 4 of (batch, rows, window, columns, window, channels)."""
    return _max_of_windows_forward(x)[0]


def max_and_argmax(
    parts: Sequence[Float[Array, "*shape"]],
) -> tuple[Float[Array, "*shape"], Integer[Array, "*shape"]]:
    """Return the elementwise maximum of arrays, and the index of the first array that attains it.

    The loop is unrolled so that XLA fuses it with the computation of the arrays; a reduction would
    need all of them in memory.
    """
    maximum = functools.reduce(jnp.maximum, parts)
    argmax = jnp.full(maximum.shape, len(parts) - 1, jnp.int32)
    for index in reversed(range(len(parts) - 1)):
        argmax = jnp.where(parts[index] == maximum, index, argmax)
    return maximum, argmax.astype(jnp.uint8 if len(parts) <= 256 else jnp.int32)


def _max_of_windows_forward(x):
    parts = [x[:, :, i, :, j] for i, j in np.ndindex(x.shape[2], x.shape[4])]
    maximum, argmax = max_and_argmax(parts)
    return maximum, (argmax, x.shape)


def _max_of_windows_backward(residuals, cotangent):
    argmax, shape = residuals
    return (_scatter_to_windows(argmax, cotangent, (shape[2], shape[4])),)


_max_of_windows.defvjp(_max_of_windows_forward, _max_of_windows_backward)


def _scatter_to_windows(argmax, values, window):
    """Return windows laid out as by `_split_windows`: values at the maxima and 0 elsewhere."""
    positions = jnp.arange(window[0] * window[1], dtype=argmax.dtype)
    positions = positions.reshape(window[0], 1, window[1], 1)
    is_maximum = argmax[:, :, None, :, None] == positions
    return jnp.where(is_maximum, values[:, :, None, :, None], 0)


def conv2d_max_pool(
    x: Float[Array | np.ndarray, "batch height width channels"],
    kernel: Float[Array | np.ndarray, "kernel_height kernel_width inputs outputs"],
    pads: Pads,
    window: Sizes,
    *,
    strides: Sizes = (1, 1),
    stem: Callable[[Any, Array], Array] = lambda _, x: x,
    stem_params: Any = (),
) -> Float[Array, "batch rows columns outputs"]:
    """Compute `max_pool` of a convolution without storing the convolution's output.

    On CPU, the forward and the backward pass process a few examples at a time, so that intermediate
    results stay in the caches. On other platforms, convolution and pooling run one after the other.

    Args:
        x: images.
        kernel: kernel of the convolution, applied to x or to the output of `stem`.
        pads: ((top, bottom), (left, right)), non-negative.
        window: height and width of the windows, which do not overlap.
        strides: vertical and horizontal stride of the convolution.
        stem: function ``stem(stem_params, x)`` that applies the layers before the convolution to
            each example independently. It is recomputed in the backward pass, which suits layers
            that are cheaper to recompute than to store.
        stem_params: parameters of the stem, which receive gradients as well.

    Returns:
        The maxima, one for each row and column of windows.
    """
    return _conv2d_max_pool(stem_params, x, kernel, stem, strides, pads, window)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _conv2d_max_pool(stem_params, x, kernel, stem, strides, pads, window):
    return _forward(stem_params, x, kernel, stem, strides, pads, window)[0]


def unfused_forward(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    strides: Sizes,
    pads: Pads,
    window: Sizes,
) -> tuple[
    Float[Array, "batch rows columns outputs"], Integer[Array, "batch rows columns outputs"]
]:
    """Return the maxima of a convolution and their positions, computed by separate operations."""
    convolved = convolution.conv2d(x, kernel, strides, pads)
    maximum, (argmax, _) = _max_of_windows_forward(_split_windows(convolved, window))
    return maximum, argmax


def _forward(stem_params, x, kernel, stem, strides, pads, window):
    def full_batch(stem_params, x, kernel):
        return unfused_forward(stem(stem_params, x), kernel, strides, pads, window)

    def in_chunks(stem_params, x, kernel):
        def step(_, chunk):
            return None, full_batch(stem_params, chunk, kernel)

        chunk = _convolution_sizes(stem_params, x, kernel, stem, strides, pads)[2]
        return scan_chunks(step, None, (x,), chunk=chunk)[1]

    arguments = stem_params, x, kernel
    maximum, argmax = lax.platform_dependent(*arguments, cpu=in_chunks, default=full_batch)
    return maximum, (*arguments, argmax)


def _convolution_sizes(stem_params, x, kernel, stem, strides, pads):
    """Return the height and width of the convolution, and the number of examples per chunk."""
    stem_output = jax.eval_shape(stem, stem_params, x)
    sizes = output_sizes(stem_output.shape[1:3], kernel.shape[:2], strides, pads)
    shape = (x.shape[0], *sizes, kernel.shape[3])
    return *sizes, convolution.chunk_size(x.shape[0], kernel.shape, shape, stem_output.dtype)


def _unpool(argmax, cotangent, window, sizes):
    """Return the gradient (batch, *sizes, channels) with respect to the pooling's input."""
    unpooled = _scatter_to_windows(argmax, cotangent, window)
    rows, columns = argmax.shape[1] * window[0], argmax.shape[2] * window[1]
    unpooled = unpooled.reshape(argmax.shape[0], rows, columns, argmax.shape[3])
    return jnp.pad(unpooled, ((0, 0), (0, sizes[0] - rows), (0, sizes[1] - columns), (0, 0)))


def unfused_gradients(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    argmax: Integer[Array, "batch rows columns outputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    strides: Sizes,
    pads: Pads,
    window: Sizes,
) -> tuple[
    Float[Array, "batch height width inputs"],
    Float[Array, "kernel_height kernel_width inputs outputs"],
]:
    """Return XLA's own gradients with respect to x and the kernel."""
    sizes = output_sizes(x.shape[1:3], kernel.shape[:2], strides, pads)
    vjp = convolution.xla_vjp(x, kernel, strides, pads)
    return vjp(_unpool(argmax, cotangent, window, sizes))


def _backward(stem, strides, pads, window, residuals, cotangent):
    stem_params, x, kernel, argmax = residuals
    *sizes, chunk = _convolution_sizes(stem_params, x, kernel, stem, strides, pads)

    def full_batch(stem_params, x, kernel, argmax, cotangent):
        y, stem_vjp = jax.vjp(stem, stem_params, x)
        dy, d_kernel = unfused_gradients(y, kernel, argmax, cotangent, strides, pads, window)
        return *stem_vjp(dy), d_kernel

    def in_chunks(stem_params, x, kernel, argmax, cotangent):
        def step(totals, x, argmax, cotangent):
            unpooled = _unpool(argmax, cotangent, window, sizes)
            y, stem_vjp = jax.vjp(stem, stem_params, x)
            d_kernel = convolution.chunk_kernel_gradient(
                y, unpooled, kernel_shape=kernel.shape, strides=strides, pads=pads
            )
            dy = convolution.input_gradient(kernel, unpooled, y.shape, strides, pads)
            d_stem, dx = stem_vjp(dy)
            return jax.tree.map(jnp.add, totals, (d_stem, d_kernel)), dx

        d_stem = jax.tree.map(jnp.zeros_like, stem_params)
        start = d_stem, convolution.init_kernel_gradient(x, kernel.shape)
        totals, dx = scan_chunks(step, start, (x, argmax, cotangent), chunk=chunk)
        d_stem, d_kernel = totals
        return d_stem, dx, d_kernel.T.reshape(kernel.shape).astype(kernel.dtype)

    return lax.platform_dependent(*residuals, cotangent, cpu=in_chunks, default=full_batch)


_conv2d_max_pool.defvjp(_forward, _backward)
