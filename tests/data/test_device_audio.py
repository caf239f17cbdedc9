"""Batches that are cut on the device from a store, compared with those of the host, bit for bit."""

import dataclasses

import jax
import numpy as np
import pytest
from example_stems import make_tracks

from irec_jax import data
from irec_jax.data import device_audio


def assert_same_batches(batches, steps, monkeypatch):
    # Small blocks, so that windows touch several of them.
    monkeypatch.setattr(device_audio, "BLOCK_SAMPLES", 64)
    store = batches.create_store()
    assert store["audio"].nbytes == batches.store_bytes
    cut = jax.jit(batches.cut)
    for step in steps:
        expected, actual = batches[step], cut(store, batches.positions(step))
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert actual[key].dtype == value.dtype, key
            np.testing.assert_array_equal(actual[key], value, err_msg=key)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(hop_samples=777, class_weights=np.array([0.5, 2.0, 3.0])),
        dict(window_samples=8800, shuffle=False),  # most clips are shorter
        dict(batch_size=8, process_count=2, process_index=1),
    ],
)
def test_windows_of_clips(tone_clips, monkeypatch, settings):
    defaults = dict(window_samples=2000, batch_size=7, seed=5)
    batches = data.Batches(tone_clips(num_clips=5), **(defaults | settings))
    last = batches.steps_per_epoch - 1
    assert_same_batches(batches, (0, 1, last), monkeypatch)
    # The last batch has padding, of which the host and the device make the same.
    assert batches[last]["mask"].min() == 0


@pytest.mark.parametrize(
    "settings",
    [
        dict(remix=0.5),
        dict(remix=0.7, channels="random", stems=("vocals", "bass", "other")),
        dict(shuffle=False),
        dict(shuffle=False, batch_size=8, process_count=2, process_index=1),
    ],
)
def test_excerpts_of_stems(monkeypatch, settings):
    _, tracks = make_tracks()
    batches = data.StemBatches(
        tracks, **(dict(window_samples=100, batch_size=6, seed=3) | settings)
    )
    steps = (0, 2, 3) if not batches.shuffle else (0, 1, 2, 33)
    assert_same_batches(batches, steps, monkeypatch)


def test_full_scale_samples_and_their_mean_survive(monkeypatch):
    extremes = np.array([[-32768, -32768], [32767, 32767], [32767, 32766], [-3, -2]], np.int16)
    stems = {name: np.tile(extremes, (40, 1)) for name in ("drums", "bass", "other", "vocals")}
    tracks = data.Tracks.from_arrays({"loud": stems, "louder": stems})
    batches = data.StemBatches(tracks, window_samples=60, batch_size=4, channels="random", remix=1)
    assert_same_batches(batches, (0, 1), monkeypatch)


def test_positions_are_iterated_like_batches(tone_clips):
    batches = data.Batches(tone_clips(num_clips=5), window_samples=2000, batch_size=7)
    positions = batches.iterate(2, positions=True)
    for step in (2, 3):
        actual, expected = next(positions), batches.positions(step)
        np.testing.assert_array_equal(actual["clip"], expected["clip"])
        np.testing.assert_array_equal(actual["start"], expected["start"])


def test_splits_of_similar_size_have_stores_of_one_shape(tone_clips):
    shapes = []
    for count in (60, 61):
        batches = data.Batches(tone_clips(num_clips=count), window_samples=2000, batch_size=7)
        shapes.append(jax.tree.map(np.shape, batches.create_store()))
    assert shapes[0] == shapes[1]
    sizes = [device_audio.round_up(n) for n in range(1, 3000)]
    assert all(n <= size <= max(n + 1, 1.125 * n) for n, size in enumerate(sizes, 1))
    assert dataclasses.replace(batches, seed=1).create_store().keys() == shapes[0].keys()
