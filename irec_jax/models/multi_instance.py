"""Networks for multiple-instance learning, where bags of instances are labelled (Seipel 2018)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Float32

from irec_jax import registry
from irec_jax.errors import UserError

#: Log-probabilities of a class being present in a bag, and of it being absent.
LogProbabilities = tuple[Float[Array, "batch classes"], Float[Array, "batch classes"]]
Logits = Float[Array, "batch instances classes"]


def mean(logits: Logits) -> LogProbabilities:
    """Aggregate by the mean of the probabilities (Seipel's layer H)."""
    return _weighted_mean(logits, jnp.full((), -jnp.log(logits.shape[1])))


def maximum(logits: Logits) -> LogProbabilities:
    """Aggregate by the largest probability."""
    largest = logits.max(axis=1)
    return jax.nn.log_sigmoid(largest), jax.nn.log_sigmoid(-largest)


def noisy_or(logits: Logits) -> LogProbabilities:
    """Aggregate by noisy-or: P(at least one instance is positive), for independent instances."""
    log_absent = jax.nn.log_sigmoid(-logits).sum(axis=1)
    return _log_complement(log_absent), log_absent


def log_sum_exp(logits: Logits) -> LogProbabilities:
    """Aggregate by the sigmoid of log(mean(exp(logits))), between the mean and the maximum."""
    pooled = jax.nn.logsumexp(logits, axis=1) - jnp.log(logits.shape[1])
    return jax.nn.log_sigmoid(pooled), jax.nn.log_sigmoid(-pooled)


def attention(logits: Float[Array, "batch instances twice_classes"]) -> LogProbabilities:
    """Aggregate by a weighted mean of the probabilities.

    The second half of the outputs contains the logits of the weights. For each class, the weights
    are a softmax over the instances of a bag (Ilse et al. 2018, but with separate weights for each
    class).
    """
    logits, weights = jnp.split(logits, 2, axis=-1)
    return _weighted_mean(logits, jax.nn.log_softmax(weights, axis=1))


def _weighted_mean(logits: Array, log_weights: Array) -> LogProbabilities:
    log_p, log_not_p = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return jax.nn.logsumexp(log_weights + log_p, 1), jax.nn.logsumexp(log_weights + log_not_p, 1)


def _log_complement(log_p: Array) -> Array:
    """Return log(1 - exp(log_p)) with finite gradients, for log_p <= 0."""
    log_p = jnp.minimum(log_p, -jnp.finfo(log_p.dtype).tiny)
    is_small = log_p < -jnp.log(2.0)
    small = jnp.log1p(-jnp.exp(jnp.where(is_small, log_p, -1.0)))
    return jnp.where(is_small, small, jnp.log(-jnp.expm1(jnp.where(is_small, -0.1, log_p))))


#: Aggregation functions for the values of the `bag.aggregate` config key.
AGGREGATIONS: dict[str, Callable[[Array], LogProbabilities]] = {
    "mean": mean,
    "max": maximum,
    "noisy_or": noisy_or,
    "attention": attention,
    "lse": log_sum_exp,
}


def num_outputs(aggregate: str, num_classes: int) -> int:
    """Return the number of outputs that an instance network needs.

    Raises:
        UserError: if the aggregation is unknown.
    """
    if aggregate not in AGGREGATIONS:
        raise registry.unknown("bag.aggregate", aggregate, AGGREGATIONS)
    return 2 * num_classes if aggregate == "attention" else num_classes


class MultiInstanceNetwork(nn.Module):
    """One network for all instances of a bag, or one for each position in a bag.

    Attributes:
        networks: one network, or as many as a bag has instances, each with `num_outputs` outputs.
        num_classes: number of classes.
        aggregate: a key of `AGGREGATIONS`.
    """

    networks: Sequence[nn.Module]
    num_classes: int
    aggregate: str = "mean"

    def __call__(
        self, features: Float[Array, "batch instances ..."], *, train: bool
    ) -> LogProbabilities:
        """Return the log-probabilities that each class is present in, and absent from, each bag."""
        batch_size, num_instances = features.shape[:2]
        if len(self.networks) == 1:
            flat = features.reshape(-1, *features.shape[2:])
            logits = _check(self.networks[0](flat, train=train))
            logits = logits.reshape(batch_size, num_instances, -1)
        else:
            logits = jnp.stack(
                [
                    _check(network(features[:, i], train=train))
                    for i, network in enumerate(self.networks)
                ],
                axis=1,
            )
        return AGGREGATIONS[self.aggregate](logits)

    def classify(
        self, features: Float[Array, "batch ..."]
    ) -> Float32[Array, "batch {self.num_classes}"]:
        """Return the logits of single instances, without aggregation.

        If each position in a bag has its own network, the middle one is used: every network has
        been trained on instances from all parts of the pieces, and evaluating one network is as
        cheap as with shared weights.
        """
        logits = _check(self.networks[len(self.networks) // 2](features, train=False))
        return logits[:, : self.num_classes]


def _check(logits: Array) -> Array:
    if isinstance(logits, tuple) or logits.ndim != 2:
        raise UserError(
            "model.name: this network makes several predictions per instance; choose one that "
            "makes a single prediction, such as convnet"
        )
    return logits
