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

#: The layout of inputs, kernels and outputs that has fast gradients.
NHWC = ("NHWC", "HWIO", "NHWC")
# Bytes of what the kernel sees and of outputs that are worked on at a time: about what stays in the
# caches. 1 to 4 MiB are equally fast with the networks of Han and Goel; with 7 MiB Goel's take up
# to 15 % longer.
_CHUNK_BYTES = 3 << 20
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


def _transposed_sizes(x_shape, kernel_shape, strides) -> tuple[tuple[int, ...], Pads]:
    """Shape of the result, and the padding of the convolution of which this is the gradient."""
    sizes = tuple(n * s for n, s in zip(x_shape[1:3], strides, strict=True))
    pads = tuple(
        (max(k - s, 0) // 2, max(k - s, 0) - max(k - s, 0) // 2)
        for k, s in zip(kernel_shape[:2], strides, strict=True)
    )
    return (x_shape[0], *sizes, kernel_shape[2]), pads


def transposed_xla(x, kernel, strides, precision):
    """XLA's own transposed convolution."""
    pads = [
        (k - 1 - low, s - 1 + low)
        for k, s, (low, _) in zip(
            kernel.shape[:2],
            strides,
            _transposed_sizes(x.shape, kernel.shape, strides)[1],
            strict=True,
        )
    ]
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        pads,
        lhs_dilation=strides,
        dimension_numbers=NHWC,
        precision=precision,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _transposed(x, kernel, strides, precision):
    def fast(x, kernel):
        shape, pads = _transposed_sizes(x.shape, kernel.shape, strides)
        return input_gradient(kernel, x, shape, strides, pads, precision)

    stock = functools.partial(transposed_xla, strides=strides, precision=precision)
    return lax.platform_dependent(x, kernel, cpu=fast, default=stock)


def _transposed_forward(x, kernel, strides, precision):
    return _transposed(x, kernel, strides, precision), (x, kernel)


def _transposed_backward(strides, precision, residuals, cotangent):
    def fast(x, kernel, cotangent):
        pads = _transposed_sizes(x.shape, kernel.shape, strides)[1]
        return (
            padded(cotangent, kernel, strides, pads, precision),
            _kernel_gradient(cotangent, x, kernel.shape, strides, pads).astype(kernel.dtype),
        )

    def stock(x, kernel, cotangent):
        return jax.vjp(lambda a, b: transposed_xla(a, b, strides, precision), x, kernel)[1](
            cotangent
        )

    return lax.platform_dependent(*residuals, cotangent, cpu=fast, default=stock)


_transposed.defvjp(_transposed_forward, _transposed_backward)


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
        cpu=functools.partial(padded, strides=strides, pads=pads, precision=precision),
        default=functools.partial(xla, strides=strides, pads=pads, precision=precision),
    )


def _forward(x, kernel, strides, pads, precision):
    return _convolution(x, kernel, strides, pads, precision), (x, kernel)


def _backward(strides, pads, precision, residuals, cotangent):
    x, kernel = residuals

    def fast(x, kernel, cotangent):
        return (
            input_gradient(kernel, cotangent, x.shape, strides, pads, precision),
            _kernel_gradient(x, cotangent, kernel.shape, strides, pads).astype(kernel.dtype),
        )

    def stock(x, kernel, cotangent):
        return jax.vjp(lambda a, b: xla(a, b, strides, pads, precision), x, kernel)[1](cotangent)

    return lax.platform_dependent(x, kernel, cotangent, cpu=fast, default=stock)


_convolution.defvjp(_forward, _backward)


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
        x = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(accumulator(x.dtype))

        def term(i, j, channel):
            rows = _every(x[..., channel, None], 1, i, num_rows, strides[0])
            return _every(rows, 2, j, num_columns, strides[1]) * kernel[i, j, channel]

        terms = (term(*place) for place in np.ndindex(*kernel.shape[:3]))
        return functools.reduce(jnp.add, terms).astype(kernel.dtype)
    if max(max(pads)) == 0 and kernel.shape[:2] != (1, 1):
        pads = ((0, 1), pads[1])
    return xla(x, kernel, strides, pads, precision)[:, :num_rows]


