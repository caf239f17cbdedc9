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
    average: Any = None  # moving average of (params, model_state), if there is one

    @property
    def trained(self) -> tuple[Any, Any]:
        """`(params, model_state)` of the trained system: the moving average, if there is one."""
        return (self.params, self.model_state) if self.average is None else self.average


def create(
    params: Any,
    model_state: Any,
    optimizer: optax.GradientTransformation,
    scalars: Any,
    seed: int,
    *,
    averaged: bool = False,
) -> TrainState:
    """Return the state before the first step.

    Args:
        params, model_state: initial variables of the model.
        optimizer: result of `optimizers.create_optimizer`.
        scalars: names of the scalars that the loss returns.
        seed: seed of the run.
        averaged: whether the state has a moving average of the variables.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        sums={name: jnp.zeros(()) for name in ("loss", "count", *scalars)},
        average=(params, model_state) if averaged else None,
    )
