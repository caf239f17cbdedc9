"""Max-pooling, alone and fused with a convolution, compared with sliding windows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax import kernels
from irec_jax.kernels import convolution


def _outputs_and_gradients(functions, *arguments):
    """Return the output of each function, and the gradients of its arguments."""

    def run(function, *arguments):
        y, vjp = jax.vjp(function, *arguments)
        cotangent = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        return y, *vjp(cotangent.astype(y.dtype))

    return jax.jit(lambda *arguments: [run(f, *arguments) for f in functions])(*arguments)


@pytest.mark.parametrize(
    "size, window, strides",
    [
        ((9, 6), (3, 3), None),
        ((11, 8), (3, 3), None),
        ((7, 9), (2, 3), None),
        ((9, 8), (3, 3), (2, 2)),
    ],
)
def test_max_pool_matches_sliding_windows(size, window, strides):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)

    functions = (
        lambda x: kernels.max_pool(x, window, strides=strides),
        lambda x: nn.max_pool(x, window, strides or window),
    )
    for actual, expected in zip(*_outputs_and_gradients(functions, x), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_first_of_equal_maxima_receives_the_gradient():
    x = np.array([[1.0, 0.0, 2.0], [5.0, 0.0, 0.0], [0.0, 5.0, 5.0]], np.float32)
    gradient = jax.jit(jax.grad(lambda x: 8 * kernels.max_pool(x, (3, 3)).sum()))(
        x[None, :, :, None]
    )
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 0, 0], [8, 0, 0], [0, 0, 0]])


def test_input_smaller_than_a_window_is_rejected():
    with pytest.raises(ValueError, match="smaller than the pooling window"):
        kernels.max_pool(jnp.ones((1, 2, 9, 1)), (3, 3))


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
def test_fused_convolution_and_pooling_matches_separate_operations(
    with_stem, batch, size, channels, pads, window, monkeypatch
):
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 2 * 12 * 12 * 4 * (3 * 3 + 4))  # 2 or more
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *size, channels[0])).astype(np.float32)
    kernel = rng.normal(size=(3, 3, *channels)).astype(np.float32)

    scale = np.arange(1.0, 1 + channels[0], dtype=np.float32)

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
        return kernels.conv2d_max_pool(x, kernel, pads, window, **options)

    for a, e in zip(*_outputs_and_gradients((fused, reference), scale, x, kernel), strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= 1e-5 * np.abs(e).max()


def _reference(strides, pads, window):
    def run(x, kernel):
        y = lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return nn.max_pool(y, window, window)

    return run


def _image_and_kernel(batch, size, kernel_size, channels):
    rng = np.random.default_rng(sum(size))
    x = rng.normal(size=(batch, *size, channels[0])).astype(np.float32)
    return x, rng.normal(size=(*kernel_size, *channels)).astype(np.float32)


FUSED = [(kernels.single_channel_conv2d_max_pool, 1), (kernels.conv2d_max_pool, 2)]
GEOMETRIES = [  # batch, size, kernel size, strides, pads, window
    (5, (38, 37), (10, 10), (3, 3), ((0, 0), (0, 0)), (3, 3)),  # B1
    (4, (21, 22), (5, 5), (2, 2), ((0, 0), (0, 0)), (2, 2)),  # B2
    (3, (12, 9), (3, 3), (1, 1), ((0, 0), (0, 0)), (2, 2)),  # B4
    (1, (9, 15), (4, 2), (1, 3), ((1, 2), (0, 1)), (3, 2)),
    (7, (6, 11), (1, 3), (2, 1), ((0, 0), (2, 2)), (1, 4)),
    (2, (11, 9), (2, 2), (4, 3), ((0, 1), (0, 0)), (2, 2)),  # unused pixels between the windows
    (2, (6, 5), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),  # no pooling
]


@pytest.mark.parametrize("batch, size, kernel_size, strides, pads, window", GEOMETRIES)
@pytest.mark.parametrize("conv2d_max_pool, num_inputs", FUSED)
def test_strides_and_single_channel_match_separate_operations(
    conv2d_max_pool, num_inputs, batch, size, kernel_size, strides, pads, window, monkeypatch
):
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 20_000)  # small groups of examples
    x, kernel = _image_and_kernel(batch, size, kernel_size, (num_inputs, 3))

    def fused(x, kernel):
        return conv2d_max_pool(x, kernel, pads, window, strides=strides)

    functions = (fused, _reference(strides, pads, window))
    for a, e in zip(*_outputs_and_gradients(functions, x, kernel), strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= 1e-5 * np.abs(e).max()


def test_single_channel_in_bfloat16_matches_separate_operations():
    x, kernel = _image_and_kernel(3, (21, 22), (5, 5), (1, 4))
    # With integers the sums of products are exact, so no maximum moves.
    x, kernel = np.round(2 * x), np.round(2 * kernel)
    geometry = (2, 2), ((0, 0), (0, 0)), (2, 2)

    def fused(x, kernel):
        options = dict(strides=geometry[0])
        return kernels.single_channel_conv2d_max_pool(x, kernel, *geometry[1:], **options)

    halves = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    (actual,) = _outputs_and_gradients((fused,), *halves)
    (expected,) = _outputs_and_gradients((_reference(*geometry),), x, kernel)
    assert all(a.dtype == jnp.bfloat16 for a in actual)
    for a, e in zip(actual, expected, strict=True):
        assert np.abs(a - e).max() <= 0.02 * np.abs(e).max()


@pytest.mark.parametrize("conv2d_max_pool, num_inputs", FUSED)
def test_other_platforms_convolve_the_full_batch(conv2d_max_pool, num_inputs):
    def loss(x, kernel):
        return conv2d_max_pool(x, kernel, ((1, 1), (1, 1)), (2, 2)).sum()

    shapes = (16, 8, 8, num_inputs), (3, 3, num_inputs, 3)
    traced = jax.jit(jax.grad(loss, (0, 1))).trace(*map(jnp.ones, shapes))
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "dot_general" not in cuda
    assert "while" in cpu and "while" not in cuda
