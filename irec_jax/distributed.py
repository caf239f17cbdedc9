"""Communication between the processes of a job, and sums over devices.

Steps are mapped over devices in `training.parallel`, the only module that uses pmap.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from irec_jax.errors import UserError


def initialize() -> None:
    """Connect to the other processes of the job, as described by environment variables.

    `IREC_COORDINATOR` (host:port), `IREC_NUM_PROCESSES` and `IREC_PROCESS_ID` are set by the
    scripts in launch/; with `IREC_COORDINATOR=auto` JAX detects the cluster (Slurm, TPU pods, MPI).
    """
    coordinator = os.environ.get("IREC_COORDINATOR")
    if not coordinator:
        return
    # JAX's preemption service would replace the SIGTERM handler of `preemption`, and a second
    # SIGTERM would not end the process.
    jax.config.update("jax_enable_preemption_service", False)
    address, num_processes, process_id = None, None, None
    if coordinator != "auto":
        try:
            num_processes = int(os.environ["IREC_NUM_PROCESSES"])
            address, process_id = coordinator, int(os.environ["IREC_PROCESS_ID"])
        except (KeyError, ValueError) as error:
            raise UserError(
                "IREC_NUM_PROCESSES, IREC_PROCESS_ID: expected numbers, because IREC_COORDINATOR "
                "is set"
            ) from error
    try:
        jax.distributed.initialize(address, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"IREC_COORDINATOR={coordinator}: the processes cannot connect ({reason}); "
            "check host, port, IREC_NUM_PROCESSES and IREC_PROCESS_ID"
        ) from error


#: Name of the mapped device axis.
AXIS = "data"


def sum_over_devices(tree: Any) -> Any:
    """Sum arrays over devices; outside a mapped step, return them unchanged."""
    try:
        jax.lax.axis_size(AXIS)
    except NameError:
        return tree
    return jax.lax.psum(tree, AXIS)


def has_bfloat16() -> bool:
    """Return whether the devices support bfloat16.

    TPUs, AMD GPUs, and NVIDIA GPUs with compute capability 8.0 (2020) or higher support it.
    """
    device = jax.local_devices()[0]
    if device.platform == "tpu":
        return True
    if device.platform not in ("gpu", "cuda", "rocm"):
        return False
    try:
        return float(device.compute_capability) >= 8.0
    except (AttributeError, ValueError):  # AMD reports a name such as gfx90a
        return True


def is_main() -> bool:
    """Return whether this is process 0, which writes files."""
    return jax.process_index() == 0


def from_main(tree: Any) -> Any:
    """Return the arrays of process 0 on every process."""
    if jax.process_count() == 1:
        return tree
    return jax.device_get(multihost_utils.broadcast_one_to_all(tree))


def on_main(function: Callable[[], Any]) -> Any:
    """Call a function on process 0, and return its result or raise its error on every process.

    Args:
        function: takes no arguments and returns a JSON-serialisable value; may raise UserError.
    """
    outcome: dict[str, Any] = {}
    if is_main():
        try:
            outcome = {"result": function()}
        except UserError as error:
            outcome = {"error": str(error)}
    outcome = _broadcast_json(outcome)
    if "error" in outcome:
        raise UserError(outcome["error"])
    return outcome["result"]


def _broadcast_json(content: Any) -> Any:
    if jax.process_count() == 1:
        return content
    raw = np.frombuffer(json.dumps(content).encode(), np.uint8)
    buffer = np.zeros(int(from_main(np.asarray(len(raw)))), np.uint8)
    if is_main():
        buffer = raw
    return json.loads(np.asarray(from_main(buffer)).tobytes())


def on_all(function: Callable[[], Any]) -> list[Any]:
    """Call a function on every process, and return the results of all processes.

    Args:
        function: takes no arguments, may do different work on each process, and returns a
            JSON-serialisable value; may raise UserError, but must not wait for other processes.

    Returns:
        The results in process order, on every process.

    Raises:
        UserError: if the function raised it on any process; every process raises the error of the
            first such process.
    """
    if jax.process_count() == 1:
        return [function()]
    try:
        outcome: dict[str, Any] = {"result": function()}
    except UserError as error:
        outcome = {"error": str(error)}
    rows = gather_rows(np.frombuffer(json.dumps(outcome).encode(), np.uint8))
    outcomes = [json.loads(raw.tobytes()) for raw in rows]
    for outcome in outcomes:
        if "error" in outcome:
            raise UserError(outcome["error"])
    return [outcome["result"] for outcome in outcomes]


def gather_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Return each process's rows (n_p, ...) in process order; n_p may differ between processes."""
    if jax.process_count() == 1:
        return [rows]
    counts = multihost_utils.process_allgather(np.asarray(len(rows)))
    padded = np.zeros((int(counts.max()), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    gathered = multihost_utils.process_allgather(padded)
    return [part[:count] for part, count in zip(gathered, counts, strict=True)]


def shutdown() -> None:
    """Disconnect from the other processes once every process has reached this call.

    A process that exited earlier would cause errors in the other processes.
    """
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def barrier(name: str) -> None:
    """Wait until every process has reached this barrier."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
