"""Training and evaluation steps: pure per-device functions of state and batch."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from irec_jax.checkpoints.state import TrainState
from irec_jax.distributed import gather_rows, sum_over_devices
from irec_jax.training import parallel


def number_examples(batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Add `index` (B,), the position of each example in the global batch.

    The random key of each example is derived from `index`, so that the random numbers for an
    example do not depend on the number of devices.
    """
    size = batch["mask"].shape[0]
    return batch | {"index": parallel.device_index() * size + jnp.arange(size)}


def l2_penalty(params: Any) -> jax.Array:
    """Return the sum of squares of all kernels, which are arrays with two or more dimensions."""
    kernels = [p for p in jax.tree.leaves(params) if p.ndim > 1]
    return sum((jnp.sum(jnp.square(p)) for p in kernels), start=jnp.zeros(()))


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    loss: Callable,
    optimizer: optax.GradientTransformationExtraArgs,
    l2: float = 0.0,
    ema_decay: float | None = None,
) -> tuple[TrainState, jax.Array]:
    """Update the parameters once.

    Gradients are summed over the unmasked examples of all devices and divided by their number, so
    that the update does not depend on the number of devices or padding examples.

    Args:
        state: training state, replicated over devices.
        batch: this device's rows of the batch.
        loss: `Task.loss`.
        optimizer: result of `optimizers.create_optimizer`.
        l2: weight of the sum of squared kernels in the loss; 0 for none.
        ema_decay: decay of the moving average of the variables; None if the state has none.

    Returns:
        The new state, whose sums now include the loss and scalars of this batch, and the mean loss
        of the batch before the update, including the L2 term.
    """
    rng = jax.random.fold_in(jax.random.key(state.seed), state.step)
    batch = number_examples(batch)

    def objective(params):
        total, count, model_state, scalars = loss(params, state.model_state, batch, rng, True)
        return total, (count, model_state, scalars)

    (total, (count, model_state, scalars)), grads = jax.value_and_grad(objective, has_aux=True)(
        state.params
    )
    total, count, scalars, grads = sum_over_devices((total, count, scalars, grads))
    num_examples = jnp.maximum(count, 1.0)
    mean = total / num_examples
    sums = {"loss": total, "count": count} | scalars
    grads = jax.tree.map(lambda g: g / num_examples, grads)
    if l2:
        penalty, penalty_grads = jax.value_and_grad(l2_penalty)(state.params)
        mean = mean + l2 * penalty
        grads = jax.tree.map(lambda g, p: g + l2 * p, grads, penalty_grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=mean)
    new = dataclasses.replace(
        state,
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        model_state=parallel.mean_over_devices(model_state),
        opt_state=opt_state,
        sums=jax.tree.map(jnp.add, state.sums, sums),
    )
    return (new if ema_decay is None else update_ema(new, ema_decay)), mean


def update_ema(state: TrainState, decay: float) -> TrainState:
    """Update the moving average of the variables after step n (1, 2, ...).

    The average a becomes d a + (1 - d) x, where x are the current variables and d is the smaller of
    `decay` and (1 + n) / (10 + n). This warm-up lets the average forget the initial variables.
    """
    step = state.step.astype(jnp.float32)
    step_size = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    variables = (state.params, state.model_state)
    ema = optax.incremental_update(variables, state.ema, step_size)
    return dataclasses.replace(state, ema=ema)


def eval_step(
    params: Any, model_state: Any, batch: dict[str, jax.Array], *, loss: Callable
) -> dict[str, jax.Array]:
    """Return the summed loss and scalars, and the number of unmasked examples, over all devices."""
    rng = jax.random.key(0)
    total, count, _, scalars = loss(params, model_state, number_examples(batch), rng, False)
    return sum_over_devices({"loss": total, "count": count} | scalars)


def several_steps(step: Callable, *, scan: bool, cut: Callable[..., Any] | None = None) -> Callable:
    """Return a per-device function that runs the steps of one call.

    Args:
        step: `(state, batch) -> (state, loss)`.
        scan: whether a call runs several steps; if so, inputs and losses have a leading step axis.
        cut: `(store, positions) -> batch` for inputs that are positions in a store (see
            `data.device_audio`); None if inputs are batches.

    Returns:
        `(state, inputs) -> (state, losses)`; with `cut`, the store is a third argument.
    """

    def call(state: Any, inputs: Any, *store: Any) -> tuple[Any, jax.Array]:
        def single(state: Any, item: Any) -> tuple[Any, jax.Array]:
            return step(state, cut(*store, item) if cut else item)

        return jax.lax.scan(single, state, inputs) if scan else single(state, inputs)

    return call


def create_evaluate(
    loss: Callable,
    batches: Callable[[], Iterable],
    *,
    cut: Callable[..., Any] | None = None,
    store: Any = None,
    predict: Callable | None = None,
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]] | None = None,
) -> Callable[[Any, Any], dict[str, float]]:
    """Return a function that computes the mean loss and scores of a split.

    The means do not depend on the number of devices or padding examples.

    Args:
        loss: `Task.loss`.
        batches: function that returns an iterator for one pass over this process's batches.
        cut, store: see `several_steps`; with a store, `batches` yields positions in it.
        predict: `Task.predict`; only called if `score` is given.
        score: function that maps the labels and predictions (N, K) of all examples in the split to
            scores by name. The order of the examples depends on the number of processes.

    Returns:
        A function that maps the replicated `(params, model_state)` to the means of `loss` and of
        the task's scalars, together with the scores.
    """

    def device_step(params: Any, model_state: Any, inputs: Any, *store: Any) -> tuple[Any, Any]:
        batch = cut(*store, inputs) if cut else inputs
        sums = eval_step(params, model_state, batch, loss=loss)
        if predict is None or score is None:
            return sums, None
        # XLA computes features and outputs only once, although `loss` and `predict` both use them.
        return sums, (batch["mask"], batch["labels"], predict(params, model_state, batch))

    step = parallel.map_step(device_step, donate_state=False)
    stores = () if cut is None else (store,)

    def evaluate(params: Any, model_state: Any) -> dict[str, float]:
        sums: dict[str, float] = {}
        rows = []
        inputs = parallel.ahead(map(parallel.transfer, map(parallel.shard, batches())))
        results = (step(params, model_state, item, *stores) for item in inputs)
        # The sums of a batch are read while the next batch is evaluated.
        for values, outputs in parallel.ahead(results):
            for name, value in parallel.first(values).items():
                sums[name] = sums.get(name, 0.0) + float(value)
            if outputs is not None:
                mask, labels, predictions = map(parallel.local_rows, outputs)
                rows.append((labels[mask > 0], predictions[mask > 0]))
        count = max(sums.pop("count", 0.0), 1.0)
        means = {name: value / count for name, value in sums.items()}
        if score is None:
            return means
        arrays = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return means | score(*(np.concatenate(gather_rows(array)) for array in arrays))

    return evaluate
