"""Working through a batch a few examples at a time where that is faster."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def map_in_batches(
    function: Callable[[jax.Array], jax.Array], signal: jax.Array, *, batch_size: int
) -> jax.Array:
    """`function(signal)`, on CPUs computed on `chunk_size` examples after another.

    The frames and spectra of a whole batch take hundreds of megabytes: on a CPU they leave the
    caches and cost a page fault per page and call, which is more than the transform itself (a
    log-mel spectrogram of 64 x 3 s is three times faster in chunks of about 1,000 frames).
    Accelerators compute the whole batch at once.

    Args:
        function: maps (..., T) to (..., *shape), every example by itself.
        signal: (..., T).
        chunk_size: examples at a time, >= 1; need not divide their number.

    Returns:
        (..., *shape).
    """
    leading = signal.shape[:-1]
    num_examples = math.prod(leading)
    if num_examples <= batch_size:
        return function(signal)
    examples = signal.reshape(num_examples, signal.shape[-1])

    def in_chunks(examples: jax.Array) -> jax.Array:
        return jax.lax.map(function, examples, batch_size=batch_size)

    result = jax.lax.platform_dependent(examples, cpu=in_chunks, default=function)
    return result.reshape(*leading, *result.shape[1:])


def sequential_vmap_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which `vmap` computes one example after another on CPUs.

    For functions of several arguments that are written for one example; see `map_chunks` for the
    reason. Accelerators compute the whole batch at once.

    Args:
        function: maps arrays to an array or a tree of them; may not hold traced values.

    Returns:
        A function of the same arguments, all positional.
    """
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def _batched(axis_size, in_batched, *arguments):
        arguments = [
            value if batched else jnp.broadcast_to(value, (axis_size, *jnp.shape(value)))
            for value, batched in zip(arguments, in_batched, strict=True)
        ]

        def in_turn(*arguments: jax.Array) -> Any:
            return jax.lax.map(lambda one: function(*one), arguments)

        result = jax.lax.platform_dependent(*arguments, cpu=in_turn, default=jax.vmap(function))
        return result, jax.tree.map(lambda _: True, result)

    return mapped
