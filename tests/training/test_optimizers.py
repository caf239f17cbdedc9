"""Optimisers and schedules of optax by name, and one-line errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from irec_jax.errors import UserError
from irec_jax.training import optimizers

PLAIN = {"schedule": {"name": ""}, "clip_norm": 0.0}


@pytest.mark.parametrize("name", sorted(optimizers._optimizers()))
def test_every_optimizer_reduces_the_loss(name):
    settings = {"name": name, "learning_rate": 1e-2} | PLAIN
    optimizer, _ = optimizers.create_optimizer(settings, 10)
    params = {"kernel": jnp.linspace(0.5, 1.5, 24).reshape(6, 4), "bias": jnp.ones(4)}

    def loss(params):
        return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    state, first = optimizer.init(params), loss(params)
    for _ in range(3):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value)
        params = optax.apply_updates(params, updates)
    # Checkpoints store no random keys and no empty arrays.
    for leaf in jax.tree.leaves(state):
        assert np.asarray(leaf).size > 0 and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    # The first steps of some optimisers are too small for float32.
    assert np.isfinite(float(loss(params))) and float(loss(params)) <= float(first)


def test_rates_change_at_boundaries():
    settings = {
        "name": "piecewise_constant_schedule",
        "boundaries_and_scales": {"2": 0.5, "4": 0.1},
    }
    schedule = optimizers.create_schedule(settings, 1.0, 10)
    rates = [float(schedule(step)) for step in range(6)]
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.5, 0.5, 0.05, 0.05], rtol=1e-6)
    for wrong in (None, {}, {"a": 1.0}, 3):
        with pytest.raises(UserError, match="boundaries_and_scales: .*set it to a dict such as"):
            optimizers.create_schedule(settings | {"boundaries_and_scales": wrong}, 1.0, 10)


def test_constant_rate_and_clipping_match_optax():
    settings = {"name": "sgd", "learning_rate": 0.1, "schedule": {"name": ""}, "clip_norm": 1.0}
    optimizer, schedule = optimizers.create_optimizer(settings, 10)
    updates, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(jnp.zeros(2)), jnp.zeros(2))
    np.testing.assert_allclose(updates, [-0.06, -0.08], rtol=1e-6)
    assert float(schedule(7)) == pytest.approx(0.1)


def test_schedules_use_the_rate_and_length_of_the_run():
    cosine = optimizers.create_schedule({"name": "cosine_decay_schedule"}, 0.5, 100)
    reference = optax.cosine_decay_schedule(0.5, 100)
    for step in (0, 10, 50, 100):
        assert float(cosine(step)) == pytest.approx(float(reference(step)))
    settings = {"name": "warmup_cosine_decay_schedule", "warmup_steps": 10, "end_value": 0.1}
    warm = optimizers.create_schedule(settings, 0.5, 100)
    assert float(warm(0)) == 0.0 and float(warm(10)) == pytest.approx(0.5)
    assert float(warm(100)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamm", "learning_rate": 1e-3}, "did you mean 'adam'"),
        ({"name": "adam", "learning_rate": 1e-3, "weight_deca": 1}, "unknown argument"),
        ({"name": "adam", "learning_rate": 1e-3, "schedule": {"name": "cosine"}}, "schedule"),
        ({"name": "adam"}, "learning_rate"),
        (
            {"name": "lbfgs", "learning_rate": 1.0},
            "'lbfgs': uses a line search, .* several points in each step; choo",
        ),
        (
            {"name": "lookahead", "learning_rate": 1.0},
            "'lookahead': is a building block of optimisers, not a complete optimiser; choose",
        ),
        (
            {"name": "scale_by_adam", "learning_rate": 1.0},
            "'scale_by_adam': is a building block of optimisers",
        ),
        (
            {"name": "sgd", "learning_rate": 1.0, "schedule": {"name": "exponential_decay"}},
            "schedule 'exponential_decay': decay_rate missing; pass a value",
        ),
        ({"name": "l2_loss", "learning_rate": 1.0}, "unknown optimizer 'l2_loss': "),
        (
            {
                "name": "adam",
                "learning_rate": 1e-3,
                "schedule": {"name": "warmup_cosine_decay_schedule", "warmup_steps": 10},
            },
            r"optimizer\.schedule\.warmup_steps=10: the schedule ends after 10 steps",
        ),
    ],
)
def test_invalid_settings_are_reported_in_one_line(settings, message):
    with pytest.raises(UserError, match=message) as caught:
        optimizers.create_optimizer(PLAIN | settings, 10)
    assert "\n" not in str(caught.value)
