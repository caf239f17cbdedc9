"""Batched computation in small groups of examples on CPUs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def map_in_batches(
    function: Callable[[Float[Array, "... samples"]], Array],
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    batch_size: int,
) -> Float[Array, "..."]:
    """Return `function(signal)`, computed on CPUs for `batch_size` examples at a time.

    The frames and spectra of a full batch take hundreds of megabytes. On a CPU they do not fit in
    the caches and cost a page fault per page and call, which takes longer than the transform
    itself: a log-mel spectrogram of 64 x 3 s is three times faster in groups of about 1,000
    frames. Accelerators compute the full batch at once.

    Args:
        function: maps (..., samples) to (..., *shape), each example independently of the others.
        signal: the argument of `function`.
        batch_size: examples at a time, >= 1; need not divide their number.

    Returns:
        (..., *shape).
    """
    leading = signal.shape[:-1]
    num_examples = math.prod(leading)
    if num_examples <= batch_size:
        return function(signal)
    examples = signal.reshape(num_examples, signal.shape[-1])

    def in_batches(examples: Array | np.ndarray) -> Array:
        return jax.lax.map(function, examples, batch_size=batch_size)

    result = jax.lax.platform_dependent(examples, cpu=in_batches, default=function)
    return result.reshape(*leading, *result.shape[1:])


def sequential_vmap_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that `vmap` computes it sequentially on CPUs.

    This is for functions of several arguments that are written for one example; `map_in_batches`
    explains the reason. Accelerators compute the full batch at once.

    Args:
        function: maps arrays to an array or a tree of arrays; must not close over traced values.

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

        def sequential(*arguments: Array) -> Any:
            return jax.lax.map(lambda example: function(*example), arguments)

        result = jax.lax.platform_dependent(*arguments, cpu=sequential, default=jax.vmap(function))
        return result, jax.tree.map(lambda _: True, result)

    return mapped
