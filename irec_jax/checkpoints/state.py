"""The state of a training run."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """The variables that a training step updates, and the seed.

    The random keys of a step depend only on `seed` and `step`, and the state includes the sums for
    the current epoch. A run therefore resumes exactly from a checkpoint, even within an epoch.
    """

    step: jax.Array  # () int32, number of completed steps
    seed: jax.Array  # () uint32
    params: Any
    model_state: Any  # the model's other collections, such as batch norm statistics
    opt_state: Any
    sums: dict[str, jax.Array]  # () each, over the unmasked examples of the current epoch


def create(
    params: Any, model_state: Any, optimizer: optax.GradientTransformation, scalars: Any, seed: int
) -> TrainState:
    """Return the state before the first step; `scalars` names the scalars that the loss returns."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        sums={name: jnp.zeros(()) for name in ("loss", "count", *scalars)},
    )
