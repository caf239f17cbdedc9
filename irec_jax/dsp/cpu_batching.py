"""Cache-friendly batch processing on CPUs: a few examples at a time."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def map_in_batches(
    function: Callable[[Float[Array | np.ndarray, "... samples"]], Array],
    signal: Float[Array | np.ndarray, "... samples"],
    *,
    batch_size: int,
) -> Float[Array, "..."]:
    """Return `function(signal)`, computed on CPUs for `batch_size` examples at a time.

    The frames and spectra of a full batch take hundreds of megabytes. On a CPU, they do not fit
    into the caches, and every call causes a page fault for each memory page, which takes longer
    than the transform itself. Log-mel spectrograms of 64 three-second clips, for example, are
    computed three times faster in groups of about 1,000 frames. Accelerators compute the full batch
    at once.

    Args:
        function: function that maps (..., samples) to (..., *shape) and processes each example
            independently.
        signal: the argument of `function`, (..., samples).
        batch_size: number of examples to process at a time, >= 1; it need not divide the total.

    Returns:
        The result of `function`, (..., *shape).
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
    """Return `function` with a `vmap` rule that processes examples one by one on CPUs.

    Use this for functions with several arguments that process one example; `map_in_batches`
    explains the reason. Accelerators compute the full batch at once.

    Args:
        function: function that maps arrays to an array or a tree of arrays; it must not close over
            traced values.

    Returns:
        A function with the same arguments, all of which are positional.
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
