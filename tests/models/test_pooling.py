"""Max-pooling, alone and of a convolution, against sliding windows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax.models import convolution, pooling


@pytest.mark.parametrize(
    "size, window, strides",
    [
        ((9, 6), (3, 3), None),
        ((11, 8), (3, 3), None),
        ((7, 9), (2, 3), None),
        ((9, 8), (3, 3), (2, 2)),
    ],
)
def test_max_pool_equals_sliding_windows(size, window, strides):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 3)), jnp.float32)
    y, pull = jax.vjp(lambda x: pooling.max_pool(x, window, strides=strides), x)
    reference, pull_reference = jax.vjp(lambda x: nn.max_pool(x, window, strides or window), x)
    np.testing.assert_array_equal(y, reference)
    cotangent = jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape)
    np.testing.assert_array_equal(pull(cotangent)[0], pull_reference(cotangent)[0])


def test_the_first_of_equal_maxima_has_the_gradient():
    x = jnp.asarray([[1.0, 0.0, 2.0], [5.0, 0.0, 0.0], [0.0, 5.0, 5.0]])[None, :, :, None]
    gradient = jax.grad(lambda x: 8 * pooling.max_pool(x, (3, 3)).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 0, 0], [8, 0, 0], [0, 0, 0]])


def test_too_small_for_a_window():
    with pytest.raises(ValueError, match="smaller than the pooling window"):
        pooling.max_pool(jnp.ones((1, 2, 9, 1)), (3, 3))


@pytest.mark.parametrize("with_stem", [False, True])
@pytest.mark.parametrize(
    "batch, size, channels, pads, window",
    [
        (1, (7, 8), (2, 3), ((2, 2), (2, 2)), (3, 3)),
        (4, (7, 8), (2, 3), ((2, 1), (2, 0)), (3, 3)),
        (5, (9, 9), (3, 4), ((0, 0), (0, 0)), (2, 3)),
        (7, (6, 10), (1, 3), ((1, 1), (1, 1)), (1, 2)),
    ],
)
def test_convolution_and_pooling_as_one(
    with_stem, batch, size, channels, pads, window, monkeypatch
):
    monkeypatch.setattr(convolution, "_CHUNK_BYTES", 2 * 12 * 12 * 4 * (3 * 3 + 4))  # 2 or more
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(batch, *size, channels[0])), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, *channels)), jnp.float32)

    scale = jnp.arange(1.0, 1 + channels[0])

    def stem(scale, x):
        return jnp.tanh(scale * x)

    def reference(scale, x, kernel):
        x = stem(scale, x) if with_stem else x
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return nn.max_pool(y, window, window)

    def fused(scale, x, kernel):
        options = dict(stem=stem, stem_params=scale) if with_stem else {}
        return pooling.convolve_and_max_pool(x, kernel, pads, window, **options)

    def results(function):
        def run(*arguments):
            y, pull = jax.vjp(function, *arguments)
            return y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

        return jax.jit(run)(scale, x, kernel)

    for a, e in zip(results(fused), results(reference), strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= 1e-5 * np.abs(e).max()


def test_other_devices_convolve_the_whole_batch():
    def loss(x, kernel):
        return pooling.convolve_and_max_pool(x, kernel, ((1, 1), (1, 1)), (2, 2)).sum()

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(jnp.ones((16, 8, 8, 2)), jnp.ones((3, 3, 2, 3)))
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "dot_general" not in cuda
    assert "while" in cpu and "while" not in cuda
