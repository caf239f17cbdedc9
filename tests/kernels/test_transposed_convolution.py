"""Transposed convolution and its gradients compared with the definition and XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax import kernels
from irec_jax.kernels import convolution, row_blocks, transposed_convolution


def _arrays(batch, size, kernel_size, channels, dtype=np.float32):
    rng = np.random.default_rng(sum(size) + sum(kernel_size) + batch)
    x = rng.normal(size=(batch, *size, channels[0]))
    kernel = rng.normal(size=(*kernel_size, channels[1], channels[0]))
    return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)


def _xla(x, kernel, strides):
    return lax.conv_transpose(
        x, kernel, strides, "SAME", dimension_numbers=convolution.NHWC, transpose_kernel=True
    )


def _cotangent(y):
    return np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape).astype(y.dtype)


def _outputs_and_gradients(functions, x, kernel, strides):
    """Return the output of each transposed convolution, and its gradients."""

    def run(convolve, x, kernel):
        y, vjp = jax.vjp(lambda x, k: convolve(x, k, strides), x, kernel)
        return y, *vjp(_cotangent(y))

    return jax.jit(lambda *arguments: [run(f, *arguments) for f in functions])(x, kernel)


BOTH = kernels.conv2d_transpose, _xla


def _assert_near(actual, expected, tolerance=1e-5):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.abs(a - e).max() <= tolerance * np.abs(e).max()


CASES = [  # batch, size, kernel size, strides, channels
    (2, (5, 7), (1, 1), (1, 1), (2, 3)),
    (2, (5, 7), (3, 3), (1, 1), (2, 3)),
    (1, (5, 7), (3, 3), (2, 2), (2, 3)),
    (3, (4, 3), (5, 5), (2, 2), (2, 9)),  # all phases in one convolution
    (3, (4, 3), (5, 5), (2, 2), (9, 1)),
    (2, (4, 3), (3, 3), (2, 2), (3, 9)),  # one convolution per phase
    (2, (4, 3), (4, 4), (2, 2), (3, 2)),
    (2, (3, 4), (2, 2), (3, 3), (2, 3)),  # zeros between the pixels
    (2, (3, 4), (1, 2), (2, 3), (2, 9)),
    (2, (3, 4), (7, 5), (3, 2), (2, 3)),
    (2, (1, 1), (5, 3), (2, 2), (2, 3)),
]


@pytest.mark.parametrize("batch, size, kernel_size, strides, channels", CASES)
def test_outputs_and_gradients_match_xla(batch, size, kernel_size, strides, channels):
    x, kernel = _arrays(batch, size, kernel_size, channels)
    actual, expected = _outputs_and_gradients(BOTH, x, kernel, strides)
    assert actual[0].shape == (batch, size[0] * strides[0], size[1] * strides[1], channels[1])
    _assert_near(actual, expected)


@pytest.mark.parametrize("kernel_size, stride", [(5, 2), (3, 2), (4, 3), (2, 3)])
def test_transposed_convolution_matches_its_definition(kernel_size, stride):
    x, kernel = _arrays(1, (4, 3), (kernel_size, kernel_size), (2, 3))
    low = max(kernel_size - stride, 0) // 2
    wide = np.zeros((4 * stride + kernel_size, 3 * stride + kernel_size, 3))
    for i, j in np.ndindex(4, 3):
        spread = np.einsum("hwoi,i->hwo", np.asarray(kernel, np.float64), x[0, i, j])
        rows, columns = (slice(stride * n, stride * n + kernel_size) for n in (i, j))
        wide[rows, columns] += spread
    expected = wide[low : low + 4 * stride, low : low + 3 * stride]
    actual = kernels.conv2d_transpose(x, kernel, (stride, stride))
    np.testing.assert_allclose(actual[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_row_blocks_and_remainder_of_examples_match_xla(batch, monkeypatch):
    # 30 values for each of 5 columns give blocks of 2 rows; 7 rows are padded with a row of zeros.
    monkeypatch.setattr(row_blocks, "_BLOCK_BYTES", 4 * 30 * 5 * 2)
    for size in ((6, 5), (7, 5)):
        x, kernel = _arrays(batch, size, (3, 3), (3, 3))
        _assert_near(*_outputs_and_gradients(BOTH, x, kernel, (2, 2)))


def test_bfloat16_is_close_to_float32():
    x, kernel = _arrays(3, (6, 5), (5, 5), (4, 3), jnp.bfloat16)
    (actual,) = _outputs_and_gradients(BOTH[:1], x, kernel, (2, 2))
    singles = x.astype(np.float32), kernel.astype(np.float32)
    (exact,) = _outputs_and_gradients(BOTH[1:], *singles, (2, 2))
    assert all(a.dtype == jnp.bfloat16 for a in actual)
    _assert_near([np.asarray(a, np.float32) for a in actual], exact, tolerance=1.5e-2)


def test_second_derivatives_under_vmap_match_xla():
    x, kernel = _arrays(4, (3, 4), (3, 3), (2, 2))

    def second(convolve, x, kernel):
        def loss(x, kernel):
            return jnp.sum(convolve(x, kernel, (2, 2)) ** 3)

        def norm(x, kernel):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, kernel))

        return jax.vmap(jax.grad(norm, (0, 1)), (0, None))(x, kernel)

    both = jax.jit(lambda x, kernel: [second(f, x, kernel) for f in BOTH])
    _assert_near(*both(x.reshape(2, 2, *x.shape[1:]), kernel))


def test_gpu_gradients_are_convolutions_that_cudnn_supports():
    """No convolution of pixels with zeros between them by a kernel as large as the image."""

    def loss(x, kernel):
        return jnp.sum(kernels.conv2d_transpose(x, kernel, (2, 2)) ** 2)

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(*_arrays(2, (8, 7), (5, 5), (2, 3)))
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "dot_general" not in cuda
    lines = [line for line in cuda.splitlines() if "stablehlo.convolution" in line]
    kernel_gradient = [line for line in lines if "rhs_dilate = [2, 2]" in line]
    input_gradient = [line for line in lines if "stride = [2, 2]" in line]
    forward = [line for line in lines if "lhs_dilate = [2, 2]" in line]
    assert len(lines) == 3 and len(kernel_gradient) == len(input_gradient) == len(forward) == 1
    assert "tensor<5x5x3x2xf32>) -> tensor<2x16x14x3xf32>" in forward[0]
    assert "-> tensor<5x5x3x2xf32>" in kernel_gradient[0]


@pytest.mark.parametrize("batch, size, kernel_size, strides, channels", CASES)
def test_gpu_form_matches_xla(batch, size, kernel_size, strides, channels):
    x, kernel = _arrays(batch, size, kernel_size, channels)
    options = dict(strides=strides, precision=None)

    @jax.jit
    def run(x, kernel):
        y, vjp = jax.vjp(lambda x, k: _xla(x, k, strides), x, kernel)
        actual = transposed_convolution.xla_conv2d_transpose(x, kernel, **options)
        cotangent = jnp.asarray(_cotangent(y))
        gradients = transposed_convolution.xla_gradients(x, kernel, cotangent, **options)
        return (actual, *gradients), (y, *vjp(cotangent))

    _assert_near(*run(x, kernel))


@pytest.mark.usefixtures("unchecked")
def test_incompatible_shapes_are_rejected():
    x, kernel = _arrays(1, (3, 3), (3, 3), (2, 4))
    with pytest.raises(ValueError, match="incompatible with the kernel"):
        kernels.conv2d_transpose(x, kernel.swapaxes(2, 3), (2, 2))


def test_convolution_with_dilated_kernel_is_dilated_convolution():
    x, kernel = _arrays(2, (9, 8), (3, 3), (2, 2))
    actual = convolution.conv_general_dilated(
        x, kernels.dilate_kernel(kernel, 2), (2, 2), "SAME", dimension_numbers=convolution.NHWC
    )
    expected = lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", rhs_dilation=(2, 2), dimension_numbers=convolution.NHWC
    )
    _assert_near([actual], [expected])
