"""Mean loss over a split, exact for any number of devices and padding examples."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from irec_jax.training import parallel
from irec_jax.training.step import eval_step


def create_evaluate(
    loss: Callable, batches: Callable[[], Iterable]
) -> Callable[[Any, Any], dict[str, float]]:
    """Return the function that the training loop calls after every epoch.

    Args:
        loss: `Task.loss`.
        batches: returns an iterator over this process's batches of the split, one pass.

    Returns:
        A function of the replicated `(params, model_state)` to the means of `loss` and of the
        task's scalars.
    """
    step = parallel.map_step(functools.partial(eval_step, loss=loss), donate_state=False)

    def evaluate(params: Any, model_state: Any) -> dict[str, float]:
        sums: dict[str, float] = {}
        for batch in batches():
            values = parallel.first(step(params, model_state, parallel.shard(batch)))
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        count = max(sums.pop("count", 0.0), 1.0)
        return {name: value / count for name, value in sums.items()}

    return evaluate
