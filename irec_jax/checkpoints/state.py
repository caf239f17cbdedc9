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
    ema: Any = None  # exponential moving average of (params, model_state); None if not used

    @property
    def eval_variables(self) -> tuple[Any, Any]:
        """`(params, model_state)` for evaluation: the moving average, or else the current ones."""
        return (self.params, self.model_state) if self.ema is None else self.ema


def create(
    params: Any,
    model_state: Any,
    optimizer: optax.GradientTransformation,
    scalars: Any,
    seed: int,
    *,
    ema: bool = False,
) -> TrainState:
    """Return the state before the first step.

    Args:
        params, model_state: initial variables of the model.
        optimizer: result of `optimizers.create_optimizer`.
        scalars: names of the scalars that the loss returns.
        seed: seed of the run.
        ema: whether to keep an exponential moving average of the variables.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        sums={name: jnp.zeros(()) for name in ("loss", "count", *scalars)},
        ema=(params, model_state) if ema else None,
    )
