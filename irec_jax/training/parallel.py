"""The one place that knows `pmap`: devices, replication and sharding."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import jax_utils
from jax.experimental import multihost_utils

from irec_jax.errors import UserError
from irec_jax.training.step import AXIS


def initialize() -> None:
    """Joins the other processes of the job, when the environment names them.

    `IREC_COORDINATOR` (host:port), `IREC_NUM_PROCESSES` and `IREC_PROCESS_ID`, as the scripts in
    launch/ set them; with `IREC_COORDINATOR=auto` JAX asks the cluster (Slurm, TPU pods, MPI).
    """
    coordinator = os.environ.get("IREC_COORDINATOR")
    if not coordinator:
        return
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    try:
        count = int(os.environ["IREC_NUM_PROCESSES"])
        index = int(os.environ["IREC_PROCESS_ID"])
    except (KeyError, ValueError) as error:
        raise UserError(
            "IREC_COORDINATOR is set: IREC_NUM_PROCESSES and IREC_PROCESS_ID must be numbers"
        ) from error
    jax.distributed.initialize(coordinator, count, index)


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def check_batch_size(batch_size: int, key: str) -> None:
    """Raises UserError when a global batch does not divide among the devices."""
    if batch_size < 1 or batch_size % jax.device_count():
        raise UserError(
            f"config key {key}={batch_size} is not a multiple of the {jax.device_count()} devices"
        )


def map_step(step: Callable, *, donate_state: bool) -> Callable:
    """A per-device step over all devices of all processes; donates its first argument."""
    return jax.pmap(step, axis_name=AXIS, donate_argnums=(0,) if donate_state else ())


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


def from_main(tree: Any) -> Any:
    """Process 0's values of a tree of arrays, on every process."""
    if jax.process_count() == 1:
        return tree
    return jax.device_get(multihost_utils.broadcast_one_to_all(tree))


def gather_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Each process's rows (n_p, ...), n_p of its own, on every process, in process order."""
    if jax.process_count() == 1:
        return [rows]
    counts = multihost_utils.process_allgather(np.asarray(len(rows)))
    padded = np.zeros((int(counts.max()), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    gathered = multihost_utils.process_allgather(padded)
    return [part[:count] for part, count in zip(gathered, counts, strict=True)]


def wait_for_all(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def num_parameters(params: Any) -> int:
    """Scalars in a tree of parameters."""
    return sum(int(np.prod(np.shape(p))) for p in jax.tree.leaves(params))
