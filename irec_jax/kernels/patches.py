"""Image patches as matrices: extraction (im2col) and its adjoint, overlap-add (col2im).

Both process one block of image rows at a time; see `row_blocks`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, Shaped

# With fewer channels than this, complete runs of columns and then of rows are copied into the
# patches, because copying individual pixels is slow when each has so few values.
_FEW_CHANNELS = 8

Sizes = tuple[int, ...]  # vertical and horizontal
Pads = tuple[tuple[int, int], ...]
#: Index of a row: an integer, or a traced scalar inside a loop.
Row = int | Int[Array, ""]
#: Function that returns rows of images, given the first row and the number of rows.
RowReader = Callable[[Row, int], Float[Array, "batch rows width channels"]]


class Im2Col:
    """The patches of an image under a kernel, as rows of a matrix.

    Attributes:
        shape: shape of the kernel (height, width, inputs, outputs).
        strides: vertical and horizontal stride.
        pads: zero padding ((top, bottom), (left, right)), non-negative.
        values_per_patch: number of values in a patch and its outputs.
    """

    def __init__(self, shape: Sequence[int], strides: Sizes, pads: Pads):
        self.shape, self.strides, self.pads = tuple(shape), strides, pads
        self.values_per_patch = math.prod(shape[:3]) + shape[3]

    def pad(
        self, x: Float[Array, "batch height width inputs"], more_rows: int
    ) -> Float[Array, "batch padded_height padded_width inputs"]:
        """Pad the image for `more_rows` rows of patches beyond the last row."""
        (top, bottom), columns = self.pads
        rows = (top, bottom + more_rows * self.strides[0])
        return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))

    def patches(
        self, image: RowReader, first: Row, counts: Sizes
    ) -> Float[Array, "batch {counts[0]} {counts[1]} taps"]:
        """Return patches; a tap is one pixel and channel of the kernel.

        Args:
            image: function that reads rows of the padded image.
            first: first row of patches.
            counts: number of rows and columns of patches.
        """
        (height, width), (row_stride, column_stride) = self.shape[:2], self.strides
        x = image(first * row_stride, (counts[0] - 1) * row_stride + height)
        if x.shape[3] < _FEW_CHANNELS:
            num_runs = -(-width // column_stride)
            missing = column_stride * (counts[1] + num_runs - 1) - x.shape[2]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, max(0, missing)), (0, 0)))
            x = x[:, :, : x.shape[2] // column_stride * column_stride]
            runs = x.reshape(*x.shape[:2], -1, column_stride * x.shape[3])
            shifted = [lax.slice_in_dim(runs, j, j + counts[1], 1, 2) for j in range(num_runs)]
            rows = jnp.concatenate(shifted, -1)[..., : width * x.shape[3]]
            taps = [strided_slice(rows, 1, i, counts[0], row_stride) for i in range(height)]
        else:
            columns = [
                lax.optimization_barrier(strided_slice(x, 2, j, counts[1], column_stride))
                for j in range(width)
            ]
            taps = [
                strided_slice(columns[j], 1, i, counts[0], row_stride)
                for i, j in np.ndindex(height, width)
            ]
        return jnp.concatenate(taps, -1) if len(taps) > 1 else taps[0]

    def convolve(
        self,
        patches: Float[Array, "batch rows columns taps"],
        kernel: Float[Array, "height width inputs outputs"],
        precision: lax.PrecisionLike,
    ) -> Float[Array, "batch rows columns outputs"]:
        """Return the convolution's outputs for patches, in float32 or wider."""
        return pixel_product(patches, kernel.reshape(-1, self.shape[3]), precision)

    def init_kernel_gradient(self, dtype: np.dtype) -> Float[Array, "narrow wide"]:
        """Return zeros, the initial value for a sum of `kernel_gradient` results."""
        shape = sorted((math.prod(self.shape[:3]), self.shape[3]))
        return jnp.zeros(shape, accumulator_dtype(dtype))

    def kernel_gradient(
        self,
        patches: Float[Array, "batch rows columns taps"],
        outputs: Float[Array, "batch rows columns outputs"],
        precision: lax.PrecisionLike,
    ) -> Float[Array, "narrow wide"]:
        """Return the kernel gradient, given patches and the cotangents of their outputs.

        The narrower of the two factors is first transposed into the memory layout that the product
        needs; this is up to 1.5 times as fast as not transposing it.
        """
        pair = [patches, outputs]
        if outputs.shape[-1] < patches.shape[-1]:
            pair.reverse()
        transposed = lax.optimization_barrier(pair[0].reshape(-1, pair[0].shape[-1]).T)
        return pixel_product(transposed, pair[1], precision)

    def finish_kernel_gradient(
        self, total: Float[Array, "narrow wide"]
    ) -> Float[Array, "height width inputs outputs"]:
        """Convert a sum of kernel gradients to the layout of the kernel."""
        is_transposed = self.shape[3] < math.prod(self.shape[:3])
        return (total.T if is_transposed else total).reshape(self.shape)


