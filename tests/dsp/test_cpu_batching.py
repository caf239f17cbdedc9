"""Computation in groups of examples compared with the full batch."""

import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.dsp.cpu_batching import map_in_batches


@pytest.mark.parametrize("shape", [(12,), (4, 12), (7, 12), (2, 5, 12), (0, 12)])
def test_computation_in_groups_matches_the_full_batch(shape):
    def pairs(signal):
        return jnp.cumsum(signal.reshape(*signal.shape[:-1], 6, 2), axis=-2)

    signal = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
        map_in_batches(pairs, signal, batch_size=4), pairs(signal), rtol=1e-6
    )
