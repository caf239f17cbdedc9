"""Image front ends compared with naive loops."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from irec_jax import frontends


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def resized(image, size):
    """Resize bilinearly with half-pixel centres and without antialiasing, in float64."""
    positions = (np.arange(size) + 0.5) * len(image) / size - 0.5
    grid = np.meshgrid(positions, positions, indexing="ij")
    return ndimage.map_coordinates(image.astype(np.float64), grid, order=1, mode="nearest")


def naive_stacked(waveform, side, size):
    image = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            k = side * row + column
            sample = float(waveform[k]) if k < len(waveform) else 0.0
            image[row, column] = round(127.5 * (min(max(sample, -1), 1) + 1))
    return resized(image, size) / 255


def naive_recurrence(waveform, exponent, points, size, pooling):
    """Return the maxima of blocks of the plot of all samples."""
    samples = np.zeros(2**exponent)
    samples[: len(waveform)] = waveform[: 2**exponent]
    window = 2**exponent // points
    if pooling == "1d":
        samples = np.array([max(samples[i * window :][:window]) for i in range(points)])
        window = 1
    plot = np.abs(samples[:, None] - samples[None, :]) / 2
    pooled = np.zeros((points, points))
    for i in range(points):
        for j in range(points):
            block = plot[i * window : (i + 1) * window, j * window : (j + 1) * window]
            pooled[i, j] = block.max()
    return resized(pooled, size)


@pytest.mark.parametrize("num_samples", [1, 100, 103, 700])
@pytest.mark.parametrize("settings", [dict(size=12), dict(side=11, size=8), dict(side=6, size=9)])
def test_stacked_matches_naive_loops(num_samples, settings):
    waveform = 1.2 * noise(num_samples)
    result = frontends.create("stacked", **settings)(waveform)
    side = settings.get("side") or int(np.ceil(np.sqrt(num_samples)))
    expected = naive_stacked(waveform, side, settings["size"])
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 100, 300])
@pytest.mark.parametrize(
    "settings",
    [
        dict(exponents=(7, 8), points=32, size=20, pooling="1d"),
        dict(exponents=(7, 8), points=32, size=20, pooling="2d"),
        dict(exponents=(5,), points=32, size=40, pooling="2d"),
        dict(exponents=(8, 6, 4), points=1, size=2, pooling="2d"),
    ],
    ids=str,
)
def test_recurrence_matches_naive_loops(num_samples, settings):
    waveform = noise(num_samples)
    result = frontends.create("recurrence", **settings)(waveform)
    options = {k: v for k, v in settings.items() if k != "exponents"}
    for image, exponent in zip(result, settings["exponents"], strict=True):
        expected = naive_recurrence(waveform, exponent, **options)
        np.testing.assert_allclose(image, expected, atol=1e-6)


def test_image_values_are_between_0_and_1():
    square_wave = np.where(np.arange(4096) % 512 < 256, 1.0, -1.0).astype(np.float32)
    for name, settings in (
        ("stacked", dict(size=30)),
        ("recurrence", dict(exponents=(12,), points=64, size=30)),
        ("recurrence", dict(exponents=(12,), points=64, size=30, pooling="2d")),
    ):
        image = np.asarray(frontends.create(name, **settings)(square_wave))
        assert image.min() == 0 and image.max() == 1
    silence = np.zeros(4096, np.float32)
    grey = frontends.create("stacked", size=30)(silence)
    np.testing.assert_allclose(grey, 128 / 255, rtol=1e-6)
    np.testing.assert_array_equal(frontends.create("recurrence", size=30)(silence), 0)


def test_batch_computed_in_groups_matches_single_calls():
    waveforms = noise(2, 5, 4096)  # ten images, in groups of four and a remainder of two
    settings = dict(exponents=(10, 12), points=64, size=30)
    for name, options in (("stacked", dict(size=30)), ("recurrence", settings)):
        frontend = frontends.create(name, **options)
        batched = jax.jit(frontend)(waveforms)
        assert batched.shape == (2, 5, *frontend.output_shape(4096))
        for row in np.ndindex(2, 5):
            np.testing.assert_allclose(batched[row], frontend(waveforms[row]), atol=1e-6)


def test_shapes_match_those_of_goel():
    assert frontends.create("stacked", side=367).output_shape(132_300) == (150, 150)
    assert frontends.create("recurrence").output_shape(132_300) == (2, 150, 150)
    shapes = frontends.create("image_and_chunks").output_shape(88_200)
    assert shapes == {"image": (2, 150, 150), "steps": (294, 300), "num_steps": ()}
    stacked = frontends.create("image_and_chunks", image="stacked", chunk_samples=100)
    assert stacked.output_shape(88_200)["image"] == (150, 150)
    assert stacked.output_shape(88_200)["steps"] == (882, 100)


@pytest.mark.parametrize("image", ["stacked", "recurrence"])
def test_image_and_chunks_matches_its_parts(image):
    options = dict(
        stacked=dict(side=40, size=16),
        recurrence=dict(exponents=(9,), points=16, size=16, pooling="2d"),
    )[image]
    waveform, num_samples = noise(3, 1000), np.array([1000, 10, 550])
    frontend = frontends.create("image_and_chunks", image=image, chunk_samples=70, **options)
    features = frontend(waveform, num_samples=num_samples)
    np.testing.assert_array_equal(features["image"], frontends.create(image, **options)(waveform))
    chunks = frontends.create("chunks", chunk_samples=70)(waveform, num_samples=num_samples)
    for key in ("steps", "num_steps"):
        np.testing.assert_array_equal(features[key], chunks[key])
