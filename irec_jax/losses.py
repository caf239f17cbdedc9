"""Loss functions that return one value per example.

- `CLASSIFICATION`: `loss(logits (..., K), labels (..., K), *, label_smoothing=0) -> (...,)`. The
  loss is >= 0 and computed in float32 or wider. Labels are in 0..1, and label smoothing s is in
  [0, 1). `activation` returns the function that converts logits to probabilities.
- `REGRESSION`: `loss(estimate (B, ...), target (B, ...)) -> (B,)`.

All losses raise AssertionError if the shapes differ, and UserError if an argument is out of range.
Each example is processed independently; the task applies the batch mask, and the training
step averages the losses.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float64, Real

from irec_jax.errors import UserError
from irec_jax.registry import check_arguments, unknown

Loss = Callable[[Array, Array], Array]


def binary_cross_entropy(
    logits: Float[Array | np.ndarray, "*batch classes"],
    labels: Real[Array | np.ndarray, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return the binary cross-entropy, averaged over the K classes as in Keras.

    -1/K sum_k [y_k log p_k + (1 - y_k) log(1 - p_k)] with p = sigmoid(logits) and multi-hot or soft
    labels y. With label smoothing s, y becomes y (1 - s) + s / 2.
    """
    logits, labels = _check(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / 2.0
    # softplus(z) - y z equals the expression in the docstring but avoids cancellation.
    return jnp.mean(jax.nn.softplus(logits) - labels * logits, axis=-1)


def log_binary_cross_entropy(
    log_p: Float[Array | np.ndarray, "*batch classes"],
    log_not_p: Float[Array | np.ndarray, "*batch classes"],
    labels: Real[Array | np.ndarray, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return the binary cross-entropy of probabilities given as logarithms.

    -1/K sum_k [y_k log p_k + (1 - y_k) log(1 - p_k)], as in `binary_cross_entropy`, but for
    probabilities that are not the sigmoid of a single logit, such as bag probabilities.

    Args:
        log_p, log_not_p: log p and log(1 - p), <= 0.
        labels: multi-hot or soft labels y.
        label_smoothing: smoothing s, which changes y to y (1 - s) + s / 2.
    """
    log_p, labels = _check(log_p, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / 2.0
    # 0 log 0 is defined as 0.
    present = jnp.where(labels > 0, labels * log_p, 0.0)
    absent = jnp.where(labels < 1, (1 - labels) * log_not_p, 0.0)
    return -jnp.mean(present + absent, axis=-1)


def categorical_cross_entropy(
    logits: Float[Array | np.ndarray, "*batch classes"],
    labels: Real[Array | np.ndarray, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return the categorical cross-entropy on sigmoid outputs divided by their sum.

    -sum_k y_k log(p_k / sum_j p_j) with p = sigmoid(logits). Keras computes this for a sigmoid
    output layer with categorical cross-entropy (Han et al. 2017; Vazonis et al. 2022), but clips
    the ratios at 1e-7, whereas the computation here is exact because it uses logarithms. The loss
    depends only on the ratios of the outputs, not on their scale. With label smoothing s, y becomes
    y (1 - s) + s / K.

    As in Keras, labels are not divided by their sum: with n positive labels, n terms are summed, so
    the example has weight n, and the minimum, n log n, is reached if the outputs of these n classes
    are equal and the other outputs are 0. Without positive labels, the loss is 0.
    """
    logits, labels = _check(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    # The softmax of log p is p / sum p.
    log_ratios = jax.nn.log_softmax(jax.nn.log_sigmoid(logits), axis=-1)
    return -jnp.sum(labels * log_ratios, axis=-1)


def softmax_cross_entropy(
    logits: Float[Array | np.ndarray, "*batch classes"],
    labels: Real[Array | np.ndarray, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return the categorical cross-entropy on softmax outputs, for mutually exclusive classes.

    -sum_k y_k log p_k with p = softmax(logits). As in Keras, labels are not divided by their sum.
    With label smoothing s, y becomes y (1 - s) + s / K.
    """
    logits, labels = _check(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    return -jnp.sum(labels * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def mean_absolute_error(
    estimate: Float[Array | np.ndarray, " batch *shape"],
    target: Float[Array | np.ndarray, " batch *shape"],
) -> Float[Array, " batch"]:
    """Return the mean of |estimate - target| over all axes but the first."""
    chex.assert_equal_shape([estimate, target])
    return jnp.mean(jnp.abs(estimate - target), axis=range(1, estimate.ndim))


def mean_squared_error(
    estimate: Float[Array | np.ndarray, " batch *shape"],
    target: Float[Array | np.ndarray, " batch *shape"],
) -> Float[Array, " batch"]:
    """Return the mean of (estimate - target)^2 over all axes but the first."""
    chex.assert_equal_shape([estimate, target])
    return jnp.mean(jnp.square(estimate - target), axis=range(1, estimate.ndim))


def log_mean_squared_error(
    estimate: Float[Array | np.ndarray, " batch *shape"],
    target: Float[Array | np.ndarray, " batch *shape"],
    *,
    floor_db: float = -30.0,
) -> Float[Array, " batch"]:
    """Return the mean squared error of each example in dB.

    10 log10(mean (estimate - target)^2 + 10^(floor_db / 10)). For targets with a mean square of 1,
    this is the negative signal-to-distortion ratio, so the same relative reduction of the error
    counts equally for accurate and inaccurate estimates.

    Args:
        estimate, target: arrays of the same shape.
        floor_db: error level in dB. Improvements far below this level have no effect, which limits
            the gradient for nearly perfect estimates.
    """
    if isinstance(floor_db, bool) or not isinstance(floor_db, (int, float)):
        raise UserError(f"loss.floor_db={floor_db!r}: expected a number in dB")
    return 10.0 * jnp.log10(mean_squared_error(estimate, target) + 10.0 ** (floor_db / 10.0))


CLASSIFICATION = {
    "binary_cross_entropy": binary_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}
REGRESSION = {
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "log_mean_squared_error": log_mean_squared_error,
}
LOSSES = CLASSIFICATION | REGRESSION


#: Values of the `loss.class_weights` config key other than "none".
CLASS_WEIGHTS = ("balanced", "effective")
#: beta for "effective": 0 gives equal weights, and 1 gives balanced weights. 0.999 is a compromise
#: for IRMAS, which has hundreds of examples per class.
_EFFECTIVE_BETA = 0.999


def class_weights(
    kind: str, counts: Real[np.ndarray, " classes"]
) -> Float64[np.ndarray, " classes"]:
    """Return class weights, which are larger for rarer classes.

    | kind | weight of a class with n examples |
    |---|---|
    | `balanced` | N / (K n), as in scikit-learn |
    | `effective` | 1 / effective number, (1 - beta) / (1 - beta^n), scaled to a mean of 1 |

    The effective number of samples is defined by Cui et al. (2019, equations 2 and 4). N is the
    number of labels, the sum of all n, and K is the number of classes with examples. Classes
    without examples get a weight of 1, which has no effect.

    Args:
        kind: one of `CLASS_WEIGHTS`.
        counts: number of examples of each class.

    References:
        Cui, Jia, Lin, Song, Belongie (2019): Class-balanced loss based on effective number of
        samples. CVPR.
    """
    if kind not in CLASS_WEIGHTS:
        raise unknown("loss.class_weights", kind, ("none", *CLASS_WEIGHTS))
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    n = np.where(present, counts, 1.0)
    if kind == "balanced":
        weights = counts.sum() / (max(1, present.sum()) * n)
    else:
        weights = (1.0 - _EFFECTIVE_BETA) / -np.expm1(n * np.log(_EFFECTIVE_BETA))
        weights = weights / (weights[present].mean() if present.any() else 1.0)
    return np.where(present, weights, 1.0)


def example_weights(
    labels: Real[np.ndarray, "*batch classes"], weights: Real[np.ndarray, " classes"]
) -> Float64[np.ndarray, "*batch"]:
    """Return the weight of each example: the mean weight of its classes, or 1 if it has none."""
    present = np.asarray(labels) > 0
    counts = present.sum(axis=-1)
    return np.where(counts > 0, present @ weights / np.maximum(counts, 1), 1.0)


def activation(name: str) -> Callable[[Float[Array, "... classes"]], Float[Array, "... classes"]]:
    """Return the activation function that converts logits to probabilities.

    It is the softmax for `softmax_cross_entropy` (mutually exclusive classes) and the sigmoid for
    all other losses.
    """
    return jax.nn.softmax if name == "softmax_cross_entropy" else jax.nn.sigmoid


def create(name: str, **arguments: Any) -> Loss:
    """Return the named loss with its keyword arguments bound.

    Raises:
        UserError: if the name or an argument is unknown (the message suggests the nearest known
            one), or a value is out of range.
    """
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    check_arguments("loss", name, functools.partial(LOSSES[name], None, None), arguments)
    loss = functools.partial(LOSSES[name], **arguments)
    # Tracing with abstract values reports an invalid argument now rather than in the first step.
    example = jax.ShapeDtypeStruct((1, 2), jnp.float32)
    jax.eval_shape(loss, example, example)
    return loss


def _check(
    logits: Array | np.ndarray, labels: Array | np.ndarray, label_smoothing: float
) -> tuple[
    Float[Array | np.ndarray, "*batch classes"], Float[Array | np.ndarray, "*batch classes"]
]:
    """Check the arguments; return logits and labels in the same dtype, float32 or wider."""
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, (int, float)):
        raise UserError(f"loss.label_smoothing={label_smoothing!r}: expected a number")
    if not 0 <= label_smoothing < 1:
        raise UserError(f"loss.label_smoothing={label_smoothing}: expected a number in [0, 1)")
    chex.assert_equal_shape(
        [logits, labels], custom_message="logits and labels must both have shape (..., K)"
    )
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    return logits.astype(dtype), labels.astype(dtype)
