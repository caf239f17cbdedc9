"""Losses by name, one number per example.

`CLASSIFICATION`: of logits and labels, `loss(logits (..., K), labels (..., K)) -> (...,)`; such a
loss says also which function makes probabilities of the logits that it trains.
`REGRESSION`: of features, `loss(estimate (B, ...), target (B, ...)) -> (B,)`.

All treat every example by itself; weighting by the batch's mask and averaging are the step's.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from irec_jax.errors import UserError
from irec_jax.registry import check_arguments, unknown

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def binary_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Binary cross-entropy of every class, averaged over the K classes (as Keras does).

    -1/K sum_k [y_k log p_k + (1 - y_k) log(1 - p_k)] with p = sigmoid(logits).

    Args:
        logits: floats (..., K), computed in float32 or better.
        labels: (..., K) in 0..1, multi-hot or soft.
        label_smoothing: s in [0, 1): y becomes y (1 - s) + s / 2.

    Returns:
        (...,), >= 0.

    Raises:
        AssertionError: the shapes differ.
        UserError: `label_smoothing` out of range.
    """
    logits, labels = _checked(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / 2.0
    # softplus(z) - y z, the equation above without its cancelling terms.
    return jnp.mean(jax.nn.softplus(logits) - labels * logits, axis=-1)


def categorical_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Categorical cross-entropy on sigmoid outputs divided by their sum.

    -sum_k y_k log(p_k / sum_j p_j) with p = sigmoid(logits): what Keras computes for a sigmoid
    output layer with categorical cross-entropy (Han, Kim and Lee 2017; Vazonis et al. 2022), but
    in the logarithmic domain, so exact where Keras clips at 1e-7. Only the ratios of the outputs
    matter: the loss does not say how large they are.

    Args:
        logits: floats (..., K), computed in float32 or better.
        labels: (..., K) in 0..1. Labels are not divided by their sum, as in Keras: with n labels
            on, the n terms add up, the example weighs n-fold, and the least loss, n log n, is at
            equal outputs. With no label on, the loss is 0.
        label_smoothing: s in [0, 1): y becomes y (1 - s) + s / K.

    Returns:
        (...,), >= 0.

    Raises:
        AssertionError: the shapes differ.
        UserError: `label_smoothing` out of range.
    """
    logits, labels = _checked(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    # The softmax of log p is p / sum p.
    log_shares = jax.nn.log_softmax(jax.nn.log_sigmoid(logits), axis=-1)
    return -jnp.sum(labels * log_shares, axis=-1)


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Categorical cross-entropy on softmax outputs, for classes of which one is true.

    -sum_k y_k log p_k with p = softmax(logits).

    Args:
        logits: floats (..., K), computed in float32 or better.
        labels: (..., K) in 0..1, not divided by their sum, as in Keras.
        label_smoothing: s in [0, 1): y becomes y (1 - s) + s / K.

    Returns:
        (...,), >= 0.

    Raises:
        AssertionError: the shapes differ.
        UserError: `label_smoothing` out of range.
    """
    logits, labels = _checked(logits, labels, label_smoothing)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    return -jnp.sum(labels * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def mean_absolute_error(estimate: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of |estimate - target| over all but the first axis: (B, ...) to (B,)."""
    chex.assert_equal_shape([estimate, target])
    return jnp.mean(jnp.abs(estimate - target), axis=range(1, estimate.ndim))


def mean_squared_error(estimate: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of (estimate - target)^2 over all but the first axis: (B, ...) to (B,)."""
    chex.assert_equal_shape([estimate, target])
    return jnp.mean(jnp.square(estimate - target), axis=range(1, estimate.ndim))


def log_mean_squared_error(
    estimate: jax.Array, target: jax.Array, *, floor_db: float = -30.0
) -> jax.Array:
    """Mean squared error of each example in dB, 10 log10(mean (estimate - target)^2 + floor).

    Of targets with a mean square of 1 it is minus their signal-to-distortion ratio: a tenth less
    error counts as much in an example that is nearly right as in one that is not.

    Args:
        estimate, target: (B, ...).
        floor_db: errors far below it count no more; keeps the gradient of a perfect estimate small.

    Returns:
        (B,), in dB.

    Raises:
        AssertionError: the shapes differ.
        UserError: `floor_db` is no number.
    """
    if isinstance(floor_db, bool) or not isinstance(floor_db, (int, float)):
        raise UserError(f"loss.floor_db is {floor_db!r}: must be a number of dB")
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


def probabilities(name: str, logits: jax.Array) -> jax.Array:
    """Probabilities (..., K) of logits that were trained with the loss of that name.

    Softmax where exactly one class is true, a sigmoid for each class elsewhere.
    """
    return jax.nn.softmax(logits) if name == "softmax_cross_entropy" else jax.nn.sigmoid(logits)


def create(name: str, **arguments: Any) -> Loss:
    """The loss of that name with its keyword arguments bound.

    Raises:
        UserError: unknown name or argument (with the nearest known one), or a value out of range.
    """
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    check_arguments("loss", name, functools.partial(LOSSES[name], None, None), arguments)
    loss = functools.partial(LOSSES[name], **arguments)
    # Traced once on nothing, so that a bad value is reported here and not at the first step.
    example = jax.ShapeDtypeStruct((1, 2), jnp.float32)
    jax.eval_shape(loss, example, example)
    return loss


def _checked(
    logits: jax.Array, labels: jax.Array, label_smoothing: float
) -> tuple[jax.Array, jax.Array]:
    """Logits and labels in one floating-point type of at least 32 bits."""
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, (int, float)):
        raise UserError(f"loss.label_smoothing is {label_smoothing!r}: must be a number")
    if not 0 <= label_smoothing < 1:
        raise UserError(f"loss.label_smoothing is {label_smoothing}: must be in [0, 1)")
    chex.assert_equal_shape(
        [logits, labels], custom_message="logits and labels must both have shape (..., K)"
    )
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    return logits.astype(dtype), labels.astype(dtype)
