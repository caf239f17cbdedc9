"""Convolutions with strides, and their gradients, as products of matrices; fast on CPU.

What a kernel sees of a picture, pixel by pixel, is a matrix ('im2col'); its adjoint lays such
patches back over the picture and adds up what overlaps ('col2im'). So a convolution is the patches
times the kernel; the gradient of its input is the cotangent times the kernel, laid over the input;
that of the kernel, the patches times the cotangent. A transposed convolution is the same backwards.
Patches are several times as large as the picture: they are made of a few rows, or a few small
examples, at a time, and never leave the caches.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from irec_jax.kernels import chunks

# Bytes of patches that are worked on at a time. On two cores with 1 MiB of their own and a shared
# cache of 32 MiB, 2 MiB is the fastest; 4 MiB costs a step of the U-Net 4 % more.
_BLOCK_BYTES = 2 << 20
# With fewer channels, patches are made of runs of columns and then of rows: a pixel is too little
# to copy at a time.
_FEW_CHANNELS = 8

Sizes = tuple[int, int]
Pads = tuple[Sizes, Sizes]


def convolve(x, kernel, strides: Sizes, pads: Pads, precision=None) -> jax.Array:
    """Convolution.

    Args:
        x: (batch, height, width, inputs).
        kernel: (height, width, inputs, outputs).
        strides: of height and width.
        pads: zeros ((above, below), (left, right)), none of them negative.
        precision: of the products.

    Returns:
        (batch, output height, output width, outputs).
    """
    window = Window(kernel.shape, strides, pads)
    counts = window.counts(x.shape[1:3])

    def block(carry, pictures, first, rows):
        seen = window.patches(pictures[0], first, (rows, counts[1]))
        return carry, [window.convolve(seen, kernel, precision).astype(x.dtype)]

    pictures = [Picture((x,), pad=window.pad)]
    return by_blocks(block, None, pictures, counts, window.numbers)[1][0]


def kernel_gradient(x, cotangent, kernel_shape, strides: Sizes, pads: Pads, precision=None):
    """Gradient of the kernel of `convolve`, float32 or wider."""
    window = Window(kernel_shape, strides, pads)
    counts = cotangent.shape[1:3]

    def block(total, pictures, first, rows):
        x, cotangent = pictures
        seen = window.patches(x, first, (rows, counts[1]))
        return total + window.kernel_terms(seen, cotangent(first, rows), precision), []

    pictures = [Picture((x,), pad=window.pad), Picture((cotangent,), pad=_zeros_below)]
    start = window.kernel_start(x.dtype)
    return window.kernel_end(by_blocks(block, start, pictures, counts, window.numbers)[0])


def input_gradient(kernel, cotangent, x_shape, strides: Sizes, pads: Pads, precision=None):
    """Gradient of the input of `convolve`; also the transposed convolution of the 'cotangent'."""
    window = Window(kernel.shape, strides, pads)
    overlap = Overlap(window, x_shape[1:3])

    def block(carry, pictures, first, rows):
        laid = overlap.lay(pictures[0], kernel, first, rows, precision)
        return carry, [laid.astype(cotangent.dtype)]

    pictures = [Picture((cotangent,), pad=overlap.pad)]
    (found,) = by_blocks(block, None, pictures, overlap.counts, window.numbers)[1]
    return found[:, : x_shape[1], : x_shape[2]]


def transposed_gradients(x, kernel, cotangent, strides: Sizes, pads: Pads, precision=None):
    """Gradients of x and the kernel in ``input_gradient(kernel, x, ...)``, from the same patches.

    Returns:
        Those of x and, in float32 or wider, of the kernel.
    """
    window = Window(kernel.shape, strides, pads)
    counts = x.shape[1:3]

    def block(total, pictures, first, rows):
        cotangent, x = pictures
        # Made once for both products.
        seen = lax.optimization_barrier(window.patches(cotangent, first, (rows, counts[1])))
        total = total + window.kernel_terms(seen, x(first, rows), precision)
        return total, [window.convolve(seen, kernel, precision).astype(kernel.dtype)]

    pictures = [Picture((cotangent,), pad=window.pad), Picture((x,), pad=_zeros_below)]
    start = window.kernel_start(x.dtype)
    total, (of_x,) = by_blocks(block, start, pictures, counts, window.numbers)
    return of_x, window.kernel_end(total)


class Window:
    """Where a kernel looks.

    Attributes:
        shape: of the kernel (height, width, inputs, outputs).
        strides, pads: see `convolve`.
        numbers: of a patch and its outputs.
    """

    def __init__(self, shape: Sequence[int], strides: Sizes, pads: Pads):
        self.shape, self.strides, self.pads = tuple(shape), strides, pads
        self.numbers = math.prod(shape[:3]) + shape[3]

    def counts(self, sizes: Sizes) -> Sizes:
        """Rows and columns of patches of a picture."""
        padded = (size + sum(pad) for size, pad in zip(sizes, self.pads, strict=True))
        steps = zip(padded, self.shape[:2], self.strides, strict=True)
        return tuple((n - k) // s + 1 for n, k, s in steps)

    def pad(self, x, more_rows: int):
        """A picture padded for so many more rows of patches than it has."""
        (above, below), columns = self.pads
        rows = (above, below + more_rows * self.strides[0])
        return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))

    def patches(self, x, first, counts: Sizes):
        """What the kernel sees: (batch, rows, columns, height x width x inputs).

        Args:
            x: from a first row and a number of rows to (batch, rows, width, inputs), padded.
            first: of the rows of patches.
            counts: how many rows and columns of them.
        """
        (height, width), (down, right) = self.shape[:2], self.strides
        x = x(first * down, (counts[0] - 1) * down + height)
        if x.shape[3] < _FEW_CHANNELS:
            num_runs = -(-width // right)
            missing = right * (counts[1] + num_runs - 1) - x.shape[2]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, max(0, missing)), (0, 0)))
            x = x[:, :, : x.shape[2] // right * right]
            runs = x.reshape(*x.shape[:2], -1, right * x.shape[3])
            shifted = [lax.slice_in_dim(runs, j, j + counts[1], 1, 2) for j in range(num_runs)]
            lines = jnp.concatenate(shifted, -1)[..., : width * x.shape[3]]
            seen = [every(lines, 1, i, counts[0], down) for i in range(height)]
        else:
            columns = [
                lax.optimization_barrier(every(x, 2, j, counts[1], right)) for j in range(width)
            ]
            seen = [every(columns[j], 1, i, counts[0], down) for i, j in np.ndindex(height, width)]
        return jnp.concatenate(seen, -1) if len(seen) > 1 else seen[0]

    def convolve(self, patches, kernel, precision):
        """(batch, rows, columns, outputs) of patches, float32 or wider."""
        return product(patches, kernel.reshape(-1, self.shape[3]), precision)

    def kernel_start(self, dtype):
        """Zeros to which `kernel_terms` are added."""
        return jnp.zeros(sorted((math.prod(self.shape[:3]), self.shape[3])), accumulator(dtype))

    def kernel_terms(self, patches, outputs, precision):
        """What patches and (cotangents of) outputs add to the gradient of the kernel.

        The narrower of both is turned first, so that it lies in memory as the product wants it,
        which is up to 1.5 times as fast.
        """
        pair = [patches, outputs]
        if outputs.shape[-1] < patches.shape[-1]:
            pair.reverse()
        turned = lax.optimization_barrier(pair[0].reshape(-1, pair[0].shape[-1]).T)
        return product(turned, pair[1], precision)

    def kernel_end(self, total):
        """Their sum in the layout of the kernel."""
        is_turned = self.shape[3] < math.prod(self.shape[:3])
        return (total.T if is_turned else total).reshape(self.shape)


class Overlap:
    """How patches lie over a picture.

    Position ``stride * t + phase`` of the picture is met by element ``stride * m + phase + low`` of
    the kernel in patch ``t - m``.

    Attributes:
        counts: blocks of ``strides`` pixels, vertically and horizontally.
    """

    def __init__(self, window: Window, sizes: Sizes):
        self.window, self.sizes = window, sizes
        self.counts = tuple(-(-n // s) for n, s in zip(sizes, window.strides, strict=True))
        self._terms, self._before, self._after = [], [], []
        for size, stride, (low, _) in zip(
            window.shape[:2], window.strides, window.pads, strict=True
        ):
            elements = [range((phase + low) % stride, size, stride) for phase in range(stride)]
            terms = [
                [((element - phase - low) // stride, element) for element in of_phase]
                for phase, of_phase in enumerate(elements)
            ]
            reach = [m for pairs in terms for m, _ in pairs]
            self._terms.append(terms)
            self._before.append(max(0, max(reach)))
            self._after.append(max(0, -min(reach)))

    def pad(self, cotangent, more_rows: int):
        """A picture of patches with zeros where a block looks beyond it."""
        widths = []
        for axis, more in ((0, more_rows), (1, 0)):
            after = self.counts[axis] + self._after[axis] - cotangent.shape[1 + axis] + more
            widths.append((self._before[axis], after, 0))
        return lax.pad(cotangent, jnp.zeros((), cotangent.dtype), ((0, 0, 0), *widths, (0, 0, 0)))

    def lay(self, cotangent, kernel, first, rows: int, precision):
        """A block of the picture, float32 or wider (batch, rows * stride, width, inputs).

        Args:
            cotangent: rows of what `pad` gives, as in `Window.patches`.
            kernel: (height, width, inputs, outputs).
            first: row of the block.
            rows: of it.
        """
        (down, right), inputs = self.window.strides, self.window.shape[2]
        part = cotangent(first, rows + self._before[0] + self._after[0])
        products = product(part, kernel.reshape(-1, kernel.shape[3]), precision, over=1)

        def phase(a, b):
            terms = []
            for m, i in self._terms[0][a]:
                for n, j in self._terms[1][b]:
                    place = (self._before[0] - m, self._before[1] - n)
                    tap = (i * self.window.shape[1] + j) * inputs
                    term = lax.slice_in_dim(products, place[0], place[0] + rows, axis=1)
                    term = lax.slice_in_dim(term, place[1], place[1] + self.counts[1], axis=2)
                    terms.append(lax.slice_in_dim(term, tap, tap + inputs, axis=3))
            if terms:
                return functools.reduce(jnp.add, terms)
            # The kernel is smaller than the stride.
            return jnp.zeros((len(part), rows, self.counts[1], inputs), products.dtype)

        lines = [jnp.stack([phase(a, b) for b in range(right)], 3) for a in range(down)]
        laid = jnp.stack(lines, 2)
        laid = laid.reshape(len(part), rows * down, self.counts[1] * right, inputs)
        return laid[:, :, : self.sizes[1]]


class Picture(NamedTuple):
    """A picture that exists a few examples, or a few rows of these, at a time.

    Attributes:
        arrays: (batch, height, width, channels), or (batch, 1, 1, 1).
        make: from some examples and rows of them to (examples, rows, width, channels).
        pad: from whole examples of that, and a number of rows that a block may look beyond their
            end, to what is padded. Without it rows are made when a block asks for them.
    """

    arrays: tuple[jax.Array, ...]
    make: Callable[..., jax.Array] = lambda x: x
    pad: Callable[[jax.Array, int], jax.Array] | None = None


def by_blocks(
    block: Callable,
    carry: Any,
    pictures: Sequence[Picture],
    counts: Sizes,
    numbers: int,
    *,
    exact: bool = False,
) -> tuple[Any, list[jax.Array]]:
    """block(carry, pictures, first row, number of rows) over blocks of rows of one example, or over
    a few examples whole.

    Args:
        block: gets each picture as a function from a first row and a number of rows to these;
            returns the carry and a list of arrays, (examples, k * rows, ...) for whole k.
        pictures: see there.
        counts: rows and columns of blocks.
        numbers: for each of these, that a block holds.
        exact: whether a block must not reach beyond the last row: pictures without `pad` do not.

    Returns:
        The last carry, and the arrays (batch, k * rows, ...).
    """
    array = pictures[0].arrays[0]
    (num_rows, num_columns), batch_size = counts, array.shape[0]
    row_bytes = num_columns * numbers * array.dtype.itemsize
    most = max(1, _BLOCK_BYTES // row_bytes)
    size, rows = 1, chunks.fitting(num_rows, most)
    if most >= num_rows:
        size, rows = chunks.fitting(batch_size, _BLOCK_BYTES // (num_rows * row_bytes)), num_rows
    elif exact and num_rows % rows:
        rows = next(n for n in range(rows, 0, -1) if num_rows % n == 0)
    num_blocks = -(-num_rows // rows)
    more_rows = num_blocks * rows - num_rows

    def opened(picture, example, size):
        """The picture of some examples, from a first row and a number of rows."""

        def make(first, rows):
            some = []
            for array in picture.arrays:
                start, length = (first, rows) if array.shape[1] > 1 else (0, 1)
                shape = (size, length, *array.shape[2:])
                some.append(lax.dynamic_slice(array, (example, start, 0, 0), shape))
            return picture.make(*some)

        if picture.pad is None:
            return make
        whole = picture.pad(make(0, max(a.shape[1] for a in picture.arrays)), more_rows)
        return functools.partial(lax.dynamic_slice_in_dim, whole, axis=1)

    def examples(state, first, size):
        given = [opened(picture, first, size) for picture in pictures]

        def body(state, number):
            carry, outputs = state
            carry, found = block(carry, given, number * rows, rows)
            outputs = [
                lax.dynamic_update_slice(
                    whole, part, (first, number * part.shape[1], *(0,) * (part.ndim - 2))
                )
                for whole, part in zip(outputs, found, strict=True)
            ]
            return (carry, outputs), None

        if num_blocks == 1:
            return body(state, 0)
        return lax.scan(body, state, jnp.arange(num_blocks), unroll=2)

    shapes = jax.eval_shape(
        lambda carry: block(carry, [opened(picture, 0, 1) for picture in pictures], 0, rows)[1],
        carry,
    )
    # Not zeros: of these XLA would make one array for all loops, and copy it for each.
    number = array.ravel()[0]
    outputs = [
        jnp.full((batch_size, num_blocks * s.shape[1], *s.shape[2:]), number.astype(s.dtype))
        for s in shapes
    ]
    starts = jnp.arange(batch_size // size) * size
    state = lax.scan(lambda state, first: examples(state, first, size), (carry, outputs), starts)[0]
    rest = batch_size % size
    if rest:
        state = examples(state, batch_size - rest, rest)[0]
    carry, outputs = state
    return carry, [a[:, : a.shape[1] // num_blocks // rows * num_rows] for a in outputs]


def _zeros_below(x, more_rows: int):
    return jnp.pad(x, ((0, 0), (0, more_rows), (0, 0), (0, 0))) if more_rows else x


def product(a, b, precision, over: int = 0):
    """Sums over the channels of pixels a (..., channels) and axis `over` of b, a matrix or pixels,
    in float32 or wider."""
    found = lax.dot_general(
        a.reshape(-1, a.shape[-1]),
        b.reshape(-1, b.shape[-1]),
        (((1,), (over,)), ((), ())),
        precision=precision,
        preferred_element_type=accumulator(a.dtype),
    )
    return found.reshape(*a.shape[:-1], -1)


def accumulator(dtype):
    """The type in which products are summed: float32 or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def every(x, axis: int, start: int, count: int, stride: int):
    """count elements of an axis from start on, every stride-th."""
    stop = start + (count - 1) * stride + 1
    return lax.slice_in_dim(x, start, stop, stride, axis)
