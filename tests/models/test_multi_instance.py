"""Aggregation of instances to bags, and the networks of bags."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import losses
from irec_jax.errors import UserError
from irec_jax.models.convnet import ConvNet
from irec_jax.models.multi_instance import AGGREGATIONS, MultiInstanceNetwork, num_outputs

RNG = np.random.default_rng(0)


def reference(aggregate, logits):
    """Return p and 1 - p of each class in each bag in extended precision, by a loop."""
    logits = np.asarray(logits, np.longdouble)
    weights = None
    if aggregate == "attention":
        logits, weights = np.split(logits, 2, axis=-1)
    batch, count, classes = logits.shape
    p, not_p = np.empty((batch, classes), np.longdouble), np.empty((batch, classes), np.longdouble)
    for b in range(batch):
        for k in range(classes):
            z = logits[b, :, k]
            on, off = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
            if aggregate == "mean":
                p[b, k], not_p[b, k] = on.mean(), off.mean()
            elif aggregate == "max":
                p[b, k], not_p[b, k] = on.max(), off.min()
            elif aggregate == "noisy_or":
                not_p[b, k] = off.prod()
                p[b, k] = -np.expm1(np.log1p(-on).sum()) if not_p[b, k] > 0.5 else 1 - not_p[b, k]
            elif aggregate == "lse":
                odds = np.exp(z).mean()
                p[b, k], not_p[b, k] = odds / (1 + odds), 1 / (1 + odds)
            else:
                w = np.exp(weights[b, :, k] - weights[b, :, k].max())
                p[b, k], not_p[b, k] = (w * on).sum() / w.sum(), (w * off).sum() / w.sum()
    return p, not_p


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("aggregate", AGGREGATIONS)
def test_log_probabilities_and_loss_match_a_loop_at_extreme_logits(aggregate, scale):
    logits = RNG.normal(0, scale, (6, 4, num_outputs(aggregate, 3))).astype(np.float32)
    p, not_p = reference(aggregate, logits)
    got = AGGREGATIONS[aggregate](jnp.asarray(logits))
    np.testing.assert_allclose(got[0], np.log(p), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(got[1], np.log(not_p), rtol=2e-5, atol=2e-6)
    labels = RNG.integers(0, 2, (6, 3)).astype(np.float32)
    expected = -(labels * np.log(p) + (1 - labels) * np.log(not_p)).mean(axis=-1)
    loss = losses.log_binary_cross_entropy(*got, labels)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("aggregate", AGGREGATIONS)
@pytest.mark.parametrize("value", [-1e4, 0.0, 1e4])
def test_loss_and_gradient_are_finite_at_saturated_logits(aggregate, value):
    logits = np.full((1, 3, num_outputs(aggregate, 2)), value, np.float32)

    def loss(logits):
        return losses.log_binary_cross_entropy(
            *AGGREGATIONS[aggregate](logits), np.array([[0.0, 1.0]], np.float32)
        ).sum()

    total, gradient = jax.jit(jax.value_and_grad(loss))(logits)
    assert np.isfinite(total) and np.isfinite(gradient).all()


@pytest.mark.parametrize("aggregate", AGGREGATIONS)
def test_a_bag_of_one_instance_is_that_instance(aggregate):
    logits = RNG.normal(0, 3, (5, 1, num_outputs(aggregate, 2))).astype(np.float32)
    log_p, log_not_p = AGGREGATIONS[aggregate](jnp.asarray(logits))
    np.testing.assert_allclose(log_p, jax.nn.log_sigmoid(logits[:, 0, :2]), rtol=1e-5)
    np.testing.assert_allclose(log_not_p, jax.nn.log_sigmoid(-logits[:, 0, :2]), rtol=1e-5)


@pytest.mark.parametrize("share", [True, False])
def test_networks_see_the_instances_of_their_position(share):
    network = ConvNet(num_classes=2, filters=(4,), dense=8)
    bags = MultiInstanceNetwork(
        networks=[network.copy() for _ in range(1 if share else 3)], num_classes=2, aggregate="max"
    )
    features = jnp.asarray(RNG.normal(size=(2, 3, 7, 9)), jnp.float32)
    shapes = jax.eval_shape(lambda: bags.init(jax.random.key(0), features, train=False))
    variables = jax.tree.map(lambda a: RNG.normal(0, 0.2, a.shape).astype(np.float32), shapes)
    assert len(variables["params"]) == (1 if share else 3)
    log_p, _ = jax.jit(lambda v: bags.apply(v, features, train=False))(variables)
    apply = jax.jit(lambda params, x: network.apply({"params": params}, x, train=False))
    expected = [
        apply(variables["params"][f"networks_{0 if share else i}"], features[:, i])
        for i in range(3)
    ]
    np.testing.assert_allclose(log_p, jax.nn.log_sigmoid(np.max(expected, axis=0)), rtol=1e-5)
    single = jax.jit(lambda v, x: bags.apply(v, x, method="classify"))(variables, features[:, 1])
    np.testing.assert_allclose(single, expected[1], rtol=1e-5)


def test_unknown_aggregation_is_reported():
    with pytest.raises(UserError, match="unknown bag.aggregate 'maen': did you mean 'mean'"):
        num_outputs("maen", 3)
