"""Two-dimensional convolution with gradients that are fast on CPU.

On CPU, XLA computes the kernel gradient as a convolution with a window as large as the image, which
is 10 to 60 times slower than the forward pass. It also dispatches the input gradient to a slow
library call unless the convolution is padded. Here, both gradients are expressed as operations that
are fast on CPU: matrix products over a few examples at a time, and padded convolutions.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Shaped

from irec_jax.kernels import strided_convolution
from irec_jax.kernels.patches import Pads, Sizes, accumulator_dtype, output_sizes, strided_slice
from irec_jax.kernels.row_blocks import choose_chunk_size, scan_chunks

#: Layout of inputs, kernels and outputs for which gradients are fast.
NHWC = ("NHWC", "HWIO", "NHWC")
# Bytes of patches and outputs to process at a time, about the size of the caches. 1 to 4 MiB are
# equally fast for Han's and Goel's networks; with 7 MiB, Goel's networks take up to 15 % longer.
CHUNK_BYTES = 3 << 20
# Up to this many products per output are unrolled, so that XLA fuses them with the bias and the
# activation into one loop (layer 1 of Han's network: 1.2 instead of 6.8 ms).
_MAX_UNROLLED = 9


def conv2d(
    x: Float[Array | np.ndarray, "batch height width inputs"],
    kernel: Float[Array | np.ndarray, "kernel_height kernel_width inputs outputs"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Float[Array, "batch rows columns outputs"]:
    """Compute `conv_general_dilated` in the NHWC, HWIO -> NHWC layout."""
    return conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)


def conv_general_dilated(
    lhs: Shaped[Array | np.ndarray, "batch ..."],
    rhs: Shaped[Array | np.ndarray, "..."],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    *,
    precision: lax.PrecisionLike = None,
    **options: Any,
) -> Shaped[Array, "..."]:
    """Compute `jax.lax.conv_general_dilated` with gradients that are fast on CPU.

    In Flax: ``nn.Conv(features, (3, 3), conv_general_dilated=kernels.conv_general_dilated)``.

    The fast rules cover two-dimensional convolutions in the NHWC, HWIO -> NHWC layout with any
    kernel size, stride and non-negative padding, but without dilation or groups. Everything else is
    passed to `jax.lax.conv_general_dilated`.

    The rules consist of differentiable operations, so reverse-mode derivatives of any order work,
    including under jit, vmap and pmap. Forward mode (`jax.jvp`) is not supported.

    Args:
        lhs: input (batch, height, width, channels).
        rhs: kernel (height, width, input channels, output channels).
        window_strides: vertical and horizontal stride.
        padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
        lhs_dilation, rhs_dilation, dimension_numbers, precision, **options: as in
            `jax.lax.conv_general_dilated`.

    Returns:
        The convolution (batch, output height, output width, output channels).
    """
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)
    dilations = dict(lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation)
    options |= dilations | dict(dimension_numbers=dimension_numbers, precision=precision)
    has_fast_rule = (
        lhs.ndim == 4
        and dimension_numbers is not None
        and lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        == lax.conv_dimension_numbers(lhs.shape, rhs.shape, NHWC)
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and options.get("feature_group_count", 1) == options.get("batch_group_count", 1) == 1
        and options.get("preferred_element_type") is None
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
    )
    if not has_fast_rule:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    sizes = output_sizes(lhs.shape[1:3], rhs.shape[:2], strides, pads)
    if lhs.size == 0 or min(sizes) < 1 or min(map(min, pads)) < 0:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)
    return _convolution(lhs, rhs, strides, pads, precision)


def dilate_kernel(
    kernel: Float[Array | np.ndarray, "height width inputs outputs"], dilation: int
) -> Float[Array, "new_height new_width inputs outputs"]:
    """Insert dilation - 1 zeros between neighbouring values along axes 0 and 1.

    Convolving with the result is a dilated convolution that uses the fast rules.
    """
    zeros = (0, 0, dilation - 1)
    return lax.pad(kernel, jnp.zeros((), kernel.dtype), (zeros, zeros, (0, 0, 0), (0, 0, 0)))


def xla_conv2d(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike,
) -> Float[Array, "batch rows columns outputs"]:
    """Return XLA's own convolution."""
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=NHWC, precision=precision
    )


