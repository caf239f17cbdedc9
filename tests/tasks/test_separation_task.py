"""Separation task: mixtures, losses, scores and overfitting of one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_tasks import (
    AMPLITUDES,
    DECIBELS,
    FRONTEND,
    LOSS,
    MODEL,
    SAMPLES,
    create_separation_task,
    make_stem_batch,
)

from irec_jax.errors import UserError


@pytest.fixture(scope="module")
def task():
    return create_separation_task()


def test_overfits_one_batch(task):
    batch, optimizer = make_stem_batch(), optax.adam(1e-2)
    params, state = task.init(jax.random.key(0))

    @jax.jit
    def step(params, state, opt_state, number):
        def objective(params):
            total, count, new, scalars = task.loss(
                params, state, batch, jax.random.key(number), True
            )
            return total / count, (new, scalars, count)

        (loss, (new, scalars, count)), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        sdr = scalars["amplitude_sdr"] / count
        return optax.apply_updates(params, updates), new, opt_state, loss, sdr

    opt_state, results = optimizer.init(params), []
    for number in range(150):
        params, state, opt_state, loss, sdr = step(params, state, opt_state, number)
        results.append((float(loss), float(sdr)))
    (first_loss, first_sdr), (loss, sdr) = results[0], results[-1]
    assert loss < first_loss - 6 and sdr > first_sdr + 6


def test_mixture_is_the_sum_of_stems_unless_the_batch_contains_one(task):
    batch = make_stem_batch()
    total = batch["stems"].sum(axis=1, dtype=np.int32).astype(np.float32) / 32768
    arrays = task.summaries(*task.init(jax.random.key(0)), batch)
    np.testing.assert_allclose(arrays["audio/mixture"], total[0], atol=1e-6)
    target = batch["stems"][0, 2:].sum(axis=0, dtype=np.int32).astype(np.float32) / 32768
    np.testing.assert_allclose(arrays["audio/target"], target, atol=1e-6)
    assert {"audio/estimate", "features/estimate"} < set(arrays)
    released = np.zeros((3, SAMPLES), np.int16)
    silent = task.summaries(*task.init(jax.random.key(0)), batch | {"mixture": released})
    assert not silent["audio/mixture"].any() and silent["audio/target"].any()


@pytest.mark.parametrize("loss", [LOSS, DECIBELS, AMPLITUDES])
def test_loss_and_score_of_an_identity_network(loss):
    """Compare with values computed from amplitudes; the default loss is close to minus the SDR."""
    task, batch = create_separation_task(loss=loss), make_stem_batch()
    front = task.frontend
    parts = batch["stems"].astype(np.float32) / 32768
    mixture, target = parts.sum(1), parts[:, 2:].sum(1)
    features = [np.asarray(front(jnp.asarray(x))) for x in (mixture, target)]
    amplitudes = [np.asarray(front.amplitudes(x)) for x in features]
    error = amplitudes[0] - amplitudes[1]
    level = np.sqrt(np.mean(amplitudes[1] ** 2, axis=(1, 2)))
    sdr = 10 * np.log10(np.sum(amplitudes[1] ** 2, axis=(1, 2)) / np.sum(error**2, axis=(1, 2)))
    expected = np.mean(np.abs(error), axis=(1, 2)) / level
    if loss is LOSS:
        expected = 10 * np.log10(10 ** (-sdr / 10) + 1e-3)
    elif loss is DECIBELS:
        expected = np.mean(np.abs(features[0] - features[1]), axis=(1, 2))
    params, state = task.init(jax.random.key(0))
    identity = jax.tree.map(jnp.zeros_like, params)
    identity["Decoder_2"]["BatchNorm_0"]["bias"] -= 40.0  # almost no attenuation
    loss = jax.jit(task.loss, static_argnums=4)
    total, count, _, scalars = loss(identity, state, batch, jax.random.key(0), False)
    assert count == 2
    np.testing.assert_allclose(total, expected[:2].sum(), rtol=1e-3)
    np.testing.assert_allclose(scalars["amplitude_sdr"], sdr[:2].sum(), rtol=1e-3)


@pytest.mark.parametrize("loss", [LOSS, DECIBELS])
@pytest.mark.parametrize("silent", [slice(2, 4), slice(0, 4)])
def test_silence_has_finite_gradients_and_a_score_of_zero(silent, loss):
    """Check a silent target, and silence in all stems."""
    task, batch = create_separation_task(loss=loss), make_stem_batch(1)
    batch["mask"][:] = 1.0
    batch["stems"][:, silent] = 0
    params, state = task.init(jax.random.key(0))

    def objective(params):
        total, _, _, scalars = task.loss(params, state, batch, jax.random.key(0), True)
        return total, scalars

    (total, scalars), grads = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    assert np.isfinite(total) and all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert scalars["amplitude_sdr"] == 0


def test_model_has_the_decibel_scale_of_the_front_end():
    front = FRONTEND | dict(scale_db=100.0, floor_db=-90.0)
    task, batch = (
        create_separation_task(frontend=front, model=MODEL | dict(output="mask")),
        make_stem_batch(1),
    )
    params, state = task.init(jax.random.key(0))
    params = jax.tree.map(jnp.zeros_like, params)
    mixture = jnp.asarray(batch["stems"][:, 3])
    # Masks are sigmoid(0) = 0.5.
    halved = jax.jit(task.predict)(params, state, {"audio": mixture})
    features = task.frontend(mixture.astype(jnp.float32) / 32768)
    expected = np.maximum(features - 20 * np.log10(2) / 100, -0.9)
    np.testing.assert_allclose(halved, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(frontend=dict(name="log_mel")), "a separator needs spectrogram_db"),
        (dict(loss=LOSS | dict(domain="amplitude")), "did you mean 'amplitudes'"),
        (dict(loss=LOSS | dict(name="binary_cross_entropy")), "separator loss"),
        (dict(window_s=1.0), "num_frames=8"),
        (dict(model=MODEL | dict(scale_db=100.0)), "model.scale_db=100.0: differs from frontend"),
    ],
)
def test_invalid_settings_are_rejected(changes, message):
    with pytest.raises(UserError, match=message):
        create_separation_task(**changes)
