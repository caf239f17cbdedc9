"""Convolutions of what is still to be normalised: one pass over memory each way.

Batch normalisation with ReLU needs sums over the whole batch before it can change a single number,
so a convolution, the sums, the normalisation and the next convolution would each read or write the
picture once more. Here an activation is kept as the convolution gave it, together with what each
channel is to be normalised by (`Normalized`); the next convolution does it to the rows that it is
working on. With its result it gives the sums that the normalisation of that
needs. Several activations side by side, as skip connections are, are joined there, too.

That is so on CPU; elsewhere XLA joins what it is good to join.
"""

import functools
import math
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jax import custom_derivatives, lax

from irec_jax.kernels import convolution, im2col, transposed_convolution

# Numbers in a row, of which XLA's sums over rows are fast on CPU.
_ROW = 1024


@flax.struct.dataclass
class Normalized:
    """An activation: (x - centre) * factor + bias, and ReLU of that if `relu`.

    Attributes:
        x: (batch, height, width, channels).
        centre, factor, bias: float32 (channels,).
        relu: whether ReLU follows.
    """

    x: jax.Array
    centre: jax.Array
    factor: jax.Array
    bias: jax.Array
    relu: bool = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, x: jax.Array) -> "Normalized":
        """What is to stay as it is."""
        zeros = jnp.zeros(x.shape[-1:])
        return cls(x, zeros, zeros + 1, zeros, relu=False)

    def values(self) -> jax.Array:
        """The activation, of the shape and type of x."""
        y = (self.x.astype(jnp.float32) - self.centre) * self.factor + self.bias
        return (jnp.where(y > 0, y, 0.0) if self.relu else y).astype(self.x.dtype)


