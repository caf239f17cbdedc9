"""Max-pooling, and convolution with max-pooling as one operation."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from irec_jax.models import convolution


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
    return _max_and_place(x)[0]


def _max_and_place(x):
    # Written out: one loop with whatever computes x, where a reduction would need x in memory.
    parts = [x[:, :, i, :, j] for i, j in np.ndindex(x.shape[2], x.shape[4])]
    largest = functools.reduce(jnp.maximum, parts)
    place = jnp.full(largest.shape, len(parts) - 1, jnp.int32)
    for number in reversed(range(len(parts) - 1)):
        place = jnp.where(parts[number] == largest, number, place)
    return largest, place.astype(jnp.uint8 if len(parts) <= 256 else jnp.int32)


def _max_of_windows_forward(x):
    largest, place = _max_and_place(x)
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_and_max_pool(
    x: jax.Array,
    kernel: jax.Array,
    pads: tuple[tuple[int, int], tuple[int, int]],
    window: tuple[int, int],
) -> jax.Array:
    """`max_pool` of a convolution with stride 1, without the convolution ever being in memory.

    On CPU both run over a few examples at a time, forwards and backwards: what lies between them
    stays in the cache. Elsewhere one follows the other.

    Args:
        x: (batch, height, width, channels).
        kernel: (height, width, input channels, output channels).
        pads: ((top, bottom), (left, right)), non-negative.
        window: height and width of the windows, which do not overlap.

    Returns:
        (batch, windows vertically, windows horizontally, output channels).
    """
    return _pooled(x, kernel, pads, window)[0]


def _pooled(x, kernel, pads, window):
    """Maxima and their places."""

    def whole(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        convolved = convolution.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=layout
        )
        return _max_and_place(_windows(convolved, window))

    def in_chunks(x, kernel):
        def step(_, part):
            return None, whole(part, kernel)

        return convolution.scan_chunks(step, None, (x,), chunk=_chunk(x, kernel, pads))[1]

    return lax.platform_dependent(x, kernel, cpu=in_chunks, default=whole)


def _output_shape(x, kernel, pads):
    sizes = convolution.output_sizes(x.shape, kernel.shape, (1, 1), pads)
    return (x.shape[0], *sizes, kernel.shape[3])


def _chunk(x, kernel, pads):
    shape = _output_shape(x, kernel, pads)
    return convolution.chunk_size(x.shape, kernel.shape, shape, x.dtype, pads)


def _convolve_and_max_pool_forward(x, kernel, pads, window):
    largest, place = _pooled(x, kernel, pads, window)
    return largest, (x, kernel, place)


def _convolve_and_max_pool_backward(pads, window, residuals, cotangent):
    x, kernel, place = residuals
    _, height, width, _ = _output_shape(x, kernel, pads)

    def unpool(place, cotangent):
        full = _put_back(place, cotangent, window)
        rows, columns = place.shape[1] * window[0], place.shape[2] * window[1]
        full = full.reshape(place.shape[0], rows, columns, place.shape[3])
        return jnp.pad(full, ((0, 0), (0, height - rows), (0, width - columns), (0, 0)))

    def whole(x, kernel, place, cotangent):
        pull = jax.vjp(lambda a, b: convolution.xla(a, b, (1, 1), pads, None), x, kernel)[1]
        return pull(unpool(place, cotangent))

    def in_chunks(x, kernel, place, cotangent):
        def step(total, x, place, cotangent):
            unpooled = unpool(place, cotangent)
            total += convolution.kernel_gradient_of_chunk(
                x, unpooled, kernel_shape=kernel.shape, strides=(1, 1), pads=pads
            )
            return total, convolution.input_gradient(kernel, unpooled, x.shape, (1, 1), pads, None)

        total, x_gradient = convolution.scan_chunks(
            step,
            convolution.kernel_gradient_start(x, kernel.shape),
            (x, place, cotangent),
            chunk=_chunk(x, kernel, pads),
        )
        total = convolution.kernel_gradient_end(total, kernel.shape)
        return x_gradient, total.astype(kernel.dtype)

    return lax.platform_dependent(x, kernel, place, cotangent, cpu=in_chunks, default=whole)


convolve_and_max_pool.defvjp(_convolve_and_max_pool_forward, _convolve_and_max_pool_backward)
