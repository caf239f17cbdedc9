"""Loops over chunks of a batch, or over blocks of image rows, that fit into a CPU's caches."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, PyTree, Shaped

from irec_jax.kernels.patches import Row, RowReader, Sizes

# Bytes of patches to process at a time. On two cores with 1 MiB of cache each and a shared cache of
# 32 MiB, 2 MiB is fastest; with 4 MiB, a U-Net step takes 4 % longer.
_BLOCK_BYTES = 2 << 20


def choose_chunk_size(num_items: int, max_size: int) -> int:
    """Return a chunk size up to max_size, preferably a divisor of num_items above max_size / 2.

    With other sizes, the remainder has to be copied.
    """
    max_size = max(1, min(num_items, max_size))
    divisors = (n for n in range(max_size, max_size // 2, -1) if num_items % n == 0)
    return next(divisors, max_size)


def scan_chunks(
    function: Callable[..., tuple[Any, Any]],
    carry: Any,
    arrays: Sequence[Shaped[Array, "batch ..."]],
    *,
    chunk: int,
) -> tuple[Any, PyTree[Shaped[Array, "batch ..."]]]:
    """Scan `function(carry, *chunks)` over chunks of arrays along axis 0, with the remainder last.

    Returns:
        The last carry, and the outputs concatenated along axis 0.
    """
    size = arrays[0].shape[0]

    def body(carry, start):
        return function(carry, *(lax.dynamic_slice_in_dim(a, start, chunk) for a in arrays))

    carry, outputs = lax.scan(body, carry, jnp.arange(size // chunk) * chunk)
    outputs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outputs)
    if remainder := size % chunk:
        carry, last = function(carry, *(a[size - remainder :] for a in arrays))
        outputs = jax.tree.map(lambda *parts: jnp.concatenate(parts), outputs, last)
    return carry, outputs


class LazyImage(NamedTuple):
    """An image that is computed for a few examples, or a few of their rows, at a time.

    Attributes:
        arrays: images of the same size, or arrays (batch, 1, 1, 1) with one value per image.
        compute: function that maps slices of the arrays (some examples and rows) to an image
            (examples, rows, width, channels).
        pad: function ``pad(images, more_rows)`` that pads complete images for blocks that extend up
            to ``more_rows`` rows beyond their end. If None, rows are computed on demand.
    """

    arrays: tuple[Float[Array, "batch height width channels"], ...]
    compute: Callable[..., Array] = lambda x: x
    pad: Callable[[Array, int], Array] | None = None

    def row_reader(self, example: Row, size: int, more_rows: int) -> RowReader:
        """Return a function that reads rows of `size` examples, starting with `example`."""

        def compute(first, rows):
            slices = []
            for array in self.arrays:
                start, length = (first, rows) if array.shape[1] > 1 else (0, 1)
                shape = (size, length, *array.shape[2:])
                slices.append(lax.dynamic_slice(array, (example, start, 0, 0), shape))
            return self.compute(*slices)

        if self.pad is None:
            return compute
        padded = self.pad(compute(0, max(a.shape[1] for a in self.arrays)), more_rows)
        return functools.partial(lax.dynamic_slice_in_dim, padded, axis=1)


def scan_row_blocks(
    block: Callable[..., tuple[Any, list[Array]]],
    carry: Any,
    images: Sequence[LazyImage],
    counts: Sizes,
    num_values: int,
    *,
    exact: bool = False,
) -> tuple[Any, list[Float[Array, "batch ..."]]]:
    """Scan ``block(carry, images, first, rows)`` over blocks of rows of each example.

    If several complete examples fit into a block, they are processed together.

    Args:
        block: function of the carry, the images, the first row and the number of rows. It receives
            each image as a function (first row, number of rows) -> rows, and returns the carry and
            a list of arrays (examples, k * rows, ...) where each array has its own integer k.
        carry: initial carry.
        images: images to read.
        counts: numbers of rows and columns of the positions (for example, of the patches).
        num_values: number of values that a block holds for each position.
        exact: do not let blocks extend beyond the last row, as required by images without `pad`.

    Returns:
        The last carry, and the arrays (batch, k * rows, ...).
    """
    array = images[0].arrays[0]
    (num_rows, num_columns), batch_size = counts, array.shape[0]
    row_bytes = num_columns * num_values * array.dtype.itemsize
    max_rows = max(1, _BLOCK_BYTES // row_bytes)
    size, rows = 1, choose_chunk_size(num_rows, max_rows)
    if max_rows >= num_rows:
        size, rows = choose_chunk_size(batch_size, _BLOCK_BYTES // (num_rows * row_bytes)), num_rows
    elif exact and num_rows % rows:
        rows = next(n for n in range(rows, 0, -1) if num_rows % n == 0)
    num_blocks = -(-num_rows // rows)
    more_rows = num_blocks * rows - num_rows

    def readers(first, size):
        return [image.row_reader(first, size, more_rows) for image in images]

    def scan_examples(state, first, size):
        examples = readers(first, size)

        def body(state, index):
            carry, outputs = state
            carry, parts = block(carry, examples, index * rows, rows)
            starts = ((first, index * p.shape[1], *(0,) * (p.ndim - 2)) for p in parts)
            return (carry, [*map(lax.dynamic_update_slice, outputs, parts, starts)]), None

        if num_blocks == 1:
            return body(state, 0)
        return lax.scan(body, state, jnp.arange(num_blocks), unroll=2)

    shapes = jax.eval_shape(lambda carry: block(carry, readers(0, 1), 0, rows)[1], carry)
    # Do not fill the outputs with zeros: XLA would create a single array of zeros and copy it for
    # each loop.
    fill = array.ravel()[0]
    outputs = [
        jnp.full((batch_size, num_blocks * s.shape[1], *s.shape[2:]), fill.astype(s.dtype))
        for s in shapes
    ]
    starts = jnp.arange(batch_size // size) * size
    scan_group = functools.partial(scan_examples, size=size)
    (carry, outputs), _ = lax.scan(scan_group, (carry, outputs), starts)
    if remainder := batch_size % size:
        state = carry, outputs
        (carry, outputs), _ = scan_examples(state, batch_size - remainder, remainder)
    return carry, [a[:, : a.shape[1] // num_blocks // rows * num_rows] for a in outputs]
