"""Convolution fused with batch normalisation compared with separate operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax import kernels
from irec_jax.kernels import convolution, row_blocks

CASES = [  # batch, size, kernel size, strides, channels of the inputs, outputs, transposed
    (2, (8, 6), (5, 5), (2, 2), (1,), 3, False),
    (3, (8, 6), (3, 3), (2, 2), (9, 2), 4, False),
    (2, (7, 5), (3, 3), (2, 2), (2, 3), 4, False),  # unfused: 2 does not divide 7
    (2, (6, 4), (3, 2), (1, 2), (8,), 2, False),
    (5, (4, 4), (3, 3), (2, 2), (3,), 4, False),  # groups of four examples and a remainder
    (3, (4, 3), (5, 5), (2, 2), (2, 9), 3, True),
    (1, (4, 3), (3, 3), (2, 2), (4,), 1, True),
    (2, (3, 4), (2, 3), (3, 1), (2,), 8, True),
]


def _parts(batch, size, channels, dtype=jnp.float32):
    rng = np.random.default_rng(batch + sum(size))

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    def activation(count, relu):
        x = draw(batch, *size, count).astype(dtype)
        return kernels.DeferredNorm(x, draw(count), draw(count), draw(count), relu=relu)

    return tuple(activation(count, relu=i == 0) for i, count in enumerate(channels))


def _kernel(kernel_size, inputs, outputs, transposed):
    shape = (outputs, inputs) if transposed else (inputs, outputs)
    rng = np.random.default_rng(sum(kernel_size) + inputs)
    return jnp.asarray(rng.normal(size=(*kernel_size, *shape)), jnp.float32)


def _unfused(parts, kernel, strides, transposed, shift, mask):
    x = jnp.concatenate(
        [
            jnp.maximum(y, 0) if part.relu else y
            for part in parts
            for y in [(part.x - part.centre) * part.factor + part.bias]
        ],
        -1,
    )
    options = dict(dimension_numbers=convolution.NHWC)
    if transposed:
        y = lax.conv_transpose(x, kernel, strides, "SAME", transpose_kernel=True, **options)
    else:
        y = lax.conv_general_dilated(x, kernel, strides, "SAME", **options)
    weights = mask[:, None, None, None]
    centred = y - shift
    return y, jnp.sum(weights * centred, (0, 1, 2)), jnp.sum(weights * centred**2, (0, 1, 2))


def _fused(parts, kernel, strides, transposed, shift, mask):
    return kernels.conv_with_moments(
        parts, kernel, strides, transposed=transposed, shift=shift, mask=mask
    )


def _outputs_and_gradients(functions, parts, kernel, strides, transposed):
    """Return the outputs of each function, and their gradients."""
    shift = np.linspace(-1, 1, kernel.shape[2 if transposed else 3], dtype=np.float32)
    mask = np.arange(len(parts[0].x)) != 1  # one example is padding, unless it is the only one
    mask = mask.astype(np.float32)

    def run(function, parts, kernel):
        outputs, vjp = jax.vjp(
            lambda parts, kernel: function(parts, kernel, strides, transposed, shift, mask),
            parts,
            kernel,
        )
        cotangents = [
            np.cos(np.arange(a.size, dtype=np.float32)).reshape(a.shape).astype(a.dtype)
            for a in outputs
        ]
        cotangents[2] *= np.float32(0.1)
        return outputs, vjp(tuple(cotangents))

    return jax.jit(lambda *arguments: [run(f, *arguments) for f in functions])(parts, kernel)


def _assert_near(actual, expected, tolerance=2e-5):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.abs(a - e).max() <= tolerance * np.abs(e).max()


@pytest.mark.parametrize("block_bytes", [None, 2_000])
@pytest.mark.parametrize("batch, size, kernel_size, strides, channels, outputs, transposed", CASES)
def test_outputs_and_gradients_match_separate_operations(
    batch, size, kernel_size, strides, channels, outputs, transposed, block_bytes, monkeypatch
):
    if block_bytes:
        monkeypatch.setattr(row_blocks, "_BLOCK_BYTES", block_bytes)  # blocks of a few rows
    parts = _parts(batch, size, channels)
    kernel = _kernel(kernel_size, sum(channels), outputs, transposed)
    _assert_near(*_outputs_and_gradients((_fused, _unfused), parts, kernel, strides, transposed))


@pytest.mark.parametrize("transposed", [False, True])
def test_constant_inputs_do_not_change_other_gradients(transposed):
    """Features are constants: their gradient is not computed."""
    parts, kernel = _parts(2, (4, 6), (1, 9)), _kernel((3, 3), 10, 4, transposed)

    def loss(function, kernel, part):
        outputs = function(
            (parts[0], part),
            kernel,
            (2, 2),
            transposed,
            np.zeros(4, np.float32),
            np.ones(2, np.float32),
        )
        return sum(jnp.sum(a**2) for a in outputs)

    actual, expected = (
        jax.jit(jax.grad(lambda *arguments, f=f: loss(f, *arguments), (0, 1)))(kernel, parts[1])
        for f in (_fused, _unfused)
    )
    _assert_near(actual, expected)


def test_gradients_of_scale_and_bias_match_separate_operations():
    """Only scale and bias of batch normalisation are trained; all other parameters are frozen."""
    (part,), kernel = _parts(2, (4, 6), (3,)), _kernel((3, 3), 3, 4, False)

    def loss(function, factor, bias):
        inputs = (part.replace(factor=factor, bias=bias),)
        return jnp.sum(
            function(
                inputs, kernel, (2, 2), False, np.zeros(4, np.float32), np.ones(2, np.float32)
            )[0]
            ** 2
        )

    actual, expected = (
        jax.jit(jax.grad(lambda *arguments, f=f: loss(f, *arguments), (0, 1)))(
            part.factor, part.bias
        )
        for f in (_fused, _unfused)
    )
    _assert_near(actual, expected)


def test_unused_sums_do_not_need_a_gradient():
    parts, kernel = _parts(2, (4, 4), (3,)), _kernel((3, 3), 3, 4, False)

    def loss(function, kernel):
        return jnp.sum(
            function(parts, kernel, (2, 2), False, np.zeros(4, np.float32), np.ones(2, np.float32))[
                0
            ]
            ** 2
        )

    gradients = jax.jit(lambda k: [jax.grad(loss, 1)(f, k) for f in (_fused, _unfused)])
    _assert_near(*gradients(kernel))


def test_bfloat16_is_close_to_float32():
    kernel = _kernel((3, 3), 3, 4, False)
    (exact,) = _outputs_and_gradients(
        (_unfused,), _parts(2, (8, 6), (1, 2), jnp.bfloat16), kernel, (2, 2), False
    )
    (actual,) = _outputs_and_gradients(
        (_fused,),
        _parts(2, (8, 6), (1, 2), jnp.bfloat16),
        kernel.astype(jnp.bfloat16),
        (2, 2),
        False,
    )
    assert actual[0][0].dtype == jnp.bfloat16 and actual[0][1].dtype == jnp.float32
    as_float = jax.tree.map(lambda a: np.asarray(a, np.float32), (actual, exact))
    _assert_near(*as_float, tolerance=3e-2)


def test_other_platforms_use_separate_operations():
    parts, kernel = _parts(2, (8, 6), (1, 2)), _kernel((3, 3), 3, 4, False)

    def loss(parts, kernel):
        outputs = _fused(
            parts, kernel, (2, 2), False, np.zeros(4, np.float32), np.ones(2, np.float32)
        )
        return sum(jnp.sum(a**2) for a in outputs)

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(parts, kernel)
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "stablehlo.convolution" not in cpu
    assert "stablehlo.convolution" in cuda and "dot_general" not in cuda
