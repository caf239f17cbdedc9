"""Convolution whose gradients are fast on CPU; elsewhere, and where it is not defined, XLA's own.

XLA has no fast rule on CPU for the gradients of a convolution: that of the weights is a
convolution with a window as large as the image (10 to 60 times slower than the forward pass),
that of the input is dispatched to a slow library call unless it is padded. Here both are written
with what is fast there: matrix products over a few examples at a time, and padded convolutions.

`conv_general_dilated` takes the place of `jax.lax.conv_general_dilated` in Flax:
``nn.Conv(features, (3, 3), conv_general_dilated=convolution.conv_general_dilated)``.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from irec_jax.kernels import chunks, im2col

#: The layout of inputs, kernels and outputs that has fast gradients.
NHWC = ("NHWC", "HWIO", "NHWC")
# Bytes of what the kernel sees and of outputs that are worked on at a time: about what stays in the
# caches. 1 to 4 MiB are equally fast with the networks of Han and Goel; with 7 MiB Goel's take up
# to 15 % longer.
CHUNK_BYTES = 3 << 20
# So few products per output are written out: XLA makes one loop of them, of the bias and of the
# activation (layer 1 of Han's network: 1.2 instead of 6.8 ms).
_MAX_UNROLLED = 9

Pads = tuple[tuple[int, int], tuple[int, int]]


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` with gradients that are fast on CPU.

    The fast rules hold for two-dimensional convolutions in the layout NHWC, HWIO -> NHWC of any
    kernel size, stride and non-negative padding, without dilation or groups. Anything else is
    handed to `jax.lax.conv_general_dilated` as it is.

    The rules are made of differentiable operations, so reverse-mode derivatives of any order
    work, under `jit`, `vmap` and `pmap` too. Forward mode (`jax.jvp`) does not.

    Args:
        lhs: input (batch, height, width, channels).
        rhs: kernel (height, width, input channels, output channels).
        window_strides: of height and width.
        padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
        lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, batch_group_count,
            precision, preferred_element_type: as in `jax.lax.conv_general_dilated`.

    Returns:
        The convolution (batch, output height, output width, output channels).
    """
    rest = dict(
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    plain = (
        lhs.ndim == 4
        and dimension_numbers is not None
        and lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        == lax.conv_dimension_numbers(lhs.shape, rhs.shape, NHWC)
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and feature_group_count == batch_group_count == 1
        and preferred_element_type is None
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
    )
    if not plain:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **rest)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    sizes = output_sizes(lhs.shape, rhs.shape, strides, pads)
    if lhs.size == 0 or min(sizes) < 1 or min(min(p) for p in pads) < 0:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **rest)
    return _convolution(lhs, rhs, strides, pads, precision)


def spread(kernel: jax.Array, dilation: int) -> jax.Array:
    """The kernel of a dilated convolution with its holes filled with zeros, so that the fast rules
    hold: dilation - 1 zeros between neighbours of axes 0 and 1."""
    holes = (0, 0, dilation - 1)
    return lax.pad(kernel, jnp.zeros((), kernel.dtype), (holes, holes, (0, 0, 0), (0, 0, 0)))


def output_sizes(lhs_shape, rhs_shape, strides, pads: Pads) -> tuple[int, ...]:
    """Height and width of the result."""
    padded = [size + sum(pad) for size, pad in zip(lhs_shape[1:3], pads, strict=True)]
    return tuple((n - k) // s + 1 for n, k, s in zip(padded, rhs_shape[:2], strides, strict=True))


def xla(x, kernel, strides, pads, precision):
    """XLA's own convolution."""
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=NHWC, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolution(x, kernel, strides, pads, precision):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(forward, strides=strides, pads=pads, precision=precision),
        default=functools.partial(xla, strides=strides, pads=pads, precision=precision),
    )


def _forward(x, kernel, strides, pads, precision):
    return _convolution(x, kernel, strides, pads, precision), (x, kernel)


def _backward(strides, pads, precision, residuals, cotangent):
    x, kernel = residuals

    def fast(x, kernel, cotangent):
        return (
            input_gradient(kernel, cotangent, x.shape, strides, pads, precision),
            kernel_gradient(x, cotangent, kernel.shape, strides, pads, precision).astype(
                kernel.dtype
            ),
        )

    def stock(x, kernel, cotangent):
        return jax.vjp(lambda a, b: xla(a, b, strides, pads, precision), x, kernel)[1](cotangent)

    return lax.platform_dependent(x, kernel, cotangent, cpu=fast, default=stock)


_convolution.defvjp(_forward, _backward)


