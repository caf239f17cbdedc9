"""Scans over chunks of a batch that are small enough for the caches of a CPU."""

import jax
import jax.numpy as jnp
from jax import lax


def choose_chunk_size(num_items: int, max_size: int) -> int:
    """Return a chunk size from 1 to max_size.

    A divisor of num_items between max_size / 2 and max_size is preferred: the remainder of an
    uneven division would be copied.
    """
    max_size = max(1, min(num_items, max_size))
    divisors = (n for n in range(max_size, max_size // 2, -1) if num_items % n == 0)
    return next(divisors, max_size)


def scan_chunks(function, carry, arrays, *, chunk: int):
    """Scan function(carry, *chunks of the arrays) over axis 0, the remainder last.

    Returns:
        The last carry and the outputs, concatenated along axis 0.
    """
    size = arrays[0].shape[0]

    def body(carry, start):
        return function(carry, *(lax.dynamic_slice_in_dim(a, start, chunk) for a in arrays))

    carry, outputs = lax.scan(body, carry, jnp.arange(size // chunk) * chunk)
    outputs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outputs)
    remainder = size % chunk
    if remainder:
        carry, last = function(carry, *(a[size - remainder :] for a in arrays))
        outputs = jax.tree.map(lambda *parts: jnp.concatenate(parts), outputs, last)
    return carry, outputs