def input_gradient(kernel, cotangent, x_shape, strides, pads: Pads, precision):
    """Gradient of the input (batch, height, width, channels).

    Position ``stride * t + phase`` of the padded input meets the kernel at ``phase``,
    ``phase + stride`` ... only: the gradient of each phase is a convolution with stride 1 of the
    cotangent and every stride-th element of the flipped kernel, and the phases are interleaved.
    """
    spans = []  # of each axis: first and number of the t that cover the unpadded input
    for size, (low, _), stride in zip(x_shape[1:3], pads, strides, strict=True):
        first = low // stride
        spans.append((first, (low + size - 1) // stride - first + 1))

    def one(row_phase, column_phase):
        part = kernel[row_phase :: strides[0], column_phase :: strides[1]]
        if part.size == 0:  # the stride is larger than the kernel: the input is not looked at
            shape = (x_shape[0], spans[0][1], spans[1][1], x_shape[3])
            return jnp.zeros(shape, cotangent.dtype)
        part = part[::-1, ::-1].swapaxes(2, 3)
        new_pads = tuple(
            (size - 1 - first, count + first - outputs)
            for size, (first, count), outputs in zip(
                part.shape[:2], spans, cotangent.shape[1:3], strict=True
            )
        )
        return padded(cotangent, part, (1, 1), new_pads, precision)

    if strides == (1, 1):
        return one(0, 0)
    rows = [jnp.stack([one(a, b) for b in range(strides[1])], 3) for a in range(strides[0])]
    grid = jnp.stack(rows, 2)  # (batch, t, phase, t, phase, channels)
    (row_count, column_count), channels = (count for _, count in spans), x_shape[3]
    full = grid.reshape(x_shape[0], row_count * strides[0], column_count * strides[1], channels)
    top, left = (
        low - first * stride
        for (low, _), (first, _), stride in zip(pads, spans, strides, strict=True)
    )
    return full[:, top : top + x_shape[1], left : left + x_shape[2]]


def _kernel_gradient(x, cotangent, kernel_shape, strides, pads: Pads):
    """Gradient of the kernel (height, width, input channels, output channels), float32 or wider."""
    of_chunk = functools.partial(
        kernel_gradient_of_chunk, kernel_shape=kernel_shape, strides=strides, pads=pads
    )
    total, _ = scan_chunks(
        lambda total, *parts: (total + of_chunk(*parts), None),
        kernel_gradient_start(x, kernel_shape),
        (x, cotangent),
        chunk=chunk_size(x.shape, kernel_shape, cotangent.shape, x.dtype, pads),
    )
    return kernel_gradient_end(total, kernel_shape)


def chunk_size(x_shape, kernel_shape, output_shape, dtype, pads: Pads) -> int:
    """Examples whose shifted inputs and outputs stay in the cache: at least 1, at most all.

    A number that divides the batch if there is one of nearly that size: a rest is copied.
    """
    numbers_per_pixel = math.prod(kernel_shape[:3]) + kernel_shape[3]
    return fitting(x_shape[0], math.prod(output_shape[1:3]) * numbers_per_pixel * dtype.itemsize)


def fitting(num_examples: int, example_bytes: int) -> int:
    """Examples that stay in the cache: see `chunk_size`."""
    most = max(1, min(num_examples, _CHUNK_BYTES // example_bytes))
    divisors = (n for n in range(most, most // 2, -1) if num_examples % n == 0)
    return next(divisors, most)


def scan_chunks(function, carry, arrays, *, chunk: int):
    """`lax.scan` of function(carry, *parts) over chunks of axis 0, then over the rest, if any.

    Returns:
        The last carry and the outputs, joined along axis 0.
    """
    size = arrays[0].shape[0]

    def body(carry, first):
        return function(carry, *(lax.dynamic_slice_in_dim(a, first, chunk) for a in arrays))

    carry, outputs = lax.scan(body, carry, jnp.arange(size // chunk) * chunk)
    outputs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outputs)
    rest = size % chunk
    if rest:
        carry, last = function(carry, *(a[size - rest :] for a in arrays))
        outputs = jax.tree.map(lambda *parts: jnp.concatenate(parts), outputs, last)
    return carry, outputs


def kernel_gradient_start(x, kernel_shape):
    """Zeros to which `kernel_gradient_of_chunk` is added."""
    return jnp.zeros((kernel_shape[3], math.prod(kernel_shape[:3])), accumulator(x.dtype))


def kernel_gradient_end(total, kernel_shape):
    """The sum over all chunks in the layout of the kernel."""
    return total.T.reshape(kernel_shape)


def accumulator(dtype):
    """The type in which products are summed: float32 or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def kernel_gradient_of_chunk(x, cotangent, *, kernel_shape, strides, pads: Pads):
    """Sum over some examples: (output channels, height x width x input channels).

    One product with all that the kernel sees of each pixel. The transposed one takes 1.2 to 1.5
    times as long, and so do several narrower ones, row by row.
    """
    height, width, num_inputs, num_outputs = kernel_shape
    num_rows, num_columns = cotangent.shape[1:3]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    seen = [
        _every(_every(x, 1, i, num_rows, strides[0]), 2, j, num_columns, strides[1])
        for i, j in np.ndindex(height, width)
    ]
    seen = jnp.concatenate(seen, -1) if len(seen) > 1 else seen[0]
    return lax.dot_general(
        cotangent.reshape(-1, num_outputs),
        seen.reshape(-1, height * width * num_inputs),
        (((0,), (0,)), ((), ())),
        preferred_element_type=accumulator(x.dtype),
    )


def _every(x, axis: int, start: int, count: int, stride: int):
    stop = start + (count - 1) * stride + 1
    return lax.slice_in_dim(x, start, stop, stride, axis)