class Col2Im:
    """Overlap-add of patches into an image, the adjoint of `Im2Col`.

    Pixel ``stride * t + phase`` of the image receives element ``stride * m + phase + low`` of the
    kernel from patch ``t - m``.

    Attributes:
        counts: number of blocks of ``strides`` pixels, vertically and horizontally.
    """

    def __init__(self, im2col: Im2Col, sizes: Sequence[int]):
        self.im2col, self.sizes = im2col, sizes
        self.counts = tuple(-(-n // s) for n, s in zip(sizes, im2col.strides, strict=True))
        self._terms, self._before, self._after = [], [], []
        axes = zip(im2col.shape[:2], im2col.strides, im2col.pads, strict=True)
        for size, stride, (low, _) in axes:
            terms = [
                [
                    ((i - phase - low) // stride, i)
                    for i in range((phase + low) % stride, size, stride)
                ]
                for phase in range(stride)
            ]
            offsets = [m for pairs in terms for m, _ in pairs]
            self._terms.append(terms)
            self._before.append(max(0, max(offsets)))
            self._after.append(max(0, -min(offsets)))

    def pad(
        self, cotangent: Float[Array, "batch rows columns outputs"], more_rows: int
    ) -> Float[Array, "batch padded_rows padded_columns outputs"]:
        """Pad the cotangents of patches with zeros for blocks that extend beyond them."""
        widths = []
        for axis, more in ((0, more_rows), (1, 0)):
            after = self.counts[axis] + self._after[axis] - cotangent.shape[1 + axis] + more
            widths.append((self._before[axis], after, 0))
        return lax.pad(cotangent, jnp.zeros((), cotangent.dtype), ((0, 0, 0), *widths, (0, 0, 0)))

    def overlap_add(
        self,
        cotangent: RowReader,
        kernel: Float[Array, "height width inputs outputs"],
        first: Row,
        rows: int,
        precision: lax.PrecisionLike,
    ) -> Float[Array, "batch {rows*self.im2col.strides[0]} {self.sizes[1]} inputs"]:
        """Return a block of rows of the image, in float32 or wider.

        Args:
            cotangent: function that reads rows from the result of `pad`.
            kernel: kernel of the convolution.
            first: first row of the block.
            rows: number of rows in the block.
            precision: precision of the products.
        """
        (row_stride, column_stride), inputs = self.im2col.strides, self.im2col.shape[2]
        part = cotangent(first, rows + self._before[0] + self._after[0])
        products = pixel_product(part, kernel.reshape(-1, kernel.shape[3]), precision, axis=1)

        def phase(a, b):
            terms = []
            for m, i in self._terms[0][a]:
                for n, j in self._terms[1][b]:
                    row, column = self._before[0] - m, self._before[1] - n
                    tap = (i * self.im2col.shape[1] + j) * inputs
                    term = lax.slice_in_dim(products, row, row + rows, axis=1)
                    term = lax.slice_in_dim(term, column, column + self.counts[1], axis=2)
                    terms.append(lax.slice_in_dim(term, tap, tap + inputs, axis=3))
            if terms:
                return functools.reduce(jnp.add, terms)
            # The kernel is smaller than the stride.
            return jnp.zeros((len(part), rows, self.counts[1], inputs), products.dtype)

        phases = [
            jnp.stack([phase(a, b) for b in range(column_stride)], 3) for a in range(row_stride)
        ]
        image = jnp.stack(phases, 2)
        image = image.reshape(len(part), rows * row_stride, self.counts[1] * column_stride, inputs)
        return image[:, :, : self.sizes[1]]


def pixel_product(
    a: Float[Array, "*pixels channels"],
    b: Float[Array, "... columns"],
    precision: lax.PrecisionLike,
    axis: int = 0,
) -> Float[Array, "*pixels products"]:
    """Return the product of pixels and a matrix: a @ b, or a @ b.T with `axis=1`.

    Args:
        a: pixels; their channels are summed over.
        b: a matrix, or pixels that form the rows of a matrix.
        precision: precision of the products.
        axis: axis of the matrix b that is summed over, 0 or 1.

    Returns:
        The pixels of a with the other axis of b as channels, in float32 or wider.
    """
    products = lax.dot_general(
        a.reshape(-1, a.shape[-1]),
        b.reshape(-1, b.shape[-1]),
        (((1,), (axis,)), ((), ())),
        precision=precision,
        preferred_element_type=accumulator_dtype(a.dtype),
    )
    return products.reshape(*a.shape[:-1], -1)


def output_sizes(sizes: Sizes, kernel_sizes: Sizes, strides: Sizes, pads: Pads) -> Sizes:
    """Return the height and width of a convolution's output."""
    axes = zip(sizes, kernel_sizes, strides, pads, strict=True)
    return tuple((size + sum(pad) - kernel) // stride + 1 for size, kernel, stride, pad in axes)


def accumulator_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which products are summed: float32 or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def strided_slice(
    x: Shaped[Array, "..."], axis: int, start: int, count: int, stride: int
) -> Shaped[Array, "..."]:
    """Return `count` elements along an axis at intervals of `stride`, beginning at `start`."""
    stop = start + (count - 1) * stride + 1
    return lax.slice_in_dim(x, start, stop, stride, axis)
