"""Padding, resizing, stacked images and recurrence plots compared with naive loops and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from irec_jax.dsp import padding, recurrence_plot, resize, stacked_image


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("length", [1, 4, 5, 9])
def test_fix_length_pads_or_trims(length):
    signal = noise(2, 5)
    expected = np.concatenate([signal, np.zeros((2, 4), np.float32)], axis=1)[:, :length]
    np.testing.assert_array_equal(padding.fix_length(signal, num_samples=length), expected)


@pytest.mark.parametrize("length", [3, 5, 12])
def test_delay_matches_a_naive_loop(length):
    signal = noise(length + 1, 5)
    start = np.arange(length + 1)
    expected = np.zeros((length + 1, length), np.float32)
    for row in range(length + 1):
        for k in range(5):
            if k + start[row] < length:
                expected[row, k + start[row]] = signal[row, k]
    delayed = jax.jit(lambda s, offsets: padding.delay(s, start=offsets, num_samples=length))(
        signal, start
    )
    np.testing.assert_array_equal(delayed, expected)
    single = padding.delay(signal[1], start=jnp.int32(1), num_samples=length)
    np.testing.assert_array_equal(single, expected[1])


def naive_resize(image, height, width):
    """Interpolate the four neighbours of each position, pixel by pixel, in float64."""
    result = np.zeros((height, width))
    num_rows, num_columns = image.shape
    for p in range(height):
        for q in range(width):
            y = min(max((p + 0.5) * num_rows / height - 0.5, 0), num_rows - 1)
            x = min(max((q + 0.5) * num_columns / width - 0.5, 0), num_columns - 1)
            for row in (int(y), int(y) + 1):
                for column in (int(x), int(x) + 1):
                    weight = (1 - abs(y - row)) * (1 - abs(x - column))
                    if weight:
                        result[p, q] += weight * image[row, column]
    return result


SIZES = [
    ((37, 37), (15, 15)),
    ((16, 16), (16, 16)),
    ((5, 9), (12, 4)),
    ((1, 1), (3, 2)),
    ((2, 50), (1, 1)),
    ((30, 20), (10, 10)),
]


@pytest.mark.parametrize("before, after", SIZES, ids=str)
def test_resize_matches_naive_loops_and_scipy(before, after):
    image = noise(2, *before)
    resized = resize.resize(image, height=after[0], width=after[1])
    assert resized.shape == (2, *after) and resized.dtype == jnp.float32
    positions = np.meshgrid(
        *((np.arange(n) + 0.5) * old / n - 0.5 for old, n in zip(before, after, strict=True)),
        indexing="ij",
    )
    for actual, expected in zip(resized, image.astype(np.float64), strict=True):
        np.testing.assert_allclose(actual, naive_resize(expected, *after), atol=2e-6)
        expected_by_scipy = scipy.ndimage.map_coordinates(
            expected, positions, order=1, mode="nearest"
        )
        np.testing.assert_allclose(actual, expected_by_scipy, atol=2e-6)


def test_resize_matches_opencv_inter_linear():
    # cv2.resize(image, (3, 2), interpolation=cv2.INTER_LINEAR) of float32, by its definition:
    # rows at -0.5 + 0.5 * 4/2 = 0.5 and 2.5, columns at 1/6, 1.5 and 17/6.
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    expected = [[2 + 1 / 6, 3.5, 2 + 17 / 6], [10 + 1 / 6, 11.5, 10 + 17 / 6]]
    np.testing.assert_allclose(resize.resize(image, height=2, width=3), expected, rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_resize_rejects_invalid_sizes():
    with pytest.raises(ValueError, match="width=0"):
        resize.resize(noise(4, 4), height=2, width=0)
    with pytest.raises(AssertionError, match="image must hold floats"):
        resize.resize(np.ones((4, 4), int), height=2, width=2)


def test_smallest_side_is_the_rounded_up_square_root():
    for num_samples in range(1, 300):
        side = stacked_image.smallest_side(num_samples)
        assert (side - 1) ** 2 < num_samples <= side**2
    assert stacked_image.smallest_side(132_300) == 364
    assert stacked_image.smallest_side(10**16 + 1) == 10**8 + 1


@pytest.mark.parametrize("num_samples", [5, 16, 23])
def test_stacked_image_matches_naive_loops(num_samples):
    signal = 1.1 * noise(num_samples)
    expected = np.zeros((4, 4))
    for row in range(4):
        for column in range(4):
            k = 4 * row + column
            sample = signal[k] if k < num_samples else 0.0
            expected[row, column] = min(max(round((float(sample) + 1) * 127.5), 0), 255)
    np.testing.assert_array_equal(stacked_image.stacked_image(signal, side=4), expected)


def test_grey_values_are_rounded_and_clipped():
    signal = np.array([-1.0, 1.0, 0.0, -0.0, 1.5, -7.0, 1 - 1 / 255.5, -1 + 1 / 254.5], np.float32)
    expected = [0, 255, 128, 128, 255, 0, 255, 1, 128]
    np.testing.assert_array_equal(stacked_image.stacked_image(signal, side=3).ravel(), expected)
    gradient = jax.grad(lambda x: stacked_image.stacked_image(x, side=3).sum())(signal)
    np.testing.assert_array_equal(gradient[2:], [127.5, 127.5, 0, 0, 127.5, 127.5])
    # All 16-bit values match rounding in float64.
    values = np.arange(-32768, 32768) / 32768
    grey = stacked_image.stacked_image(values.astype(np.float32), side=256).ravel()
    np.testing.assert_array_equal(grey, np.round((values + 1) * 127.5))


def naive_plot(signal, num_points, pooling):
    """Compare all windows, and all samples of each pair of windows."""
    window = len(signal) // num_points
    plot = np.zeros((num_points, num_points))
    parts = [signal[i * window : (i + 1) * window] for i in range(num_points)]
    for i in range(num_points):
        for j in range(num_points):
            if pooling == "1d":
                plot[i, j] = abs(max(parts[i]) - max(parts[j])) / 2
            else:
                plot[i, j] = max(abs(a - b) for a in parts[i] for b in parts[j]) / 2
    return plot


@pytest.mark.parametrize("pooling", recurrence_plot.POOLINGS)
@pytest.mark.parametrize("num_samples, num_points", [(48, 8), (40, 40), (36, 1), (64, 4)])
def test_recurrence_plot_matches_naive_loops(num_samples, num_points, pooling):
    signals = noise(2, num_samples)
    options = dict(num_points=num_points, pooling=pooling)
    plots = jax.jit(lambda x: recurrence_plot.recurrence_plot(x, **options))(signals)
    for plot, signal in zip(plots, signals.astype(np.float64), strict=True):
        np.testing.assert_allclose(plot, naive_plot(signal, num_points, pooling), atol=1e-7)


def test_recurrence_plot_of_extremes():
    signal = np.where(np.arange(16) < 8, 1.0, -1.0).astype(np.float32)
    steps = np.kron([[0, 1], [1, 0]], np.ones((2, 2)))
    for pooling in recurrence_plot.POOLINGS:
        plot = recurrence_plot.recurrence_plot(signal, num_points=4, pooling=pooling)
        np.testing.assert_array_equal(plot, steps)
    alternating = np.where(np.arange(16) % 2, 1.0, -1.0).astype(np.float32)
    for pooling, expected in (("1d", 0), ("2d", 1)):
        plot = recurrence_plot.recurrence_plot(alternating, num_points=4, pooling=pooling)
        np.testing.assert_array_equal(plot, np.full((4, 4), expected))


@pytest.mark.parametrize("pooling", recurrence_plot.POOLINGS)
def test_gradient_of_a_recurrence_plot(pooling):
    signal, direction = noise(2, 24)

    def total(signal):
        plot = recurrence_plot.recurrence_plot(signal, num_points=6, pooling=pooling)
        return jnp.sum(plot * noise(6, 6, seed=1))

    gradient = jax.grad(total)(signal)
    numerical = (total(signal + 1e-3 * direction) - total(signal - 1e-3 * direction)) / 2e-3
    np.testing.assert_allclose(np.vdot(gradient, direction), numerical, rtol=1e-2)
    assert np.isfinite(jax.grad(total)(np.zeros(24, np.float32))).all()


def test_recurrence_plot_rejects_invalid_options():
    with pytest.raises(ValueError, match=r"num_points=5: expected a divisor of 24"):
        recurrence_plot.recurrence_plot(noise(24), num_points=5)
    with pytest.raises(ValueError, match="pooling='3d'"):
        recurrence_plot.recurrence_plot(noise(24), num_points=4, pooling="3d")
