"""Recognition with a prediction per step: steps beyond the end of a clip are ignored."""

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.tasks import create_recognition


def test_loss_and_gradient_ignore_steps_beyond_the_end():
    task = create_recognition(
        classes=("a", "b", "c"),
        sample_rate_hz=1000,
        window_s=0.08,
        frontend=dict(name="chunks", chunk_samples=10),
        model=dict(name="recurrent", hidden=(4,), head="per_step"),
        loss=dict(name="softmax_cross_entropy"),
        augment={},
        normalize="none",
    )
    audio = np.random.default_rng(0).normal(size=(2, 80)).astype(np.float32)
    params, state = task.init(jax.random.key(0))

    @jax.jit
    def value(params, audio, num_samples):
        size = len(audio)
        batch = dict(
            audio=jnp.asarray(audio),
            labels=jnp.eye(3)[jnp.zeros(size, int)],
            gain=jnp.ones(size),
            num_samples=jnp.asarray(num_samples),
            mask=jnp.ones(size),
            index=jnp.arange(size),
        )
        return task.loss(params, state, batch, jax.random.key(1), False)[0]

    loss, gradient = jax.value_and_grad(value)(params, audio, np.array([80, 30]))
    # Single clips, truncated to their lengths: the second has 3 steps.
    first = value(params, audio[:1], np.array([80]))
    second = value(params, audio[1:, :30], np.array([30]))
    np.testing.assert_allclose(loss, first + second, rtol=1e-5)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any(np.abs(leaf).max() > 0 for leaf in leaves)