def forward(x, kernel, strides, pads: Pads, precision=None):
    """The convolution, fast on CPU."""
    if strides == (1, 1):
        return padded(x, kernel, strides, pads, precision)
    return im2col.convolve(x, kernel, strides, pads, precision)


def padded(x, kernel, strides, pads, precision=None):
    """Convolution that is written out, or has some padding: without any, XLA's is slow on CPU.

    One more row of zeros is added above or below and what it brings is cut off. Negative padding
    cuts the input.
    """
    for axis, (low, high) in enumerate(pads, 1):
        x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] - max(-high, 0), axis=axis)
    pads = tuple((max(low, 0), max(high, 0)) for low, high in pads)
    num_rows, num_columns = output_sizes(x.shape, kernel.shape, strides, pads)
    if kernel.size <= _MAX_UNROLLED * kernel.shape[3]:
        x = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(im2col.accumulator(x.dtype))

        def term(i, j, channel):
            rows = im2col.every(x[..., channel, None], 1, i, num_rows, strides[0])
            return im2col.every(rows, 2, j, num_columns, strides[1]) * kernel[i, j, channel]

        terms = (term(*place) for place in np.ndindex(*kernel.shape[:3]))
        return functools.reduce(jnp.add, terms).astype(kernel.dtype)
    if max(max(pads)) == 0 and kernel.shape[:2] != (1, 1):
        pads = ((0, 1), pads[1])
    return xla(x, kernel, strides, pads, precision)[:, :num_rows]


def input_gradient(kernel, cotangent, x_shape, strides, pads: Pads, precision):
    """Gradient of the input (batch, height, width, channels)."""
    if strides != (1, 1):
        return im2col.input_gradient(kernel, cotangent, x_shape, strides, pads, precision)
    new_pads = tuple(
        (k - 1 - low, size + low - outputs)
        for k, (low, _), size, outputs in zip(
            kernel.shape[:2], pads, x_shape[1:3], cotangent.shape[1:3], strict=True
        )
    )
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    return padded(cotangent, flipped, (1, 1), new_pads, precision)


def kernel_gradient(x, cotangent, kernel_shape, strides, pads: Pads, precision=None):
    """Gradient of the kernel (height, width, input channels, output channels), float32 or wider."""
    if strides != (1, 1):
        return im2col.kernel_gradient(x, cotangent, kernel_shape, strides, pads, precision)
    of_chunk = functools.partial(
        kernel_gradient_of_chunk,
        kernel_shape=kernel_shape,
        strides=strides,
        pads=pads,
        precision=precision,
    )
    total, _ = chunks.scan_chunks(
        lambda total, *parts: (total + of_chunk(*parts), None),
        kernel_gradient_start(x, kernel_shape),
        (x, cotangent),
        chunk=chunk_size(x.shape[0], kernel_shape, cotangent.shape, x.dtype),
    )
    return kernel_gradient_end(total, kernel_shape)


def chunk_size(num_examples: int, kernel_shape, output_shape, dtype) -> int:
    """Examples at a time for `kernel_gradient_of_chunk`."""
    numbers_per_pixel = math.prod(kernel_shape[:3]) + kernel_shape[3]
    example_bytes = math.prod(output_shape[1:3]) * numbers_per_pixel * dtype.itemsize
    return chunks.fitting(num_examples, CHUNK_BYTES // example_bytes)


def kernel_gradient_start(x, kernel_shape):
    """Zeros to which `kernel_gradient_of_chunk` is added."""
    return jnp.zeros((kernel_shape[3], math.prod(kernel_shape[:3])), im2col.accumulator(x.dtype))


def kernel_gradient_end(total, kernel_shape):
    """The sum over all chunks in the layout of the kernel."""
    return total.T.reshape(kernel_shape)


def kernel_gradient_of_chunk(x, cotangent, *, kernel_shape, strides, pads: Pads, precision=None):
    """Sum over some examples: (output channels, height x width x input channels).

    One product with all that the kernel sees of each pixel. The transposed one takes 1.2 to 1.5
    times as long, and so do several narrower ones, row by row.
    """
    height, width, num_inputs, num_outputs = kernel_shape
    num_rows, num_columns = cotangent.shape[1:3]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    seen = [
        im2col.every(im2col.every(x, 1, i, num_rows, strides[0]), 2, j, num_columns, strides[1])
        for i, j in np.ndindex(height, width)
    ]
    seen = jnp.concatenate(seen, -1) if len(seen) > 1 else seen[0]
    return lax.dot_general(
        cotangent.reshape(-1, num_outputs),
        seen.reshape(-1, height * width * num_inputs),
        (((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=im2col.accumulator(x.dtype),
    )
