"""Window probabilities of a clip to clip scores (Han et al. 2017, section III-D).

| name | clip score of a class | fixed threshold |
|---|---|---|
| `s1` | mean of its window probabilities | 0.16, the paper's best |
| `s2` | sum of its window probabilities, divided by the largest class's sum | 0.50, the paper's |
| `max` | largest of its window probabilities | 0.50, where the sigmoid itself decides |

Under `s1` and `max` a clip may stay without any label. Under `s2` the strongest class scores
exactly 1 and is always on, save where all probabilities are 0: the scores are then all 0.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from irec_jax import registry


def s1(probabilities: np.ndarray) -> np.ndarray:
    """Class-wise mean: (..., windows, K) -> (..., K), float64."""
    return np.mean(probabilities, axis=-2, dtype=np.float64)


def s2(probabilities: np.ndarray) -> np.ndarray:
    """Class-wise sum divided by the largest one: (..., windows, K) -> (..., K), float64, 0..1."""
    total = np.sum(probabilities, axis=-2, dtype=np.float64)
    largest = total.max(axis=-1, keepdims=True)
    return np.divide(total, largest, out=np.zeros_like(total), where=largest > 0)


def maximum(probabilities: np.ndarray) -> np.ndarray:
    """Class-wise largest probability: (..., windows, K) -> (..., K), float64."""
    return np.max(probabilities, axis=-2).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """A clip score with its fixed threshold and the grid on which thresholds are tuned.

    The grids hold the paper's values (S1 0.02 .. 0.18, S2 0.20 .. 0.60) and go on beyond them in
    the same steps, for models whose probabilities lie elsewhere.
    """

    function: Callable[[np.ndarray], np.ndarray]
    threshold: float
    grid: tuple[float, ...]

    def __call__(self, clips: Iterable[np.ndarray]) -> np.ndarray:
        """Window probabilities of N clips, each (W_i, K) with W_i >= 1, to scores (N, K)."""
        scores = []
        for index, probabilities in enumerate(clips):
            if np.ndim(probabilities) != 2 or not len(probabilities):
                raise ValueError(
                    f"clip {index}: window probabilities must be (windows >= 1, K), "
                    f"not {np.shape(probabilities)}"
                )
            scores.append(self.function(probabilities))
        return np.stack(scores)


def _grid(step: float, last: float) -> tuple[float, ...]:
    return tuple(round(step * i, 4) for i in range(1, round(last / step) + 1))


AGGREGATIONS = {
    "s1": Aggregation(s1, 0.16, _grid(0.02, 0.98)),
    "s2": Aggregation(s2, 0.50, _grid(0.05, 1.00)),
    "max": Aggregation(maximum, 0.50, _grid(0.02, 0.98)),
}


def get(name: str) -> Aggregation:
    """An aggregation by name; UserError for an unknown one."""
    if name not in AGGREGATIONS:
        raise registry.unknown("aggregation", name, AGGREGATIONS)
    return AGGREGATIONS[name]
