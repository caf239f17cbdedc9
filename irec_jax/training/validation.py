"""Mean loss over a whole split, exact under padding and any number of devices."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from irec_jax.training import parallel
from irec_jax.training.step import eval_step


def create_evaluate(
    loss: Callable, batches: Callable[[], Iterable]
) -> Callable[[Any, Any], dict[str, float]]:
    """The function that the loop calls after every epoch.

    Args:
        loss: of a task.
        batches: gives one pass over this process's rows of the split.

    Returns:
        `(params, model_state)`, replicated, to the means of `loss` and of the task's scalars.
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
