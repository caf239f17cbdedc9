"""Raw samples, chunks and magnitude spectra compared with naive loops and the DFT sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import frontends


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("length_samples", [0, 12, 17])
def test_waveform_is_centred_without_keys(length_samples):
    frontend = frontends.create("raw", length_samples=length_samples)
    num_steps = length_samples or 12
    num_samples = np.array([12, 7, 0, 99, 1])
    waveform = noise(5, 12) * (np.arange(12) < num_samples[:, None])
    features = frontend(waveform, num_samples=num_samples)
    expected = np.zeros((5, num_steps, 1), np.float32)
    for row in range(5):
        num_real = min(num_samples[row], 12)
        for k in range(num_real):
            expected[row, (num_steps - num_real) // 2 + k, 0] = waveform[row, k]
    np.testing.assert_array_equal(features["steps"], expected)
    np.testing.assert_array_equal(features["num_steps"], [num_steps] * 5)


def test_waveform_position_is_random_with_keys():
    frontend = frontends.create("raw", length_samples=9)
    waveform = np.tile(np.array([1, -1, 0.5, 0, 0, 0], np.float32), (4000, 1))
    keys = jax.random.split(jax.random.key(0), 4000)
    features = frontend(waveform, num_samples=np.full(4000, 3), keys=keys)
    steps = np.asarray(features["steps"])[..., 0]
    positions = steps.argmax(axis=1)
    for row, start in zip(steps, positions, strict=True):
        np.testing.assert_array_equal(row, np.pad([1, -1, 0.5], (start, 6 - start)))
    # Six zeros allow seven positions, equally likely; tolerance: four standard deviations.
    counts = np.bincount(positions, minlength=7)
    assert len(counts) == 7 and np.abs(counts - 4000 / 7).max() < 4 * np.sqrt(4000 * 6) / 7
    legacy_keys = jax.random.key_data(keys)
    repeated = frontend(waveform, num_samples=3, keys=legacy_keys)
    np.testing.assert_array_equal(repeated["steps"], features["steps"])


def test_mask_padding_returns_the_number_of_steps():
    frontend = frontends.create("raw", length_samples=15, padding="mask")
    waveform = noise(4, 12)
    keys = jax.random.split(jax.random.key(0), 4)
    features = frontend(waveform, num_samples=np.array([12, 5, 0, 40]), keys=keys)
    np.testing.assert_array_equal(features["steps"][..., :12, 0], waveform)
    np.testing.assert_array_equal(features["steps"][..., 12:, 0], np.zeros((4, 3)))
    np.testing.assert_array_equal(features["num_steps"], [12, 5, 1, 12])
    for settings in (dict(), dict(num_samples=12)):
        np.testing.assert_array_equal(frontend(waveform, **settings)["num_steps"], [12] * 4)


@pytest.mark.parametrize("norm, scale", [("ortho", 30**-0.5), ("backward", 1), ("forward", 1 / 30)])
def test_magnitudes_match_the_dft_sum(norm, scale):
    frontend = frontends.create("fft_magnitude", length_samples=30, norm=norm)
    waveform = noise(2, 20)
    expected = np.zeros((2, 15))
    for row in range(2):
        for k in range(15):  # bin 15 is the Nyquist bin
            exponentials = np.exp(-2j * np.pi * k * np.arange(20) / 30)
            expected[row, k] = abs(np.sum(waveform[row] * exponentials)) * scale
    np.testing.assert_allclose(frontend(waveform), expected, atol=1e-6 * expected.max())


def test_magnitudes_of_an_odd_length():
    frontend = frontends.create("fft_magnitude", length_samples=0, norm="backward")
    waveform = noise(31)
    expected = np.abs(np.fft.rfft(waveform.astype(np.float64)))[:15]
    np.testing.assert_allclose(frontend(waveform), expected, atol=1e-5)


def test_paper_has_442000_magnitudes():
    frontend = frontends.create("fft_magnitude")
    assert frontend.output_shape(441_000) == (442_000,)
    shape = jax.eval_shape(frontend, jax.ShapeDtypeStruct((4, 882_000), jnp.float32)).shape
    assert shape == (4, 442_000)
    raw = frontends.create("raw", length_samples=884_000)
    assert raw.output_shape(441_000) == {"steps": (884_000, 1), "num_steps": ()}


def test_magnitudes_do_not_depend_on_the_position_in_the_padding():
    keys = jax.random.split(jax.random.key(1), 20)
    waveforms = np.tile(noise(300), (20, 1))
    padded = frontends.create("raw", length_samples=1000)(waveforms, keys=keys)["steps"][..., 0]
    assert len(np.unique(np.asarray(padded), axis=0)) > 15
    magnitudes = frontends.create("fft_magnitude", length_samples=1000)
    expected = magnitudes(waveforms)
    np.testing.assert_allclose(magnitudes(padded), expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("num_samples, chunk", [(12, 3), (14, 5), (7, 7), (5, 1)])
def test_chunks_match_naive_loops(num_samples, chunk):
    waveform = noise(3, num_samples)
    num_real = np.array([num_samples, chunk + 1, 0])
    features = frontends.create("chunks", chunk_samples=chunk)(waveform, num_samples=num_real)
    num_steps = num_samples // chunk
    assert features["steps"].shape == (3, num_steps, chunk)
    for step in range(num_steps):
        for k in range(chunk):
            np.testing.assert_array_equal(
                features["steps"][:, step, k], waveform[:, step * chunk + k]
            )
    for row, real in enumerate(num_real):
        expected = sum(step * chunk < real for step in range(num_steps))
        assert features["num_steps"][row] == max(1, expected)


def test_chunk_shapes_match_those_of_goel():
    for chunk, steps in ((300, 294), (100, 882)):
        frontend = frontends.create("chunks", chunk_samples=chunk)
        assert frontend.output_shape(88_200) == {"steps": (steps, chunk), "num_steps": ()}
