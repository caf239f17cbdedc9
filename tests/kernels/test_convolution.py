"""Fast convolution and its gradients compared with XLA."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax.kernels import convolution

LAYOUT = ("NHWC", "HWIO", "NHWC")


def _arrays(batch, size, kernel_size, channels, dtype=np.float32):
    rng = np.random.default_rng(sum(size) + sum(kernel_size) + batch)
    x = rng.normal(size=(batch, *size, channels[0]))
    kernel = rng.normal(size=(*kernel_size, *channels))
    return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)


def _outputs_and_gradients(functions, x, kernel, strides, padding, **options):
    """Return the output of each convolution, and its gradients."""

    def run(convolve, x, kernel):
        settings = dict(dimension_numbers=LAYOUT) | options
        y, vjp = jax.vjp(lambda x, k: convolve(x, k, strides, padding, **settings), x, kernel)
        cotangent = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        return y, *vjp(cotangent.astype(y.dtype))

    return jax.jit(lambda *arguments: [run(f, *arguments) for f in functions])(x, kernel)


BOTH = convolution.conv_general_dilated, lax.conv_general_dilated


def _assert_near(actual, expected, tolerance=1e-5):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.abs(a - e).max() <= tolerance * np.abs(e).max()


CASES = [  # batch, size, kernel size, strides, padding
    (3, (7, 9), (1, 1), (1, 1), "SAME"),
    (2, (7, 9), (1, 1), (2, 2), "VALID"),
    (1, (9, 8), (3, 3), (1, 1), "SAME"),
    (5, (9, 8), (3, 3), (1, 1), "VALID"),
    (4, (9, 8), (3, 3), (1, 1), ((2, 2), (2, 2))),
    (4, (9, 8), (3, 3), (1, 1), ((2, 1), (0, 2))),
    (3, (9, 8), (3, 3), (2, 2), "SAME"),
    (3, (8, 9), (3, 3), (3, 2), "VALID"),
    (2, (11, 12), (5, 5), (1, 1), "SAME"),
    (2, (16, 12), (5, 5), (2, 2), "SAME"),
    (2, (15, 12), (5, 5), (2, 2), "VALID"),
    (3, (12, 16), (7, 7), (2, 2), "SAME"),
    (1, (13, 16), (7, 7), (3, 1), ((5, 0), (9, 1))),
    (2, (21, 21), (10, 10), (3, 3), "VALID"),
    (2, (12, 14), (10, 10), (1, 1), "SAME"),
    (2, (9, 10), (2, 2), (3, 3), "VALID"),  # unused pixels between the windows
    (2, (9, 10), (2, 3), (4, 3), ((3, 4), (7, 1))),  # windows of zeros only
    (2, (3, 3), (3, 3), (1, 1), "VALID"),
    (2, (8, 9), (2, 2), (2, 1), ((0, 0), (1, 0))),  # unrolled
    (2, (1, 5), (3, 3), (1, 1), ((2, 2), (2, 2))),
]


@pytest.mark.parametrize("batch, size, kernel_size, strides, padding", CASES)
def test_outputs_and_gradients_match_xla(batch, size, kernel_size, strides, padding):
    x, kernel = _arrays(batch, size, kernel_size, (2, 3))
    _assert_near(*_outputs_and_gradients(BOTH, x, kernel, strides, padding))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 7])
def test_chunks_of_examples_with_and_without_remainder(batch, monkeypatch):
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 2 * (8 + 4) * 9 * 3 * 4 * 4)
    x, kernel = _arrays(batch, (8, 7), (3, 3), (4, 5))
    pads = ((2, 2), (2, 2))
    _assert_near(*_outputs_and_gradients(BOTH, x, kernel, (1, 1), pads))


@pytest.mark.parametrize("num_inputs", [1, 4])  # 1: unrolled
def test_bfloat16_is_close_to_float32(num_inputs):
    x, kernel = _arrays(3, (10, 9), (3, 3), (num_inputs, 5), jnp.bfloat16)
    (actual,) = _outputs_and_gradients(BOTH[:1], x, kernel, (2, 2), "SAME")
    singles = x.astype(np.float32), kernel.astype(np.float32)
    (exact,) = _outputs_and_gradients(BOTH[1:], *singles, (2, 2), "SAME")
    assert all(a.dtype == jnp.bfloat16 for a in actual)
    _assert_near([np.asarray(a, np.float32) for a in actual], exact, tolerance=1e-2)


def test_vmap_and_pmap_match_single_calls():
    x, kernel = _arrays(6, (8, 7), (3, 3), (2, 3))
    convolve = functools.partial(
        convolution.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=LAYOUT,
    )

    def gradient(x, kernel):
        return jax.grad(lambda k: jnp.sum(convolve(x, k) ** 2))(kernel)

    halves = x.reshape(2, 3, *x.shape[1:])
    expected = [jax.jit(gradient)(half, kernel) for half in halves]
    _assert_near(jax.jit(jax.vmap(gradient, (0, None)))(halves, kernel), expected)
    kernels = np.stack([kernel, kernel])
    _assert_near(jax.jit(jax.vmap(gradient))(halves, kernels), expected)
    _assert_near(jax.pmap(gradient)(halves[:1], kernels[:1]), expected[:1])


def test_second_derivatives_match_xla():
    x, kernel = _arrays(2, (6, 5), (3, 3), (2, 2))

    def second(convolve, x, kernel):
        def loss(x, kernel):
            return jnp.sum(convolve(x, kernel, (2, 1), "SAME", dimension_numbers=LAYOUT) ** 3)

        def norm(x, kernel):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, kernel))

        return jax.grad(norm, (0, 1))(x, kernel)

    _assert_near(*jax.jit(lambda x, kernel: [second(f, x, kernel) for f in BOTH])(x, kernel))


@pytest.mark.parametrize(
    "channels, kernel_channels, options",
    [
        (4, (4, 3), dict(rhs_dilation=(2, 2))),
        (4, (4, 3), dict(lhs_dilation=(1, 2))),
        (4, (2, 6), dict(feature_group_count=2)),
    ],
)
def test_dilation_and_groups_use_xla(channels, kernel_channels, options):
    x = _arrays(2, (9, 8), (3, 3), (channels, 1))[0]
    kernel = _arrays(2, (9, 8), (3, 3), kernel_channels)[1]
    pads = ((1, 1), (1, 1))
    _assert_near(*_outputs_and_gradients(BOTH, x, kernel, (1, 1), pads, **options))


@pytest.mark.parametrize("shape, size", [((2, 9, 8, 3), (3, 3)), ((2, 9, 3), (3,))])
def test_flax_layer_with_fast_convolution_matches_stock_layer(shape, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    fast = nn.Conv(4, size, conv_general_dilated=convolution.conv_general_dilated)
    shapes = jax.eval_shape(lambda: fast.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), shapes)
    layers = fast, nn.Conv(4, size)
    actual, expected = jax.jit(lambda v, x: [layer.apply(v, x) for layer in layers])(variables, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_other_platforms_use_xla_gradients():
    def loss(x, kernel):
        return convolution.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT
        ).sum()

    x, kernel = _arrays(16, (8, 7), (3, 3), (2, 3))
    traced = jax.jit(jax.grad(loss, (0, 1))).trace(x, kernel)
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "dot_general" not in cuda
