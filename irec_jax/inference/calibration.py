"""Calibration of a recogniser's probabilities on clips that it was not trained on."""

import dataclasses
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float, Shaped

#: Probabilities are clipped to this distance from 0 and 1, so that their logits are finite.
_EPS = 1e-7
#: Strength of the quadratic penalty on the logarithm of the scale and on the offsets.
_PRIOR = 2.0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of probabilities p as sigmoid(scale * logit(p) + offset).

    This is temperature scaling (Guo et al. 2017) with an additional offset per class, because
    classes may be rarer or harder to recognise than in training.

    Attributes:
        scale: the inverse of the temperature, the same for all classes.
        offsets: (K,), one per class.
    """

    scale: float
    offsets: tuple[float, ...]

    def __call__(
        self, probabilities: Float[np.ndarray, "*batch classes"]
    ) -> Float[np.ndarray, "*batch classes"]:
        """Return calibrated probabilities in the same dtype."""
        logits = self.scale * _logits(probabilities) + np.array(self.offsets)
        return scipy.special.expit(logits).astype(probabilities.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as Python numbers and lists, for JSON."""
        return dataclasses.asdict(self) | {"offsets": list(self.offsets)}


def fit(
    labels: Shaped[np.ndarray, "clips classes"], probabilities: Float[np.ndarray, "clips classes"]
) -> Calibration:
    """Return the calibration that minimises the binary cross-entropy.

    Weak priors keep the scale near 1, and the offsets of classes with few clips near 0.

    Args:
        labels: non-zero where the class is present.
        probabilities: clip scores in 0..1.
    """
    targets = np.asarray(labels) > 0
    logits = _logits(probabilities)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, offsets = np.exp(parameters[0]), parameters[1:]
        z = scale * logits + offsets
        # The cross-entropy softplus(z) - y z, without overflow.
        total = np.sum(np.logaddexp(0.0, z) - targets * z)
        total += 0.5 * _PRIOR * np.sum(np.square(parameters))
        residuals = scipy.special.expit(z) - targets
        slope = np.append(np.sum(residuals * scale * logits), residuals.sum(axis=0))
        return float(total), slope + _PRIOR * parameters

    start = np.zeros(1 + targets.shape[1])
    result = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
    return Calibration(float(np.exp(result.x[0])), tuple(map(float, result.x[1:])))


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return scipy.special.logit(np.clip(probabilities.astype(np.float64), _EPS, 1.0 - _EPS))
