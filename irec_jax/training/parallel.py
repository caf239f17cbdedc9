"""The one place that knows `pmap`: devices, replication and sharding."""

import json
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
    # It would keep SIGTERM from ending a process.
    jax.config.update("jax_enable_preemption_service", False)
    arguments = ()
    if coordinator != "auto":
        try:
            count = int(os.environ["IREC_NUM_PROCESSES"])
            arguments = (coordinator, count, int(os.environ["IREC_PROCESS_ID"]))
        except (KeyError, ValueError) as error:
            raise UserError(
                "IREC_COORDINATOR is set: IREC_NUM_PROCESSES and IREC_PROCESS_ID must be numbers"
            ) from error
    try:
        jax.distributed.initialize(*arguments)
    except (RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"IREC_COORDINATOR={coordinator}: the processes did not find one another ({reason}); "
            "check host, port, IREC_NUM_PROCESSES and IREC_PROCESS_ID"
        ) from error


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


def on_main(function: Callable[[], Any]) -> Any:
    """Calls a function on process 0; every process returns its result, or raises its error.

    Args:
        function: takes nothing and returns something JSON-able; may raise UserError.
    """
    answer: dict[str, Any] = {}
    if is_main():
        try:
            answer = {"result": function()}
        except UserError as error:
            answer = {"error": str(error)}
    answer = _broadcast_json(answer)
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["result"]


def _broadcast_json(content: Any) -> Any:
    if jax.process_count() == 1:
        return content
    raw = np.frombuffer(json.dumps(content).encode(), np.uint8)
    buffer = np.zeros(int(from_main(np.asarray(len(raw)))), np.uint8)
    if is_main():
        buffer = raw
    return json.loads(np.asarray(from_main(buffer)).tobytes())


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
