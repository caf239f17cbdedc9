"""The one place that knows `pmap`: devices, replication and sharding."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import jax_utils

from irec_jax.distributed import AXIS
from irec_jax.errors import UserError


def check_batch_size(batch_size: int, key: str) -> None:
    """Raises UserError when a global batch does not divide among the devices."""
    if batch_size < 1 or batch_size % jax.device_count():
        raise UserError(
            f"config key {key}={batch_size} is not a multiple of the {jax.device_count()} devices"
        )


def map_step(
    step: Callable, *, donate_state: bool, devices: list[jax.Device] | None = None
) -> Callable:
    """Map a per-device step over devices.

    Args:
        step: function of per-device arrays; its collectives use the axis `AXIS`.
        donate_state: if True, donate the first argument.
        devices: devices of this process; None for all devices of all processes.
    """
    donated = (0,) if donate_state else ()
    return jax.pmap(step, axis_name=AXIS, donate_argnums=donated, devices=devices)


def map_local(function: Callable) -> Callable:
    """A per-device function over the devices of this process, each call independent of others."""
    return jax.pmap(function, devices=jax.local_devices())


def replicate(tree: Any) -> Any:
    """The same arrays on every device of this process, with a leading device axis."""
    # The axis is named as the step's, or the first step would be compiled once more.
    return jax_utils.replicate(tree, axis_name=AXIS)


def first(tree: Any) -> Any:
    """The first device's copy of replicated arrays, on the host."""
    # Copied, since the device's own buffer may be donated to the next step.
    return jax.tree.map(lambda x: np.array(x.addressable_data(0))[0], tree)


def shard(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of this process's batch (B, ...) dealt to its devices: (devices, B / devices, ...)."""
    count = jax.local_device_count()
    return {k: v.reshape(count, -1, *v.shape[1:]) for k, v in batch.items()}


def unshard(array: Any) -> np.ndarray:
    """(devices, B / devices, ...) back to (B, ...), on the host."""
    array = np.asarray(array)
    return array.reshape(-1, *array.shape[2:])


def num_parameters(params: Any) -> int:
    """Scalars in a tree of parameters."""
    return sum(int(np.prod(np.shape(p))) for p in jax.tree.leaves(params))
