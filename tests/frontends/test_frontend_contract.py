"""Contract of all front ends: shapes, batching, gradients, settings and messages."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax import frontends
from irec_jax.augment import Augment
from irec_jax.errors import UserError

NUM_SAMPLES = 700
# At least one entry for every front end.
SMALL = [
    ("log_mel", dict(frame_length=256, hop_length=100, num_mels=16)),
    ("raw", dict(length_samples=901)),
    ("raw", dict(padding="mask")),
    ("fft_magnitude", dict(length_samples=1000)),
    ("chunks", dict(chunk_samples=30)),
    ("stacked", dict(side=9, size=20)),
    ("recurrence", dict(exponents=[9, 10], points=16, size=20, pooling="2d")),
    ("image_and_chunks", dict(exponents=(9,), points=16, size=12, chunk_samples=50)),
    ("spectrogram_db", dict(frame_length=64, hop_length=30, num_bins=32, num_frames=25)),
    ("stored", dict(num_bins=28, num_stored_frames=25, num_frames=30, post_db=-60.0)),
]
all_small = pytest.mark.parametrize("name, settings", SMALL, ids=str)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def extreme_waveforms():
    """Return silence, constants, alternating full scale, and a single non-zero sample."""
    alternating = np.where(np.arange(NUM_SAMPLES) % 2, 1.0, -1.0)
    rows = [np.zeros(NUM_SAMPLES), np.full(NUM_SAMPLES, 0.3), np.ones(NUM_SAMPLES)]
    return np.stack([*rows, -rows[2], alternating, np.eye(NUM_SAMPLES)[5]]).astype(np.float32)


def assert_same(result, expected, **tolerance):
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for actual_leaf, expected_leaf in zip(
        jax.tree.leaves(result), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(actual_leaf, expected_leaf, **tolerance)


def test_every_front_end_is_tested():
    assert {name for name, _ in SMALL} == set(frontends.FRONTENDS)


@all_small
def test_batched_unbatched_jitted_and_vmapped_calls_agree(name, settings):
    frontend = frontends.create(name, **settings)
    waveform = noise(2, 3, NUM_SAMPLES)
    num_samples = np.array([[NUM_SAMPLES, 0, 1], [NUM_SAMPLES - 1, 333, 30]], np.int32)
    waveform *= np.arange(NUM_SAMPLES) < num_samples[..., None]
    keys = jax.random.split(jax.random.key(0), (2, 3))

    def call(waveform, num_samples, keys):
        return frontend(waveform, num_samples=num_samples, keys=keys)

    batched = call(waveform, num_samples, keys)
    shapes = jax.tree.map(lambda x: x.shape[2:], batched)
    assert shapes == frontend.output_shape(NUM_SAMPLES)
    for leaf in jax.tree.leaves(batched):
        assert leaf.dtype in (jnp.float32, jnp.int32) and leaf.shape[:2] == (2, 3)
        assert np.isfinite(leaf).all()
    mapped = jax.jit(jax.vmap(jax.vmap(call)))
    assert_same(mapped(waveform, num_samples, keys), batched, atol=1e-5)
    example = jax.tree.map(lambda x: x[1, 1], (waveform, num_samples, keys))
    assert_same(call(*example), jax.tree.map(lambda x: x[1, 1], batched), atol=1e-5)
    empty = jax.eval_shape(frontend, waveform[:0])
    assert jax.tree.map(lambda x: x.shape[:2], empty) == jax.tree.map(lambda _: (0, 3), empty)


SPECTROGRAMS = [(name, settings) for name, settings in SMALL if frontends.find(name).axes]


@pytest.mark.parametrize("name, settings", SPECTROGRAMS, ids=str)
def test_axes_are_time_and_frequency_as_they_are_named(name, settings):
    if name == "stored":  # the layout of the front end whose features are stored
        assert frontends.find(name).axes == frontends.find("spectrogram_db").axes
        return
    frontend = frontends.create(name, **settings)
    times = np.arange(NUM_SAMPLES)
    tones = {
        (late, rate): np.where((times >= NUM_SAMPLES // 2) == late, np.sin(rate * times), 0.0)
        for late in (False, True)
        for rate in (0.5, 2.5)  # radians per sample
    }

    def position(late, rate, axis):
        features = np.asarray(frontend(tones[late, rate].astype(np.float32)))
        return np.unravel_index(features.argmax(), features.shape)[frontend.axes.index(axis)]

    for fixed in (False, True):
        assert position(fixed, 0.5, "frequency") < position(fixed, 2.5, "frequency")
    if "time" in frontend.axes:
        for rate in (0.5, 2.5):
            assert position(False, rate, "time") < position(True, rate, "time")
            assert position(False, rate, "frequency") == position(True, rate, "frequency")


@all_small
def test_masks_are_spans_of_the_axes_that_a_front_end_names(name, settings):
    frontend = frontends.create(name, **settings)
    features = frontend(noise(NUM_SAMPLES))
    for masks, axis in (
        (dict(num_time_masks=2, time_mask_frames=3), "time"),
        (dict(num_mel_masks=2, mel_mask_bands=3), "frequency"),
    ):
        augment = Augment(**masks)
        if axis not in (frontend.axes or ()):
            with pytest.raises(UserError, match=f"have no {axis} axis"):
                augment.check_axes(frontend.axes)
            continue
        augment.check_axes(frontend.axes)
        mask = functools.partial(augment.features, features=features, axes=frontend.axes)
        masked = np.asarray(jax.vmap(mask)(jax.random.split(jax.random.key(0), 20)))
        changed = np.moveaxis(masked != np.asarray(features), 1 + frontend.axes.index(axis), 1)
        changed = changed.reshape(*changed.shape[:2], -1)
        assert changed.any() and (changed == changed[..., :1]).all()
        assert changed[..., 0].sum(axis=1).max() <= 6


@all_small
def test_extreme_waveforms_give_finite_features_and_gradients(name, settings):
    frontend = frontends.create(name, **settings)

    def total(waveform):
        features = frontend(waveform)
        floats = [x for x in jax.tree.leaves(features) if x.dtype == jnp.float32]
        return sum(x.sum() for x in floats), floats

    waveforms = np.concatenate([extreme_waveforms(), noise(1, NUM_SAMPLES)])
    gradient, floats = jax.jit(jax.grad(total, has_aux=True))(waveforms)
    assert all(np.isfinite(leaf).all() for leaf in floats)
    assert np.isfinite(gradient).all() and np.abs(gradient[-1]).max() > 0


@all_small
def test_settings_survive_a_json_round_trip(name, settings):
    frontend = frontends.create(name, **settings)
    restored = json.loads(json.dumps(dataclasses.asdict(frontend)))
    assert frontends.create(name, **restored) == frontend
    assert hash(frontends.create(name, **restored)) == hash(frontend)


@all_small
@pytest.mark.usefixtures("unchecked")
def test_invalid_waveforms_are_rejected(name, settings):
    frontend = frontends.create(name, **settings)
    with pytest.raises(AssertionError, match="waveform must hold floats"):
        frontend(np.zeros(NUM_SAMPLES, np.int16))
    with pytest.raises(AssertionError, match="waveform has no samples"):
        frontend(np.zeros((2, 0), np.float32))


@pytest.mark.parametrize(
    "name, settings, message",
    [
        (
            "raw",
            dict(length_samples=-1),
            r"frontend.length_samples=-1: expected an integer",
        ),
        ("raw", dict(length_samples=1e5), r"frontend.length_samples=100000.0"),
        ("raw", dict(padding="zeros"), r"frontend.padding='zeros': expected one of 'silence'"),
        ("raw", dict(lenght_samples=1), r"unknown argument .*did you mean 'length_samples'"),
        ("fft_magnitude", dict(length_samples=True), r"frontend.length_samples=True"),
        ("fft_magnitude", dict(norm=None), r"frontend.norm=None: expected one of 'ortho'"),
        ("chunks", dict(chunk_samples=0), r"frontend.chunk_samples=0: expected an integer >= 1"),
        ("stacked", dict(side=-2), r"frontend.side=-2"),
        ("stacked", dict(size=0), r"frontend.size=0"),
        ("recurrence", dict(exponents=()), r"frontend.exponents=\(\)"),
        ("recurrence", dict(exponents=16), r"frontend.exponents=16"),
        ("recurrence", dict(exponents=(16, 1.5)), r"frontend.exponents=1.5"),
        ("recurrence", dict(exponents=(99,)), r"frontend.exponents=99: expected at most 24"),
        ("recurrence", dict(points=300), r"frontend.points=300: expected a divisor of 2\^16"),
        ("recurrence", dict(exponents=(7,)), r"frontend.points=256: expected a divisor of 2\^7"),
        ("recurrence", dict(size="150"), r"frontend.size='150'"),
        ("recurrence", dict(pooling=2), r"frontend.pooling=2: expected one of '1d', '2d'"),
        ("image_and_chunks", dict(image="raw"), r"frontend.image='raw'"),
        ("spectrogram_db", dict(hop_length=0), r"frontend.hop_length=0"),
        ("spectrogram_db", dict(num_bins=2050), r"frontend.num_bins=2050: .* at most 2049"),
        ("spectrogram_db", dict(floor_db="-100"), r"frontend.floor_db='-100'"),
        ("spectrogram_db", dict(scale_db=0), r"frontend.scale_db=0: expected .* above 0"),
        ("spectrogram_db", dict(window="hanning"), r"frontend.window='hanning'"),
        (
            "stored",
            dict(num_frames=125),
            r"frontend.num_frames=125: .* num_stored_frames=126",
        ),
        ("stored", dict(post_db="-60"), r"frontend.post_db='-60': expected a number in dB"),
        ("image_and_chunks", dict(points=0), r"frontend.points=0"),
        ("image_and_chunks", dict(side=1.0), r"frontend.side=1.0"),
        ("image_and_chunks", dict(chunk_samples="300"), r"frontend.chunk_samples='300'"),
        ("image_and_chunks", dict(side=9), r"frontend.side: .*not used .*recurrence"),
        (
            "image_and_chunks",
            dict(image="stacked", exponents=(9,)),
            r"frontend.exponents: .*not used .*stacked",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_invalid_settings_are_reported_in_one_line(name, settings, message):
    with pytest.raises(UserError, match=message) as error:
        frontends.create(name, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("raw", dict(length_samples=699), r"frontend.length_samples=699 is less than the 700"),
        ("fft_magnitude", dict(length_samples=699), r"frontend.length_samples=699 is less than"),
        ("chunks", dict(chunk_samples=701), r"frontend.chunk_samples=701 is more than the 700"),
        ("image_and_chunks", dict(chunk_samples=701), r"frontend.chunk_samples=701 is more than"),
        (
            "spectrogram_db",
            dict(num_frames=2, hop_length=349),
            r"frontend.num_frames=2 frames of hop_length=349 are too few for the 700 samples",
        ),
        (
            "stored",
            dict(num_bins=20, num_stored_frames=30),
            r"num_bins=20 and num_stored_frames=30 make 600 values, but an example has 700",
        ),
    ],
)
def test_waveforms_of_unsuitable_length_are_rejected(name, settings, message):
    frontend = frontends.create(name, **settings)
    for call in (frontend.output_shape, lambda n: frontend(noise(n))):
        with pytest.raises(UserError, match=message) as error:
            call(NUM_SAMPLES)
        assert "\n" not in str(error.value)


def test_unknown_name_suggests_the_closest_match():
    with pytest.raises(UserError, match="did you mean 'log_mel'"):
        frontends.create("logmel")
    with pytest.raises(UserError, match="did you mean 'recurrence'"):
        frontends.create("recurrent")
