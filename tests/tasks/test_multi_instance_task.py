"""Multi-instance task: loss of bags, predictions of instances."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from irec_jax import losses
from irec_jax.errors import UserError
from irec_jax.tasks import create_multi_instance, create_recognition

SETTINGS = dict(
    classes=("low", "high"),
    sample_rate_hz=1000,
    window_s=0.128,
    frontend=dict(
        name="log_mel", frame_length=32, hop_length=32, num_mels=8, padding="none", min_hz=50.0
    ),
    model=dict(name="convnet", filters=(4,), dense=8, dropout=0.0, dense_dropout=0.0),
    loss=dict(name="binary_cross_entropy", l2=0.0),
    augment={},
)
BAG = dict(num_instances=3, share=True, aggregate="mean")


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "audio": rng.integers(-20_000, 20_000, (4, 3 * 128)).astype(np.int16),
        "labels": rng.integers(0, 2, (4, 2)).astype(np.float32),
        "gain": np.linspace(0.5, 1, 4, dtype=np.float32),
        "num_samples": np.full(4, 3 * 128, np.int32),
        "mask": np.array([1.0, 1.0, 1.0, 0.0], np.float32),
        "index": np.arange(4),
    }


def test_loss_is_that_of_the_mean_probability_of_the_instances():
    task, batch = create_multi_instance(bag=BAG, **SETTINGS), make_batch()
    params, state = task.init(jax.random.key(0))
    predict, loss = jax.jit(task.predict), jax.jit(task.loss, static_argnums=4)
    probabilities = [
        predict(
            params,
            state,
            batch
            | {
                "audio": batch["audio"][:, 128 * i : 128 * (i + 1)],
                "num_samples": np.full(4, 128, np.int32),
            },
        )
        for i in range(3)
    ]
    p, y = np.mean(probabilities, axis=0)[:3].astype(float), batch["labels"][:3]
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1).sum()
    total, count, _, _ = loss(params, state, batch, jax.random.key(1), True)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert count == 3
    weighted = batch | {"weight": np.array([3.0, 3.0, 3.0, 9.0], np.float32)}
    total = loss(params, state, weighted, jax.random.key(1), True)[0]
    np.testing.assert_allclose(total, 3 * expected, rtol=1e-5)


def test_a_bag_of_one_instance_trains_like_a_recogniser():
    settings = SETTINGS | {
        "augment": dict(gain_db=6.0, num_mel_masks=1, mel_mask_bands=2),
        "model": dict(name="convnet", filters=(4,), dense=8, dropout=0.25),
    }
    bags = create_multi_instance(bag=BAG | {"num_instances": 1}, **settings)
    plain = create_recognition(**settings)
    batch = make_batch() | {"num_samples": np.full(4, 128, np.int32)}
    batch["audio"] = batch["audio"][:, :128]
    params, state = bags.init(jax.random.key(0))
    bag_loss, loss = (jax.jit(task.loss, static_argnums=4) for task in (bags, plain))
    ours = bag_loss(params, state, batch, jax.random.key(1), False)
    own = loss(params["networks_0"], state, batch, jax.random.key(1), False)
    np.testing.assert_allclose(ours[0], own[0], rtol=1e-5)
    assert ours[3]["top1"] == own[3]["top1"]


@pytest.mark.parametrize("share", [True, False])
def test_overfits_one_batch_of_bags(share):
    task = create_multi_instance(bag=BAG | {"share": share}, **SETTINGS)
    batch = make_batch() | {"mask": np.ones(4, np.float32)}
    params, state = task.init(jax.random.key(0))
    optimizer = optax.adam(0.02)
    moments = optimizer.init(params)

    @jax.jit
    def step(params, moments):
        def loss(params):
            total, count, _, _ = task.loss(params, state, batch, jax.random.key(1), True)
            return total / count

        value, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, updates), moments, value

    values = []
    for _ in range(150):
        params, moments, value = step(params, moments)
        values.append(value)
    assert values[-1] < 0.1 * values[0]


def test_smoothed_labels_are_those_of_the_plain_loss():
    logits, labels = jnp.array([[0.3, -2.0]]), jnp.array([[1.0, 0.0]])
    logs = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    np.testing.assert_allclose(
        losses.log_binary_cross_entropy(*logs, labels, label_smoothing=0.2),
        losses.binary_cross_entropy(logits, labels, label_smoothing=0.2),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(bag=BAG | {"num_instances": 0}), "bag.num_instances=0: expected at least 1"),
        (dict(loss=dict(name="softmax_cross_entropy")), "set it to binary_cross_entropy"),
        (dict(bag=BAG | {"aggregate": "mxa"}), "unknown bag.aggregate 'mxa': did you mean 'max'"),
    ],
)
def test_invalid_settings_are_reported(changes, message):
    with pytest.raises(UserError, match=message):
        create_multi_instance(**dict(bag=BAG) | SETTINGS | changes)
