"""Convolution fused with the batch normalisation before and after it.

Batch normalisation needs sums over the batch before it can change a single value. The convolution,
the sums, the normalisation with ReLU and the next convolution would therefore each need a separate
pass over the image. Here, an activation is stored as the convolution returned it, together with the
mean, scale and bias of its pending normalisation (`DeferredNorm`). The next convolution normalises
the rows that it is working on, and returns its output together with the sums needed to normalise
that output. If a convolution has several inputs, as with skip connections, it also concatenates
them on the fly.

Only the CPU implementation is fused; on other platforms, XLA fuses the separate operations.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, custom_derivatives, lax
from jaxtyping import Float, Float32

from irec_jax.kernels import convolution, row_blocks, transposed_convolution
from irec_jax.kernels.patches import Col2Im, Im2Col

# Number of values per row for which XLA's sums over rows are fast on CPU.
_ROW_VALUES = 1024


@no_type_check  # JAX's transformations create instances with placeholders instead of arrays
@struct.dataclass
class DeferredNorm:
    """Activation with a deferred normalisation: (x - centre) * factor + bias, then optional ReLU.

    Attributes:
        x: the activation before normalisation.
        centre, factor, bias: parameters of the normalisation.
        relu: whether to apply ReLU afterwards.
    """

    x: Float[Array | np.ndarray, "batch height width channels"]
    centre: Float32[Array, " channels"]
    factor: Float32[Array, " channels"]
    bias: Float32[Array, " channels"]
    relu: bool = struct.field(pytree_node=False)

    @classmethod
    def identity(
        cls, x: Float[Array | np.ndarray, "batch height width channels"]
    ) -> "DeferredNorm":
        """Return x with a normalisation that leaves it unchanged."""
        zeros = jnp.zeros(x.shape[-1:])
        return cls(x, zeros, zeros + 1, zeros, relu=False)

    def values(self) -> Float[Array, "batch height width channels"]:
        """Return the normalised activation in the dtype of x."""
        x = jnp.asarray(self.x)
        y = (x.astype(jnp.float32) - self.centre) * self.factor + self.bias
        return (jnp.where(y > 0, y, 0.0) if self.relu else y).astype(x.dtype)


def conv_with_moments(
    inputs: Sequence[DeferredNorm],
    kernel: Float[Array | np.ndarray, "height width inputs outputs"],
    strides: tuple[int, int],
    *,
    transposed: bool,
    shift: Float32[Array | np.ndarray, " channels"],
    mask: Float32[Array | np.ndarray, " batch"],
) -> tuple[
    Float[Array, "batch new_height new_width channels"],
    Float32[Array, " channels"],
    Float32[Array, " channels"],
]:
    """Return a convolution with padding 'same', and the sums needed to normalise it.

    Args:
        inputs: activations of the same size, whose channels are concatenated.
        kernel: kernel of the convolution; if `transposed`, its last two axes are swapped.
        strides: vertical and horizontal stride.
        transposed: whether to compute `transposed_convolution.conv2d_transpose` instead.
        shift: value close to the mean of the outputs, which is subtracted before squaring because
            the square of a large mean would swamp the variance. It receives no gradient.
        mask: 1 for examples that are included in the sums, otherwise 0.

    Returns:
        The output y, and the sums of y - shift and of (y - shift)^2 over all pixels of the included
        examples.
    """
    return _conv_with_moments(tuple(inputs), kernel, shift, mask, tuple(strides), transposed)


def _unfused(inputs, kernel, shift, mask, strides, transposed):
    x = jnp.concatenate([part.values() for part in inputs], axis=-1)
    if transposed:
        y = transposed_convolution.conv2d_transpose(x, kernel, strides)
    else:
        y = convolution.conv2d(x, kernel, strides, "SAME")
    return y, *_moments(y, shift, mask.reshape(-1, 1, 1, 1))


def _moments(y, shift, mask):
    centred = y.astype(jnp.float32) - shift
    weighted = centred * mask
    return _pixel_sum(weighted), _pixel_sum(weighted * centred)


def _pixel_sum(x):
    """Sum (batch, height, width, channels) over all pixels to (channels,).

    Long rows of complete pixels are summed, which is five times as fast on CPU as XLA's own sum.
    """
    num_channels = x.shape[3]
    width = math.gcd(math.prod(x.shape[1:3]), max(1, _ROW_VALUES // num_channels))
    return x.reshape(-1, width * num_channels).sum(0).reshape(-1, num_channels).sum(0)


class _Geometry:
    """Division of a convolution into row blocks.

    Blocks consist of rows of the coarser image, which is the output or, if transposed, the input.
    Each of these rows corresponds to `scale` rows of the input.
    """

    def __init__(self, inputs, kernel, strides, transposed):
        fine = inputs[0].x.shape[1:3]
        if transposed:
            fine = tuple(n * s for n, s in zip(fine, strides, strict=True))
        pads = lax.padtype_to_pads(fine, kernel.shape[:2], strides, "SAME")
        self.im2col = Im2Col(kernel.shape, strides, tuple(pads))
        self.col2im = Col2Im(self.im2col, fine)
        self.counts, self.scale = self.col2im.counts, 1 if transposed else strides[0]
        #: Whether all blocks lie within the image.
        self.is_divisible = all(n % s == 0 for n, s in zip(fine, strides, strict=True))

    def scan(self, block, carry, images):
        num_values = self.im2col.values_per_patch
        return row_blocks.scan_row_blocks(block, carry, images, self.counts, num_values, exact=True)

    def patches(self, image, first, rows):
        return self.im2col.patches(image, first, (rows, self.counts[1]))


def _concatenated(inputs, pad=None) -> row_blocks.LazyImage:
    """Return an image that normalises and concatenates the activations on demand."""

    def compute(*slices):
        values = (part.replace(x=x).values() for part, x in zip(inputs, slices, strict=True))
        return jnp.concatenate(list(values), axis=-1)

    return row_blocks.LazyImage(tuple(part.x for part in inputs), compute, pad)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _conv_with_moments(inputs, kernel, shift, mask, strides, transposed):
    unfused = functools.partial(_unfused, strides=strides, transposed=transposed)
    geometry = _Geometry(inputs, kernel, strides, transposed)

    def fused(inputs, kernel, shift, mask):
        def block(sums, images, first, rows):
            x, mask = images
            if transposed:
                y = geometry.col2im.overlap_add(x, kernel, first, rows, None)
            else:
                y = geometry.im2col.convolve(geometry.patches(x, first, rows), kernel, None)
            y = y.astype(inputs[0].x.dtype)
            return jax.tree.map(jnp.add, sums, _moments(y, shift, mask(0, 1))), [y]

        pad = geometry.col2im.pad if transposed else geometry.im2col.pad
        images = [_concatenated(inputs, pad), row_blocks.LazyImage((mask.reshape(-1, 1, 1, 1),))]
        sums, (y,) = geometry.scan(block, (jnp.zeros(shift.shape),) * 2, images)
        return y, *sums

    cpu = fused if geometry.is_divisible else unfused
    return lax.platform_dependent(inputs, kernel, shift, mask, cpu=cpu, default=unfused)


@struct.dataclass
class _Perturbed:
    """Flags that mark the inputs that need gradients; features fed to a network need none."""

    inputs: tuple[bool, ...] = struct.field(pytree_node=False)

    def select(self, values):
        """Return the values for the inputs that need gradients."""
        return list(itertools.compress(values, self.inputs))


def _forward(inputs, kernel, shift, mask, strides, transposed):
    fields = ((part.x, part.centre, part.factor, part.bias) for part in inputs)
    perturbed = _Perturbed(tuple(any(leaf.perturbed for leaf in leaves) for leaves in fields))
    primals = jax.tree.map(lambda primal: primal.value, (inputs, kernel, shift, mask))
    outputs: Any = _conv_with_moments(*primals, strides, transposed)
    return outputs, (*primals, outputs[0], perturbed)


def _backward(strides, transposed, residuals, cotangents: Any):
    inputs, kernel, shift, mask, y, perturbed = residuals
    geometry = _Geometry(inputs, kernel, strides, transposed)
    # Symbolic zeros have only a shape and a dtype.
    is_zero = [isinstance(c, custom_derivatives.SymbolicZero) for c in cotangents]
    cotangents = tuple(
        jnp.zeros(c.shape, c.dtype) if zero else c
        for c, zero in zip(cotangents, is_zero, strict=True)
    )

    def unfused(inputs, kernel, shift, mask, y, cotangents):
        del y
        static = dict(strides=strides, transposed=transposed)
        forward = functools.partial(_unfused, shift=shift, mask=mask, **static)
        return jax.vjp(forward, inputs, kernel)[1](cotangents)

    fused = functools.partial(_fused_gradients, geometry, perturbed, transposed)
    cpu = fused if geometry.is_divisible else unfused
    gradients = lax.platform_dependent(
        inputs, kernel, shift, mask, y, cotangents, cpu=cpu, default=unfused
    )
    return *gradients, jnp.zeros_like(shift), jnp.zeros_like(mask)


def _fused_gradients(geometry, perturbed, transposed, inputs, kernel, shift, mask, y, cotangents):
    """Return the gradients with respect to the inputs and the kernel, computed block by block."""
    dy, d_sum, d_square_sum = cotangents

    def total_cotangent(dy, y, mask):
        d_moments = d_sum + 2.0 * d_square_sum * (y.astype(jnp.float32) - shift)
        return (dy + mask * d_moments).astype(y.dtype)

    def block(total, images, first, rows):
        fine, coarse, padded_cotangent, *parts = images
        patches = geometry.patches(fine, first, rows)
        if transposed:
            patches = lax.optimization_barrier(patches)  # so that both products share them
            d_values = geometry.im2col.convolve(patches, kernel, None)
        else:
            d_values = geometry.col2im.overlap_add(padded_cotangent, kernel, first, rows, None)
        d_kernel = geometry.im2col.kernel_gradient(patches, coarse(first, rows), None)
        scale = geometry.scale
        triples = zip(inputs, parts, jnp.split(d_values, channel_ends, -1), strict=True)
        gradients = [
            _values_gradients(part.replace(x=x(first * scale, rows * scale)), d_part)
            for part, x, d_part in triples
        ]
        gradients = perturbed.select(gradients)
        d_norms = [d_norm for _, *d_norm in gradients]
        return jax.tree.map(jnp.add, total, (d_kernel, d_norms)), [dx for dx, *_ in gradients]

    channel_ends = np.cumsum([part.x.shape[3] for part in inputs])[:-1]
    arrays = (dy, y, mask.reshape(-1, 1, 1, 1))
    cotangent_image = functools.partial(row_blocks.LazyImage, arrays, total_cotangent)
    input_image = functools.partial(_concatenated, inputs)
    fine, coarse = (cotangent_image, input_image) if transposed else (input_image, cotangent_image)
    images = [fine(pad=geometry.im2col.pad), coarse(), cotangent_image(pad=geometry.col2im.pad)]
    images += [row_blocks.LazyImage((part.x,)) for part in inputs]
    d_kernel = geometry.im2col.init_kernel_gradient(y.dtype)
    start = d_kernel, [[jnp.zeros(part.x.shape[3])] * 2 for part in perturbed.select(inputs)]
    (d_kernel, d_norms), dx = geometry.scan(block, start, images)
    gradients = iter(zip(dx, d_norms, strict=True))
    d_inputs = []
    for part, is_perturbed in zip(inputs, perturbed.inputs, strict=True):
        d_part = jax.tree.map(jnp.zeros_like, part)
        if is_perturbed:
            x, (factor, bias) = next(gradients)
            d_part = part.replace(x=x, centre=-bias * part.factor, factor=factor, bias=bias)
        d_inputs.append(d_part)
    return tuple(d_inputs), geometry.im2col.finish_kernel_gradient(d_kernel).astype(kernel.dtype)


def _values_gradients(part, cotangent):
    """Return the gradients of `DeferredNorm.values` with respect to x, factor and bias."""
    cotangent, centred = cotangent.astype(jnp.float32), part.x.astype(jnp.float32) - part.centre
    if part.relu:
        cotangent = jnp.where(centred * part.factor + part.bias > 0, cotangent, 0.0)
    dx = (cotangent * part.factor).astype(part.x.dtype)
    return dx, _pixel_sum(cotangent * centred), _pixel_sum(cotangent)


_conv_with_moments.defvjp(_forward, _backward, symbolic_zeros=True)
