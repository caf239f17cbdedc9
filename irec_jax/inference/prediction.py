"""Batched prediction on the devices of this process."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped
from numpy.typing import ArrayLike


@runtime_checkable
class Predictor(Protocol):
    """A task with a `predict` method."""

    def predict(
        self, params: Any, model_state: Any, batch: dict[str, Shaped[Array, "batch ..."]]
    ) -> Shaped[Array, "batch ..."]: ...


def create_predict(
    task: Predictor, params: Any, model_state: Any
) -> Callable[[Mapping[str, Shaped[np.ndarray, "batch ..."]]], ArrayLike]:
    """Return a function that maps host batches to predictions, one row per example.

    The rows of a batch are divided among the devices of this process; each device computes its own
    rows independently.

    Args:
        task: the task whose `predict` is called.
        params, model_state: unreplicated parameters and model state on the host.

    Returns:
        A function that takes a dict of arrays whose number of rows is a multiple of the device
        count (see `local_batch_size`). Its result can be converted to a float32 array; until then,
        the devices may still be computing.
    """
    mesh = Mesh(np.array(jax.local_devices()), ("devices",))
    replicated, by_row = PartitionSpec(), PartitionSpec("devices")
    predict_rows = jax.jit(
        jax.shard_map(
            task.predict,
            mesh=mesh,
            in_specs=(replicated, replicated, by_row),
            out_specs=by_row,
            check_vma=False,
        )
    )
    params, model_state = jax.device_put((params, model_state), NamedSharding(mesh, replicated))
    sharding = NamedSharding(mesh, by_row)

    def predict(batch: Mapping[str, np.ndarray]) -> ArrayLike:
        return _Pending(predict_rows(params, model_state, jax.device_put(dict(batch), sharding)))

    return predict


class _Pending:
    """Predictions that are copied to the host when they are converted to an array."""

    def __init__(self, predictions: jax.Array):
        self._predictions = predictions

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._predictions).astype(dtype or np.float32, copy=False)


def local_batch_size(batch_size: int) -> int:
    """Round a batch size up to a multiple of this process's device count."""
    num_devices = jax.local_device_count()
    return -(-batch_size // num_devices) * num_devices
