"""Max-pooling, and convolution with max-pooling as one operation."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from irec_jax.kernels import chunks, convolution


def max_pool(
    x: jax.Array, window: Sequence[int], *, strides: Sequence[int] | None = None
) -> jax.Array:
    """Maximum over windows, without padding: rows and columns that fill no window are left out.

    The gradient of a window goes to its maximum, to the first one (row by row) if several are
    equal. Where windows do not overlap, only that place is kept for the backward pass.

    Args:
        x: (batch, height, width, channels).
        window: height and width of a window.
        strides: of the windows; their size when left out.

    Returns:
        (batch, windows vertically, windows horizontally, channels).

    Raises:
        ValueError: the input is smaller than one window.
    """
    window = tuple(window)
    strides = window if strides is None else tuple(strides)
    if any(size < span for size, span in zip(x.shape[1:3], window, strict=True)):
        raise ValueError(f"x: {x.shape[1:3]} is smaller than the pooling window {window}")
    if strides != window:
        return nn.max_pool(x, window, strides)
    return _max_of_windows(_windows(x, window))


def _windows(x, window):
    """(batch, height, width, channels) to (batch, rows, window, columns, window, channels)."""
    rows, columns = (size // span for size, span in zip(x.shape[1:3], window, strict=True))
    x = x[:, : rows * window[0], : columns * window[1]]
    return x.reshape(x.shape[0], rows, window[0], columns, window[1], x.shape[3])


@jax.custom_vjp
def _max_of_windows(x):
    """Maximum over axes 2 and 4 of (batch, rows, window, columns, window, channels)."""
    return _max_of_windows_forward(x)[0]


def max_and_place(parts: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Maximum of arrays of one shape, and the number of the first array that has it.

    Written out: one loop with whatever computes them, where a reduction would need them in memory.
    """
    largest = functools.reduce(jnp.maximum, parts)
    place = jnp.full(largest.shape, len(parts) - 1, jnp.int32)
    for number in reversed(range(len(parts) - 1)):
        place = jnp.where(parts[number] == largest, number, place)
    return largest, place.astype(jnp.uint8 if len(parts) <= 256 else jnp.int32)


def _max_of_windows_forward(x):
    parts = [x[:, :, i, :, j] for i, j in np.ndindex(x.shape[2], x.shape[4])]
    largest, place = max_and_place(parts)
    return largest, (place, x.shape)


def _max_of_windows_backward(residuals, cotangent):
    place, shape = residuals
    return (_put_back(place, cotangent, (shape[2], shape[4])),)


_max_of_windows.defvjp(_max_of_windows_forward, _max_of_windows_backward)


def _put_back(place, values, window):
    """Windows (batch, rows, window, columns, window, channels), 0 but for values at their place."""
    places = jnp.arange(window[0] * window[1], dtype=place.dtype).reshape(
        window[0], 1, window[1], 1
    )
    hit = place[:, :, None, :, None] == places
    return jnp.where(hit, values[:, :, None, :, None], 0)


Stem = Callable[[Any, jax.Array], jax.Array]
Sizes = tuple[int, int]


def convolve_and_max_pool(
    x: jax.Array,
    kernel: jax.Array,
    pads: convolution.Pads,
    window: Sizes,
    *,
    strides: Sizes = (1, 1),
    stem: Stem | None = None,
    stem_params: Any = (),
) -> jax.Array:
    """`max_pool` of a convolution, without the convolution ever being in memory.

    On CPU both run over a few examples at a time, forwards and backwards: what lies between them
    stays in the cache. Elsewhere one follows the other.

    Args:
        x: (batch, height, width, channels).
        kernel: (height, width, input channels, output channels).
        pads: ((top, bottom), (left, right)), non-negative.
        window: height and width of the windows, which do not overlap.
        strides: of the convolution, vertically and horizontally.
        stem: what is done with x before, ``stem(stem_params, x)``, example by example. It is done
            once more in the backward pass instead of being kept: for what costs little.
        stem_params: its parameters, which have gradients too.

    Returns:
        (batch, windows vertically, windows horizontally, output channels).
    """
    return _fused(stem_params, x, kernel, stem or _no_stem, strides, pads, window)


def _no_stem(_, x):
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _fused(stem_params, x, kernel, stem, strides, pads, window):
    return _pooled(stem_params, x, kernel, stem, strides, pads, window)[0]


