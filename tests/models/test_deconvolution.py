"""Deconvolution compared with loops in NumPy, and where its pictures light up."""

import numpy as np
import pytest

from irec_jax import frontends, models
from irec_jax.models import deconvolution

RATE_HZ = 22_050


def random_params(filters, *, seed=0, prelu=False):
    """Return parameters of convolutional blocks with these numbers of filters."""
    rng, params, channels = np.random.default_rng(seed), {}, 1
    for block, count in enumerate(filters):
        for layer in (2 * block, 2 * block + 1):
            kernel = 0.3 * rng.normal(size=(3, 3, channels, count)).astype(np.float32)
            bias = rng.normal(size=count).astype(np.float32)
            params[f"Conv_{layer}"] = {"kernel": kernel, "bias": bias}
            if prelu:
                slope = rng.uniform(-0.5, 0.5, count).astype(np.float32)
                params[f"Activation_{layer}"] = {"negative_slope": slope}
            channels = count
    return params


def convolve(x, kernel):
    """Return the cross-correlation of (H, W, C), padded by 2, in loops."""
    padded = np.pad(x, ((2, 2), (2, 2), (0, 0)))
    y = np.zeros((x.shape[0] + 2, x.shape[1] + 2, kernel.shape[-1]))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = np.einsum("abc,abcd->d", padded[i : i + 3, j : j + 3], kernel)
    return y


def convolve_transposed(y, kernel):
    """Add each value of (H, W, D), times the kernel, to where it came from."""
    padded = np.zeros((y.shape[0] + 2, y.shape[1] + 2, kernel.shape[2]))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            padded[i : i + 3, j : j + 3] += kernel @ y[i, j]
    return padded[2:-2, 2:-2]


def rectify(x, kind, params):
    if kind == "tanh":
        return np.tanh(x)
    slope = {"relu": 0.0, "lrelu_0.33": 0.33}.get(kind)
    return np.where(x >= 0, x, (params["negative_slope"] if slope is None else slope) * x)


@pytest.mark.parametrize("kind", ["relu", "lrelu_0.33", "prelu", "tanh"])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_one_block_equals_a_numpy_version(kind, pooling):
    """The only block of a network is pooled globally."""
    params = random_params([4], prelu=kind == "prelu")
    features = np.random.default_rng(1).normal(size=(8, 9)).astype(np.float32)
    activations = [params.get(f"Activation_{i}") for i in range(2)]
    x = features[..., None]
    for i in range(2):
        layer = params[f"Conv_{i}"]
        x = rectify(convolve(x, layer["kernel"]) + layer["bias"], kind, activations[i])
    pooled = x.max((0, 1)) if pooling == "max" else x.mean((0, 1))
    order = np.argsort(-abs(pooled))[:3]
    model = models.create("convnet", num_classes=2, filters=(4,), activation=kind, pooling=pooling)
    units = deconvolution.deconvolve(model, params, features, num_units=3)
    assert [unit.channel for unit in units] == order.tolist()
    for unit in units:
        back = np.zeros_like(x)
        if pooling == "max":
            i, j = np.unravel_index(x[..., unit.channel].argmax(), x.shape[:2])
            back[i, j, unit.channel] = x[i, j, unit.channel]
        else:
            back[..., unit.channel] = pooled[unit.channel] / x[..., 0].size
        for i in (1, 0):
            back = rectify(back, kind, activations[i])
            back = convolve_transposed(back, params[f"Conv_{i}"]["kernel"])
        assert unit.activation == pytest.approx(pooled[unit.channel], rel=1e-4)
        np.testing.assert_allclose(unit.picture, back[..., 0], rtol=1e-4, atol=1e-4)


def test_switches_of_a_block_are_those_of_its_regions():
    """The first of two blocks is pooled by 3 x 3; rows and columns that remain are left out."""
    x = np.random.default_rng(2).normal(size=(7, 11, 2)).astype(np.float32)
    pooled, switches = (np.asarray(a) for a in deconvolution.pool(x, (3, 3)))
    expected = np.zeros_like(x)
    for i in range(2):
        for j in range(3):
            for c in range(2):
                region = x[3 * i : 3 * i + 3, 3 * j : 3 * j + 3, c]
                assert pooled[i, j, c] == region.max()
                a, b = np.unravel_index(region.argmax(), (3, 3))
                expected[3 * i + a, 3 * j + b, c] = region.max()
    unpooled = deconvolution.unpool(pooled, switches, (3, 3))
    np.testing.assert_array_equal(unpooled, expected)


def harmonic_sound(*, start_s, end_s, f0_hz=440.0, seconds=2.0):
    """Return six harmonics between two times in silence (T,)."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * f0_hz * k * time_s) / k for k in range(1, 7))
    fade = np.clip(np.minimum(time_s - start_s, end_s - time_s) / 0.02, 0, 1)
    return (0.3 * tones * fade).astype(np.float32)


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_pictures_light_up_at_an_isolated_harmonic_sound(num_blocks):
    """Its first unit detects horizontal ridges; silence is zero, like the padding."""
    frontend = frontends.create("log_mel", offset=1.0)
    features = np.asarray(frontend(harmonic_sound(start_s=0.8, end_s=1.2)))
    filters = [2] * num_blocks + [4]  # the last block would find a single position
    params = random_params(filters)
    params = {
        name: {"kernel": layer["kernel"], "bias": 0 * layer["bias"]}
        for name, layer in params.items()
    }
    ridge = np.array([[-1, 2, -1]] * 3, np.float32)  # frames x bands
    params["Conv_0"]["kernel"][..., 0, :] = ridge[..., None] * np.array([1, 0.5])
    params["Conv_1"]["kernel"][:] = np.eye(2) * (np.arange(9).reshape(3, 3, 1, 1) == 4)
    model = models.create("convnet", num_classes=2, filters=filters, activation="relu")
    units = deconvolution.deconvolve(model, params, features, num_units=1)
    picture = next(u.picture for u in units if u.block == num_blocks)
    times_s = np.arange(len(features)) * frontend.hop_length / RATE_HZ
    # Two frames, and two kernels and a region of each block, reach beyond the sound.
    reach = 2 + sum(4 * 3**block + 3 ** (block + 1) for block in range(num_blocks))
    reach_s = reach * frontend.hop_length / RATE_HZ
    during = (times_s > 0.8 - reach_s) & (times_s < 1.2 + reach_s)
    assert np.abs(picture[during]).max() > 0 and not during.all()
    np.testing.assert_array_equal(picture[~during], 0)
    if num_blocks == 1:
        # Positive at the harmonics, and nothing where there is no sound.
        middle = np.abs(times_s - 1.0) < 0.1
        lit, sound = picture[middle].mean(0), features[middle].mean(0)
        assert lit[sound.argmax()] > 0.5 * lit.max()
        near = np.convolve(sound > 0.05, np.ones(9), mode="same") > 0
        assert not near.all()
        np.testing.assert_allclose(lit[~near], 0, atol=0.01 * lit.max())


def test_features_of_a_wrong_shape_are_rejected(unchecked):
    model = models.create("convnet", num_classes=2, filters=(2,))
    with pytest.raises(ValueError, match="features: expected non-empty"):
        deconvolution.deconvolve(model, {}, np.zeros((1, 4, 4)))
