"""SDRs of amplitudes and samples compared with their definitions, and undefined cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.metrics import amplitude_sdr, mdx_sdr
from irec_jax.metrics.scale_invariant import si_sdr


def _case(level=0.1, shape=(2, 30, 20)):
    generator = np.random.default_rng(0)
    reference = np.abs(generator.standard_normal(shape))
    return reference, np.abs(reference + level * generator.standard_normal(shape))


@pytest.mark.parametrize("level", [1e-4, 0.1, 30.0])
def test_amplitude_sdr_matches_its_definition(level):
    reference, estimate = _case(level)
    expected = [
        20 * np.log10(np.linalg.norm(s) / np.linalg.norm(s - e))
        for s, e in zip(reference, estimate, strict=True)
    ]
    np.testing.assert_allclose(amplitude_sdr(reference, estimate, axis=(-2, -1)), expected)
    assert amplitude_sdr(reference[0], estimate[0]) == pytest.approx(expected[0])


def test_amplitude_sdr_of_jax_arrays_matches_that_of_numpy_arrays():
    reference, estimate = _case()
    reference[0] = 0
    actual = jax.jit(lambda s, e: amplitude_sdr(s, e, axis=(-2, -1)))(
        jnp.asarray(reference, jnp.float32), jnp.asarray(estimate, jnp.float32)
    )
    assert actual.dtype == jnp.float32 and np.isnan(actual[0])
    expected = amplitude_sdr(reference, estimate, axis=(-2, -1))
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5)
    slope = jax.grad(lambda e: jnp.nansum(amplitude_sdr(jnp.ones((2, 3)), e, axis=1)))
    assert np.isfinite(slope(jnp.array([[1.0, 1, 1], [1, 1, 2]]))).all()


def test_amplitude_sdr_of_silence_and_exact_estimates():
    reference, estimate = _case()
    result = amplitude_sdr(reference, np.zeros_like(reference), axis=(1, 2))
    np.testing.assert_array_equal(result, [0, 0])
    assert np.isnan(amplitude_sdr(np.zeros((3, 4)), np.zeros((3, 4))))
    assert np.isnan(amplitude_sdr(np.zeros((3, 4)), np.ones((3, 4))))
    assert amplitude_sdr(reference, reference) == np.inf
    # In a silent frame of an otherwise audible track, the estimate still counts.
    reference[0, :, 5], estimate[0, :, 5] = 0, 0
    sdr_db = amplitude_sdr(reference[0], estimate[0])
    estimate[0, :, 5] = 1
    assert amplitude_sdr(reference[0], estimate[0]) < sdr_db - 1


def test_amplitude_sdr_of_float32_is_summed_in_float64():
    reference = np.full((2048, 1000), 1e3, np.float32)
    estimate = reference.copy()
    estimate[0, 0] += 1
    assert amplitude_sdr(reference, estimate) == pytest.approx(60 + 10 * np.log10(2048e3))


def test_mdx_sdr_matches_its_definition_over_all_channels():
    reference, estimate = (x[0] for x in _case())
    error = sum((reference[t, c] - estimate[t, c]) ** 2 for t in range(30) for c in range(20))
    expected = 10 * np.log10(((reference**2).sum() + 1e-7) / (error + 1e-7))
    assert mdx_sdr(reference, estimate) == pytest.approx(expected)
    by_channel = mdx_sdr(reference, estimate, axis=0)
    assert by_channel.shape == (20,) and by_channel.std() > 0
    assert mdx_sdr(reference, 0.5 * reference) == pytest.approx(10 * np.log10(4))
    assert si_sdr(reference.T, 0.5 * reference.T).min() == np.inf  # SI-SDR ignores gain


def test_mdx_sdr_of_silence_is_finite():
    silence = np.zeros((10, 2), np.float32)
    assert mdx_sdr(silence, silence) == 0
    assert mdx_sdr(silence, silence + 0.1) == pytest.approx(-10 * np.log10(0.2 / 1e-7), abs=1e-5)
    assert mdx_sdr(silence + 0.1, silence + 0.1) == pytest.approx(63.0103, abs=1e-3)


@pytest.mark.parametrize("score", [amplitude_sdr, mdx_sdr])
def test_unequal_shapes_are_rejected(score):
    with pytest.raises(ValueError, match=r"\(5, 2\) and estimate \(5, 1\)"):
        score(np.ones((5, 2)), np.ones((5, 1)))
