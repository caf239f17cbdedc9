"""Batched prediction on the devices of this process."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Predictor(Protocol):
    """What prediction needs of a task."""

    def predict(self, params: Any, model_state: Any, batch: dict) -> jax.Array: ...


def create_predict(task: Predictor, params: Any, model_state: Any) -> Callable[[dict], Any]:
    """Return a function of host batches (B, ...) to predictions (B, ...).

    Rows are divided among the devices of this process; each device works on its own rows alone.

    Args:
        task: the task whose `predict` is called.
        params, model_state: on the host, not replicated.
    """
    mesh = Mesh(np.array(jax.local_devices()), ("devices",))
    whole, rows = PartitionSpec(), PartitionSpec("devices")
    predict_rows = jax.jit(
        jax.shard_map(
            task.predict,
            mesh=mesh,
            in_specs=(whole, whole, rows),
            out_specs=rows,
            check_vma=False,
        )
    )
    params, model_state = jax.device_put((params, model_state), NamedSharding(mesh, whole))
    sharding = NamedSharding(mesh, rows)

    def predict(batch: dict[str, np.ndarray]) -> Any:
        return _Pending(predict_rows(params, model_state, jax.device_put(dict(batch), sharding)))

    return predict


class _Pending:
    """Predictions that are copied to the host when they are converted to an array."""

    def __init__(self, predictions: jax.Array):
        self._predictions = predictions

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._predictions).astype(dtype or np.float32, copy=False)


def local_batch_size(batch_size: int) -> int:
    """Round a batch size up to a multiple of this process's devices."""
    count = jax.local_device_count()
    return -(-batch_size // count) * count