def convolve(
    parts: Sequence[Normalized],
    kernel: jax.Array,
    strides: tuple[int, int],
    *,
    transposed: bool,
    shift: jax.Array,
    mask: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Convolution with padding 'same', and sums of what it gives.

    Args:
        parts: activations of the same size, whose channels are joined.
        kernel: (height, width, inputs, outputs); transposed, (height, width, outputs, inputs).
        strides: of height and width.
        transposed: whether it is `transposed_convolution.conv_transpose`.
        shift: float32 (outputs,), something near the mean of the outputs, without gradient: squares
            of a large mean would swamp the variance.
        mask: float32 (batch,), which examples count in the sums.

    Returns:
        y (batch, new height, new width, outputs), and float32 (outputs,) the sums of y - shift and
        of its square over all pixels of the examples that count.
    """
    return _convolve(tuple(parts), kernel, shift, mask, tuple(strides), transposed)


def _plain(parts, kernel, shift, mask, strides, transposed):
    joined = jnp.concatenate([part.values() for part in parts], axis=-1)
    if transposed:
        y = transposed_convolution.conv_transpose(joined, kernel, strides)
    else:
        y = convolution.conv_general_dilated(
            joined, kernel, strides, "SAME", dimension_numbers=convolution.NHWC
        )
    return y, *_moments(y, shift, mask.reshape(-1, 1, 1, 1))


def _moments(y, shift, mask):
    centred = y.astype(jnp.float32) - shift
    weighted = centred * mask
    return _pixel_sum(weighted), _pixel_sum(weighted * centred)


def _pixel_sum(x):
    """(batch, height, width, channels) to (channels,), by long rows of whole pixels, which are five
    times as fast as XLA's own sums on CPU."""
    num_channels = x.shape[3]
    width = math.gcd(math.prod(x.shape[1:3]), max(1, _ROW // num_channels))
    return x.reshape(-1, width * num_channels).sum(0).reshape(-1, num_channels).sum(0)


class _Blocks:
    """How a convolution is cut into blocks, as `im2col` has it.

    A block is so many rows of the coarse picture: the output, or transposed the input. `scale` rows
    of the input are one of these.
    """

    def __init__(self, parts, kernel, strides, transposed):
        fine = parts[0].x.shape[1:3]
        if transposed:
            fine = tuple(n * s for n, s in zip(fine, strides, strict=True))
        pads = lax.padtype_to_pads(fine, kernel.shape[:2], strides, "SAME")
        self.window = im2col.Window(kernel.shape, strides, tuple(pads))
        self.overlap = im2col.Overlap(self.window, fine)
        self.counts, self.scale = self.overlap.counts, 1 if transposed else strides[0]
        #: Whether no block reaches beyond the picture.
        self.divide = all(n % s == 0 for n, s in zip(fine, strides, strict=True))

    def run(self, block, carry, pictures):
        return im2col.by_blocks(
            block, carry, pictures, self.counts, self.window.numbers, exact=True
        )

    def patches(self, x, first, rows):
        return self.window.patches(x, first, (rows, self.counts[1]))


def _joined(parts, pad=None) -> im2col.Picture:
    """The activations side by side."""

    def make(*some):
        values = (part.replace(x=x).values() for part, x in zip(parts, some, strict=True))
        return jnp.concatenate(list(values), axis=-1)

    return im2col.Picture(tuple(part.x for part in parts), make, pad)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _convolve(parts, kernel, shift, mask, strides, transposed):
    plain = functools.partial(_plain, strides=strides, transposed=transposed)
    blocks = _Blocks(parts, kernel, strides, transposed)

    def by_blocks(parts, kernel, shift, mask):
        def block(sums, pictures, first, rows):
            joined, mask = pictures
            if transposed:
                y = blocks.overlap.lay(joined, kernel, first, rows, None)
            else:
                y = blocks.window.convolve(blocks.patches(joined, first, rows), kernel, None)
            y = y.astype(parts[0].x.dtype)
            found = _moments(y, shift, mask(0, 1))
            return jax.tree.map(jnp.add, sums, found), [y]

        pad = blocks.overlap.pad if transposed else blocks.window.pad
        pictures = [_joined(parts, pad), im2col.Picture((mask.reshape(-1, 1, 1, 1),))]
        sums, (y,) = blocks.run(block, (jnp.zeros(shift.shape),) * 2, pictures)
        return y, *sums

    cpu = by_blocks if blocks.divide else plain
    return lax.platform_dependent(parts, kernel, shift, mask, cpu=cpu, default=plain)


def _leaves(part):
    return part.x, part.centre, part.factor, part.bias


@flax.struct.dataclass
class _Wanted:
    """Of which parts any gradients are wanted: not of the features that a network begins with."""

    of_parts: tuple[bool, ...] = flax.struct.field(pytree_node=False)


def _forward(parts, kernel, shift, mask, strides, transposed):
    wanted = _Wanted(tuple(any(p.perturbed for p in _leaves(part)) for part in parts))
    given = jax.tree.map(lambda primal: primal.value, (parts, kernel, shift, mask))
    found = _convolve(*given, strides, transposed)
    return found, (*given, found[0], wanted)


def _backward(strides, transposed, residuals, cotangents):
    *residuals, wanted = residuals
    blocks = _Blocks(*residuals[:2], strides, transposed)
    cotangents = tuple(
        jnp.zeros(c.shape, c.dtype) if isinstance(c, custom_derivatives.SymbolicZero) else c
        for c in cotangents
    )

    def plain(parts, kernel, shift, mask, y, cotangents):
        del y
        forward = functools.partial(
            _plain, shift=shift, mask=mask, strides=strides, transposed=transposed
        )
        return jax.vjp(forward, parts, kernel)[1](cotangents)

    def by_blocks(parts, kernel, shift, mask, y, cotangents):
        of_y, of_first, of_second = cotangents

        def whole_cotangent(of_y, y, mask):
            of_sums = of_first + 2.0 * of_second * (y.astype(jnp.float32) - shift)
            return (of_y + mask * of_sums).astype(y.dtype)

        def block(total, pictures, first, rows):
            fine, coarse, laid, *inputs = pictures
            seen = blocks.patches(fine, first, rows)
            if transposed:
                seen = lax.optimization_barrier(seen)  # made once for both products
                of_joined = blocks.window.convolve(seen, kernel, None)
            else:
                of_joined = blocks.overlap.lay(laid, kernel, first, rows, None)
            of_kernel = blocks.window.kernel_terms(seen, coarse(first, rows), None)
            pulled = [
                _pull_values(
                    part.replace(x=x(first * blocks.scale, rows * blocks.scale)), of_values
                )
                for part, x, of_values in zip(
                    parts, inputs, jnp.split(of_joined, ends, -1), strict=True
                )
            ]
            pulled = [
                found for found, is_wanted in zip(pulled, wanted.of_parts, strict=True) if is_wanted
            ]
            of_rest = [rest for _, *rest in pulled]
            return jax.tree.map(jnp.add, total, (of_kernel, of_rest)), [of_x for of_x, *_ in pulled]

        ends = np.cumsum([part.x.shape[3] for part in parts])[:-1]
        of_y = functools.partial(
            im2col.Picture, (of_y, y, mask.reshape(-1, 1, 1, 1)), whole_cotangent
        )
        joined = functools.partial(_joined, parts)
        fine, coarse = (of_y, joined) if transposed else (joined, of_y)
        pictures = [fine(pad=blocks.window.pad), coarse(), of_y(pad=blocks.overlap.pad)]
        pictures += [im2col.Picture((part.x,)) for part in parts]
        start = (
            blocks.window.kernel_start(y.dtype),
            [
                [jnp.zeros(part.x.shape[3])] * 2
                for part, is_wanted in zip(parts, wanted.of_parts, strict=True)
                if is_wanted
            ],
        )
        (of_kernel, of_rest), of_x = blocks.run(block, start, pictures)
        found = iter(zip(of_x, of_rest, strict=True))
        of_parts = []
        for part, is_wanted in zip(parts, wanted.of_parts, strict=True):
            gradient = jax.tree.map(jnp.zeros_like, part)
            if is_wanted:
                x, (factor, bias) = next(found)
                gradient = part.replace(x=x, centre=-bias * part.factor, factor=factor, bias=bias)
            of_parts.append(gradient)
        return tuple(of_parts), blocks.window.kernel_end(of_kernel).astype(kernel.dtype)

    of_parts, of_kernel = lax.platform_dependent(
        *residuals, cotangents, cpu=by_blocks if blocks.divide else plain, default=plain
    )
    return of_parts, of_kernel, jnp.zeros_like(residuals[2]), jnp.zeros_like(residuals[3])


def _pull_values(part, cotangent):
    """Gradients of x, factor and bias."""
    cotangent, centred = cotangent.astype(jnp.float32), part.x.astype(jnp.float32) - part.centre
    if part.relu:
        cotangent = jnp.where(centred * part.factor + part.bias > 0, cotangent, 0.0)
    of_x = (cotangent * part.factor).astype(part.x.dtype)
    return of_x, _pixel_sum(cotangent * centred), _pixel_sum(cotangent)


_convolve.defvjp(_forward, _backward, symbolic_zeros=True)
