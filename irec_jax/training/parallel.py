"""Data parallelism with `jax.pmap`: mapped steps, replication, sharding and collectives.

This is the only module that uses `pmap`; its axis is named `distributed.AXIS`.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import jax_utils

from irec_jax.distributed import AXIS
from irec_jax.errors import UserError


def check_batch_size(batch_size: int, key: str) -> None:
    """Raise UserError if a global batch cannot be divided equally among the devices."""
    if batch_size < 1 or batch_size % jax.device_count():
        raise UserError(
            f"{key}={batch_size}: expected a positive multiple of the number of devices, "
            f"{jax.device_count()}"
        )


def map_step(
    step: Callable,
    *,
    donate_state: bool,
    devices: list[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]  # an alias
) -> Callable:
    """Map a per-device step over devices.

    Args:
        step: function of per-device arrays; its collectives use the axis `AXIS`.
        donate_state: whether to donate the buffers of the first argument.
        devices: devices of this process; None for all devices of all processes.
    """
    donated = (0,) if donate_state else ()
    return jax.pmap(step, axis_name=AXIS, donate_argnums=donated, devices=devices)


def device_index() -> jax.Array:
    """Return the index of this device within a mapped step."""
    return jax.lax.axis_index(AXIS)


def mean_over_devices(tree: Any) -> Any:
    """Average arrays over the devices of a mapped step."""
    return jax.lax.pmean(tree, AXIS)


def replicate(tree: Any) -> Any:
    """Copy arrays to every device of this process, with a leading device axis."""
    # The axis has the same name as in the step; otherwise the first step would be compiled twice.
    return jax_utils.replicate(tree, axis_name=AXIS)


def copy_to_each(tree: Any, devices: Sequence[Any] | None = None) -> Any:
    """Replicate large arrays as `replicate` does, but without copies on the host.

    Args:
        tree: arrays.
        devices: devices of this process; None for all of them.
    """
    devices = list(devices or jax.local_devices())
    sharding = _sharding(devices)

    def copy(array: Any) -> jax.Array:
        array = np.asarray(array)
        copies = [jax.device_put(array[None], device) for device in devices]
        shape = (len(devices), *array.shape)
        return jax.make_array_from_single_device_arrays(shape, sharding, copies)

    return jax.tree.map(copy, tree)


def first(tree: Any) -> Any:
    """Return the first device's copy of replicated arrays, on the host."""
    # Copied, since the device's own buffer may be donated to the next step.
    return jax.tree.map(lambda x: np.array(x.addressable_data(0))[0], tree)


def largest(value: int) -> np.ndarray | jax.Array:
    """Return the maximum of a value over all processes.

    Every process must call this function at the same point between its steps.

    Returns:
        An array with one element. In a job with several processes, it is computed asynchronously.
    """
    if jax.process_count() == 1:
        return np.asarray(value)
    return _largest(np.full(jax.local_device_count(), value, np.int32)).addressable_data(0)


@functools.partial(jax.pmap, axis_name=AXIS)
def _largest(value: jax.Array) -> jax.Array:
    return jax.lax.pmax(value, AXIS)


def local_rows(rows: jax.Array) -> np.ndarray:
    """Join the outputs of a step on this process's devices into rows (B, ...), undoing `shard`."""
    return np.concatenate([np.asarray(part.data)[0] for part in rows.addressable_shards])


def shard(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Divide this process's batch (B, ...) among its devices: (devices, B / devices, ...)."""
    count = jax.local_device_count()
    return {k: v.reshape(count, -1, *v.shape[1:]) for k, v in batch.items()}


def shard_steps(batches: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Divide the batches of several steps: (devices, steps, B / devices, ...)."""
    parts = [shard(batch) for batch in batches]
    return {k: np.stack([part[k] for part in parts], axis=1) for k in parts[0]}


def _sharding(devices: Sequence[Any]) -> jax.NamedSharding:
    """Return the sharding of arrays (devices, ...) over the given devices of this process."""
    # The axis has the same name as in the step; see `replicate`.
    return jax.NamedSharding(jax.sharding.Mesh(np.array(devices), (AXIS,)), jax.P(AXIS))


def transfer(tree: Any, devices: Sequence[Any] | None = None) -> Any:
    """Copy arrays (devices, ...) asynchronously to this process's devices (all by default)."""
    return jax.device_put(tree, _sharding(devices or jax.local_devices()))


def ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yield each item only after requesting the next one.

    The transfer or device step of the next item then overlaps with the work on the current item.
    """
    waiting: list[Any] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def free_memory_bytes() -> int | None:
    """Return the least free memory among this process's devices, in bytes; None if unknown."""
    free = []
    for device in jax.local_devices():
        statistics = device.memory_stats() or {}
        if "bytes_limit" not in statistics:
            return None
        free.append(statistics["bytes_limit"] - statistics.get("bytes_in_use", 0))
    return min(free)