def whole_batch(x, kernel, strides, pads, window):
    """Maxima of a convolution and their places, one step after the other."""
    convolved = convolution.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=convolution.NHWC
    )
    largest, (place, _) = _max_of_windows_forward(_windows(convolved, window))
    return largest, place


def _pooled(stem_params, x, kernel, stem, strides, pads, window):
    """Maxima and their places."""

    def whole(stem_params, x, kernel):
        return whole_batch(stem(stem_params, x), kernel, strides, pads, window)

    def in_chunks(stem_params, x, kernel):
        def step(_, part):
            return None, whole(stem_params, part, kernel)

        chunk = _convolution_sizes(stem_params, x, kernel, stem, strides, pads)[2]
        return chunks.scan_chunks(step, None, (x,), chunk=chunk)[1]

    return lax.platform_dependent(stem_params, x, kernel, cpu=in_chunks, default=whole)


def _convolution_sizes(stem_params, x, kernel, stem, strides, pads):
    """Height and width of the convolution, and the number of examples to take at a time."""
    stemmed = jax.eval_shape(stem, stem_params, x)
    sizes = convolution.output_sizes(stemmed.shape, kernel.shape, strides, pads)
    shape = (x.shape[0], *sizes, kernel.shape[3])
    return *sizes, convolution.chunk_size(x.shape[0], kernel.shape, shape, stemmed.dtype)


def _fused_forward(stem_params, x, kernel, stem, strides, pads, window):
    largest, place = _pooled(stem_params, x, kernel, stem, strides, pads, window)
    return largest, (stem_params, x, kernel, place)


def unpool(place, cotangent, window, sizes):
    """Gradient (batch, *sizes, channels) of what was pooled."""
    full = _put_back(place, cotangent, window)
    rows, columns = place.shape[1] * window[0], place.shape[2] * window[1]
    full = full.reshape(place.shape[0], rows, columns, place.shape[3])
    return jnp.pad(full, ((0, 0), (0, sizes[0] - rows), (0, sizes[1] - columns), (0, 0)))


def whole_gradients(x, kernel, place, cotangent, strides, pads, window):
    """Gradients of x and of the kernel, XLA's own."""
    sizes = convolution.output_sizes(x.shape, kernel.shape, strides, pads)
    _, pull = jax.vjp(lambda *pair: convolution.xla(*pair, strides, pads, None), x, kernel)
    return pull(unpool(place, cotangent, window, sizes))


def _fused_backward(stem, strides, pads, window, residuals, cotangent):
    stem_params, x, kernel, place = residuals
    *sizes, chunk = _convolution_sizes(stem_params, x, kernel, stem, strides, pads)

    def whole(stem_params, x, kernel, place, cotangent):
        stemmed, pull = jax.vjp(stem, stem_params, x)
        of_x, of_kernel = whole_gradients(stemmed, kernel, place, cotangent, strides, pads, window)
        return *pull(of_x), of_kernel

    def in_chunks(stem_params, x, kernel, place, cotangent):
        def step(totals, x, place, cotangent):
            unpooled = unpool(place, cotangent, window, sizes)
            stemmed, pull = jax.vjp(stem, stem_params, x)
            of_kernel = convolution.kernel_gradient_of_chunk(
                stemmed, unpooled, kernel_shape=kernel.shape, strides=strides, pads=pads
            )
            of_stem, of_x = pull(
                convolution.input_gradient(kernel, unpooled, stemmed.shape, strides, pads, None)
            )
            return jax.tree.map(jnp.add, totals, (of_stem, of_kernel)), of_x

        start = (
            jax.tree.map(jnp.zeros_like, stem_params),
            convolution.kernel_gradient_start(x, kernel.shape),
        )
        (of_stem, of_kernel), of_x = chunks.scan_chunks(
            step, start, (x, place, cotangent), chunk=chunk
        )
        of_kernel = convolution.kernel_gradient_end(of_kernel, kernel.shape)
        return of_stem, of_x, of_kernel.astype(kernel.dtype)

    return lax.platform_dependent(
        stem_params, x, kernel, place, cotangent, cpu=in_chunks, default=whole
    )


_fused.defvjp(_fused_forward, _fused_backward)
