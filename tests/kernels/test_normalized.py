"""Convolutions of what is still to be normalised, against the same steps one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from irec_jax.kernels import convolution, im2col, normalized

CASES = [  # batch, size, kernel size, strides, channels of the parts, outputs, transposed
    (2, (8, 6), (5, 5), (2, 2), (1,), 3, False),
    (3, (8, 6), (3, 3), (2, 2), (9, 2), 4, False),
    (2, (7, 5), (3, 3), (2, 2), (2, 3), 4, False),  # not cut into blocks: 2 does not divide 7
    (2, (6, 4), (3, 2), (1, 2), (8,), 2, False),
    (5, (4, 4), (3, 3), (2, 2), (3,), 4, False),  # four examples at a time, and a rest
    (3, (4, 3), (5, 5), (2, 2), (2, 9), 3, True),
    (1, (4, 3), (3, 3), (2, 2), (4,), 1, True),
    (2, (3, 4), (2, 3), (3, 1), (2,), 8, True),
]


def _parts(batch, size, channels, dtype=jnp.float32):
    rng = np.random.default_rng(batch + sum(size))

    def one(number, relu):
        draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
        x = draw(batch, *size, number).astype(dtype)
        return normalized.Normalized(x, draw(number), draw(number), draw(number), relu=relu)

    return tuple(one(number, relu=i == 0) for i, number in enumerate(channels))


def _kernel(kernel_size, inputs, outputs, transposed):
    shape = (outputs, inputs) if transposed else (inputs, outputs)
    rng = np.random.default_rng(sum(kernel_size) + inputs)
    return jnp.asarray(rng.normal(size=(*kernel_size, *shape)), jnp.float32)


def _step_by_step(parts, kernel, strides, transposed, shift, mask):
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


def _convolve(parts, kernel, strides, transposed, shift, mask):
    return normalized.convolve(
        parts, kernel, strides, transposed=transposed, shift=shift, mask=mask
    )


def _outputs_and_gradients(function, parts, kernel, strides, transposed):
    outputs = kernel.shape[2 if transposed else 3]
    shift = jnp.linspace(-1, 1, outputs)
    mask = jnp.arange(len(parts[0].x)) != 1  # one of several examples is padding
    mask = mask.astype(jnp.float32)

    @jax.jit
    def run(parts, kernel):
        found, pull = jax.vjp(
            lambda parts, kernel: function(parts, kernel, strides, transposed, shift, mask),
            parts,
            kernel,
        )
        cotangents = [
            jnp.cos(jnp.arange(a.size, dtype=jnp.float32)).reshape(a.shape).astype(a.dtype)
            for a in found
        ]
        cotangents[2] *= 0.1
        return found, pull(tuple(cotangents))

    return run(parts, kernel)


def _assert_near(actual, expected, tolerance=2e-5):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert np.abs(a - e).max() <= tolerance * np.abs(e).max()


@pytest.mark.parametrize("block_bytes", [None, 2_000])
@pytest.mark.parametrize("batch, size, kernel_size, strides, channels, outputs, transposed", CASES)
def test_equals_the_steps(
    batch, size, kernel_size, strides, channels, outputs, transposed, block_bytes, monkeypatch
):
    if block_bytes:
        monkeypatch.setattr(im2col, "_BLOCK_BYTES", block_bytes)  # a few rows at a time
    parts = _parts(batch, size, channels)
    kernel = _kernel(kernel_size, sum(channels), outputs, transposed)
    given = (parts, kernel, strides, transposed)
    _assert_near(
        _outputs_and_gradients(_convolve, *given), _outputs_and_gradients(_step_by_step, *given)
    )


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_that_are_not_wanted_change_no_others(transposed):
    """Features are constants: what they would get is not computed."""
    parts, kernel = _parts(2, (4, 6), (1, 9)), _kernel((3, 3), 10, 4, transposed)

    def loss(function, kernel, part):
        found = function((parts[0], part), kernel, (2, 2), transposed, jnp.zeros(4), jnp.ones(2))
        return sum(jnp.sum(a**2) for a in found)

    actual, expected = (
        jax.jit(jax.grad(lambda *given, f=f: loss(f, *given), (0, 1)))(kernel, parts[1])
        for f in (_convolve, _step_by_step)
    )
    _assert_near(actual, expected)


def test_gradients_of_the_normalisation_alone():
    """As where all but the scales and biases of batch normalisation is frozen."""
    (part,), kernel = _parts(2, (4, 6), (3,)), _kernel((3, 3), 3, 4, False)

    def loss(function, factor, bias):
        given = (part.replace(factor=factor, bias=bias),)
        return jnp.sum(function(given, kernel, (2, 2), False, jnp.zeros(4), jnp.ones(2))[0] ** 2)

    actual, expected = (
        jax.jit(jax.grad(lambda *given, f=f: loss(f, *given), (0, 1)))(part.factor, part.bias)
        for f in (_convolve, _step_by_step)
    )
    _assert_near(actual, expected)


def test_sums_that_are_not_used_need_no_gradient():
    parts, kernel = _parts(2, (4, 4), (3,)), _kernel((3, 3), 3, 4, False)

    def loss(function, kernel):
        return jnp.sum(function(parts, kernel, (2, 2), False, jnp.zeros(4), jnp.ones(2))[0] ** 2)

    _assert_near(
        jax.jit(jax.grad(lambda kernel: loss(_convolve, kernel)))(kernel),
        jax.jit(jax.grad(lambda kernel: loss(_step_by_step, kernel)))(kernel),
    )


def test_bfloat16_is_as_near_to_float32_as_xlas():
    kernel = _kernel((3, 3), 3, 4, False)
    exact = _outputs_and_gradients(
        _step_by_step, _parts(2, (8, 6), (1, 2), jnp.bfloat16), kernel, (2, 2), False
    )
    actual = _outputs_and_gradients(
        _convolve,
        _parts(2, (8, 6), (1, 2), jnp.bfloat16),
        kernel.astype(jnp.bfloat16),
        (2, 2),
        False,
    )
    assert actual[0][0].dtype == jnp.bfloat16 and actual[0][1].dtype == jnp.float32
    as_float = jax.tree.map(lambda a: a.astype(jnp.float32), (actual, exact))
    _assert_near(*as_float, tolerance=3e-2)


def test_other_devices_take_the_steps():
    parts, kernel = _parts(2, (8, 6), (1, 2)), _kernel((3, 3), 3, 4, False)

    def loss(parts, kernel):
        found = _convolve(parts, kernel, (2, 2), False, jnp.zeros(4), jnp.ones(2))
        return sum(jnp.sum(a**2) for a in found)

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(parts, kernel)
    cpu, cuda = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda"))
    assert "dot_general" in cpu and "stablehlo.convolution" not in cpu
    assert "stablehlo.convolution" in cuda and "dot_general" not in cuda
