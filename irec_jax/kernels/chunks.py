"""Work on a few examples at a time, whose intermediate results then stay in the caches of a CPU."""

import jax
import jax.numpy as jnp
from jax import lax


def fitting(num_examples: int, most: int) -> int:
    """How many examples to work on at a time: from 1 to most, and a number that divides them where
    there is one of nearly that size, since a rest is copied."""
    most = max(1, min(num_examples, most))
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
