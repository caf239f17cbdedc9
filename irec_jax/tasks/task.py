"""What the training loop, the evaluation and the commands know of a system."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Batch = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Task:
    """Pure functions over a model's parameters and its other collections (`model_state`).

    Attributes:
        init: `rng -> (params, model_state)`.
        loss: `(params, model_state, batch, rng, train) -> (sum, count, model_state, scalars)`,
            sums over the examples of a batch whose mask is 1, and their number. `batch` also has
            `index` (B,), each example's place in the global batch.
        predict: `(params, model_state, batch) -> outputs (B, ...)`, one per example.
        scalars: names of the scalars that `loss` returns.
        summaries: `(params, model_state, batch) -> {name: array}`, pictures (W, H) and sounds (T,)
            worth a look.
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    loss: Callable[[Any, Any, Batch, jax.Array, bool], tuple[jax.Array, jax.Array, Any, Any]]
    predict: Callable[[Any, Any, Batch], jax.Array]
    scalars: tuple[str, ...]
    summaries: Callable[[Any, Any, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