def xla_vjp(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Callable[[Array], tuple[Array, Array]]:
    """Return a function that maps the cotangent of `xla_conv2d` to the gradients of its inputs."""
    return jax.vjp(lambda x, kernel: xla_conv2d(x, kernel, strides, pads, precision), x, kernel)[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolution(x, kernel, strides, pads, precision):
    cpu, default = (
        functools.partial(convolve, strides=strides, pads=pads, precision=precision)
        for convolve in (_cpu_conv2d, xla_conv2d)
    )
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


def _convolution_forward(x, kernel, strides, pads, precision):
    return _convolution(x, kernel, strides, pads, precision), (x, kernel)


def _convolution_backward(strides, pads, precision, residuals, cotangent):
    def cpu(x, kernel, cotangent):
        dx = input_gradient(kernel, cotangent, x.shape, strides, pads, precision)
        d_kernel = kernel_gradient(x, cotangent, kernel.shape, strides, pads, precision)
        return dx, d_kernel.astype(kernel.dtype)

    def default(x, kernel, cotangent):
        return xla_vjp(x, kernel, strides, pads, precision)(cotangent)

    return lax.platform_dependent(*residuals, cotangent, cpu=cpu, default=default)


_convolution.defvjp(_convolution_forward, _convolution_backward)


def _cpu_conv2d(x, kernel, strides, pads: Pads, precision=None):
    if strides == (1, 1):
        return unit_stride_conv2d(x, kernel, pads, precision)
    return strided_convolution.conv2d(x, kernel, strides, pads, precision)


def unit_stride_conv2d(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "batch rows columns outputs"]:
    """Return a convolution with a stride of 1; small kernels are unrolled.

    XLA's convolution is slow on CPU without any padding, so a row of zeros is added and the extra
    output row is removed. Negative padding crops the input.
    """
    for axis, (low, high) in enumerate(pads, 1):
        x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] - max(-high, 0), axis=axis)
    pads = tuple((max(low, 0), max(high, 0)) for low, high in pads)
    num_rows, num_columns = output_sizes(x.shape[1:3], kernel.shape[:2], (1, 1), pads)
    if kernel.size <= _MAX_UNROLLED * kernel.shape[3]:
        x = jnp.pad(x, ((0, 0), *pads, (0, 0))).astype(accumulator_dtype(x.dtype))

        def term(i, j, channel):
            rows = strided_slice(x[..., channel, None], 1, i, num_rows, 1)
            return strided_slice(rows, 2, j, num_columns, 1) * kernel[i, j, channel]

        terms = (term(*index) for index in np.ndindex(*kernel.shape[:3]))
        return functools.reduce(jnp.add, terms).astype(kernel.dtype)
    if max(max(pads)) == 0 and kernel.shape[:2] != (1, 1):
        pads = ((0, 1), pads[1])
    return xla_conv2d(x, kernel, (1, 1), pads, precision)[:, :num_rows]


def input_gradient(
    kernel: Float[Array, "kernel_height kernel_width inputs outputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    x_shape: Sequence[int],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "batch height width inputs"]:
    """Return the gradient with respect to the input."""
    if strides != (1, 1):
        arguments = (kernel, cotangent, x_shape, strides, pads, precision)
        return strided_convolution.input_gradient(*arguments)
    axes = zip(kernel.shape[:2], pads, x_shape[1:3], cotangent.shape[1:3], strict=True)
    new_pads = tuple((k - 1 - low, size + low - outputs) for k, (low, _), size, outputs in axes)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    return unit_stride_conv2d(cotangent, flipped, new_pads, precision)


def kernel_gradient(
    x: Float[Array, "batch height width inputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    kernel_shape: Sequence[int],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "kernel_height kernel_width inputs outputs"]:
    """Return the gradient with respect to the kernel, in float32 or wider."""
    options: dict[str, Any] = dict(
        kernel_shape=kernel_shape, strides=strides, pads=pads, precision=precision
    )
    if strides != (1, 1):
        return strided_convolution.kernel_gradient(x, cotangent, **options)

    def add(total, x, cotangent):
        return total + chunk_kernel_gradient(x, cotangent, **options), None

    start = init_kernel_gradient(x, kernel_shape)
    chunk = chunk_size(len(x), kernel_shape, cotangent.shape, x.dtype)
    total, _ = scan_chunks(add, start, (x, cotangent), chunk=chunk)
    return total.T.reshape(kernel_shape)


def chunk_size(
    num_examples: int, kernel_shape: Sequence[int], output_shape: Sequence[int], dtype: np.dtype
) -> int:
    """Return the number of examples that `chunk_kernel_gradient` should process at a time."""
    values_per_pixel = math.prod(kernel_shape[:3]) + kernel_shape[3]
    example_bytes = math.prod(output_shape[1:3]) * values_per_pixel * dtype.itemsize
    return choose_chunk_size(num_examples, CHUNK_BYTES // example_bytes)


def init_kernel_gradient(
    x: Float[Array, "batch height width inputs"], kernel_shape: Sequence[int]
) -> Float[Array, "outputs taps"]:
    """Return zeros, the initial value for a sum of `chunk_kernel_gradient` results."""
    return jnp.zeros((kernel_shape[3], math.prod(kernel_shape[:3])), accumulator_dtype(x.dtype))


def chunk_kernel_gradient(
    x: Float[Array, "batch height width inputs"],
    cotangent: Float[Array, "batch rows columns outputs"],
    *,
    kernel_shape: Sequence[int],
    strides: Sizes,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "outputs taps"]:
    """Return the kernel gradient for a few examples; a tap is one pixel and channel of the kernel.

    This is a single product with the patches of all pixels. The transposed product takes 1.2 to 1.5
    times as long, and so do several narrower, row-by-row products.
    """
    height, width, num_inputs, num_outputs = kernel_shape
    num_rows, num_columns = cotangent.shape[1:3]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    patches = [
        strided_slice(strided_slice(x, 1, i, num_rows, strides[0]), 2, j, num_columns, strides[1])
        for i, j in np.ndindex(height, width)
    ]
    patches = jnp.concatenate(patches, -1) if len(patches) > 1 else patches[0]
    return lax.dot_general(
        cotangent.reshape(-1, num_outputs),
        patches.reshape(-1, height * width * num_inputs),
        (((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=accumulator_dtype(x.dtype),
    )
