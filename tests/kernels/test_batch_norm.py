"""Batch normalisation compared with Flax's, with padding and several devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import distributed
from irec_jax.models import layers

PARAMS = {"scale": jnp.array([1.0, 0.5, -2.0]), "bias": jnp.array([0.1, -0.2, 0.3])}
START = {"mean": jnp.array([45.0, 0.0, 1.0]), "var": jnp.array([2.0, 1.0, 3.0])}
STATE = START | {"count": jnp.array(500.0)}


def _features(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape) * [3, 0.5, 1] + [50, 0, 1], jnp.float32)


def _layer(x):
    """Return a layer that returns x and its sums, as `kernels.conv_with_moments` does."""

    def layer(shift, mask):
        axes = tuple(range(x.ndim - 1))
        centred = x.astype(jnp.float32) - shift
        weighted = centred * mask.reshape(-1, *(1,) * (x.ndim - 1))
        return x, weighted.sum(axes), (weighted * centred).sum(axes)

    return layer


def _apply(x, params=PARAMS, state=STATE, examples=None, train=True, **attributes):
    variables = {"params": params, "batch_stats": state, "examples": examples or {}}
    norm = layers.BatchNorm(x.shape[-1], **attributes)
    y, state = norm.apply(variables, _layer(x), len(x), train=train, mutable="batch_stats")
    return y.values(), state["batch_stats"]


def _flax(x, params=PARAMS, relu=False):
    stock = nn.BatchNorm(
        use_running_average=False, momentum=0.99, epsilon=1e-3, use_fast_variance=False
    )
    variables = {"params": params, "batch_stats": START}
    y, state = stock.apply(variables, x, mutable="batch_stats")
    return nn.relu(y) if relu else y, state["batch_stats"]


def _outputs_and_gradients(function, x):
    def run(x, params):
        (y, state), vjp = jax.vjp(function, x, params)
        cotangent = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return y, state, vjp((cotangent, jax.tree.map(jnp.zeros_like, state)))

    return jax.jit(run)(x, PARAMS)


def _assert_near(actual, expected, tolerance=1e-5):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(
            a, e, rtol=tolerance, atol=tolerance * float(jnp.abs(e).max())
        ),
        actual,
        expected,
    )


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (1, 700, 3), (5, 3)])
def test_outputs_statistics_and_gradients_match_flax(shape, relu):
    x = _features(*shape)
    y, state, gradients = _outputs_and_gradients(lambda x, params: _apply(x, params, relu=relu), x)
    count = state.pop("count")
    expected = _outputs_and_gradients(lambda x, params: _flax(x, params, relu), x)
    _assert_near((y, state, gradients), expected, tolerance=2e-5)
    assert count == 501


def test_moving_averages_normalise_when_not_training():
    x = _features(2, 4, 3)
    y, _ = _apply(x, train=False, relu=True)
    centred = (np.asarray(x, np.float64) - START["mean"]) / np.sqrt(START["var"] + 1e-3)
    np.testing.assert_allclose(
        y, np.maximum(centred * PARAMS["scale"] + PARAMS["bias"], 0), rtol=1e-5, atol=1e-5
    )


def test_padding_examples_have_no_effect():
    x = _features(4, 6, 3)
    padded = jnp.concatenate([x[:1], _features(2, 6, 3, seed=1) * 1e3, x[1:]])
    mask = jnp.array([1.0, 0, 0, 1, 1, 1])
    expected, state = _apply(x)
    actual, actual_state = _apply(padded, examples={"mask": mask})
    _assert_near((actual[mask > 0], actual_state), (expected, state))


def test_batch_of_padding_leaves_the_statistics_unchanged():
    y, state = _apply(_features(2, 6, 3), examples={"mask": jnp.zeros(2)})
    assert np.isfinite(y).all()
    _assert_near(state, STATE)


def test_large_mean_does_not_affect_the_variance():
    x = _features(4, 500, 3) + 1e4
    state = STATE | {"mean": START["mean"] + 1e4}
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean((0, 1))) / np.sqrt(exact.var((0, 1)) + 1e-3)
    y, _ = _apply(x, {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, state)
    np.testing.assert_allclose(y, exact, atol=5e-3)


def test_several_devices_match_one_device():
    """Outputs, statistics and gradients; one device has only padding."""
    x, mask = _features(6, 5, 3), jnp.array([1.0, 1, 1, 0, 0, 0])

    def single(x, params):
        return _apply(x, params, examples={"mask": mask}, relu=True)

    def mapped(x, params):
        parts = x.reshape(3, 2, *x.shape[1:]), mask.reshape(3, 2)
        y, state = jax.vmap(
            lambda x, mask: _apply(x, params, examples={"mask": mask}, relu=True),
            axis_name=distributed.AXIS,
        )(*parts)
        return y.reshape(x.shape), jax.tree.map(lambda a: a[-1], state)

    _assert_near(_outputs_and_gradients(mapped, x), _outputs_and_gradients(single, x))


def test_first_steps_are_plain_averages():
    state = {"mean": jnp.zeros(3), "var": jnp.ones(3), "count": jnp.array(0.0)}
    batches = [_features(2, 7, 3, seed=seed) for seed in range(6)]
    for x in batches:
        state = _apply(x, state=state, momentum=0.75)[1]
    assert state["count"] == 6
    means = np.array([x.mean((0, 1)) for x in batches])
    expected = means[:4].mean(0)
    for mean in means[4:]:
        expected = 0.75 * expected + 0.25 * mean
    np.testing.assert_allclose(state["mean"], expected, rtol=1e-5)


def test_bfloat16_is_normalised_in_float32():
    x = _features(3, 50, 3).astype(jnp.bfloat16)
    y, state = _apply(x)
    expected, exact = _apply(x.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16 and state["mean"].dtype == jnp.float32
    _assert_near(state, exact)
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=1e-2, atol=1e-2)
