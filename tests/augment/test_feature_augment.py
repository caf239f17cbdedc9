"""Augmentation of waveforms and features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irec_jax.augment import Augment
from irec_jax.errors import UserError

KEYS = jax.random.split(jax.random.key(0), 200)


def test_augmentation_is_off_by_default():
    wave, features = jnp.linspace(-1, 1, 50), jnp.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(Augment().waveform(KEYS[0], wave), wave)
    np.testing.assert_array_equal(Augment().features(KEYS[0], features, None), features)


def test_gain_is_within_its_range_and_polarity_inverts_half():
    augment = Augment(gain_db=6.0, polarity=True)
    factor = jax.vmap(augment.waveform, (0, None))(KEYS, jnp.ones(1))[:, 0]
    levels_db = 20 * np.log10(np.abs(factor))
    assert levels_db.min() >= -6.001 and levels_db.max() <= 6.001
    assert levels_db.min() < -4 and levels_db.max() > 4
    assert 0.35 < np.mean(np.asarray(factor) < 0) < 0.65


def test_masks_are_spans_of_frames_or_bands_set_to_the_mean():
    features = jnp.arange(20.0 * 8).reshape(20, 8)
    for settings, axis in (
        (dict(num_time_masks=1, time_mask_frames=5), 0),
        (dict(num_mel_masks=1, mel_mask_bands=5), 1),
    ):
        augment = functools.partial(Augment(**settings).features, axes=("time", "frequency"))
        masked = jax.vmap(augment, (0, None))(KEYS, features)
        changed = np.asarray(masked != features)
        spans = changed.all(axis=2 - axis) if axis == 0 else changed.all(axis=1)
        assert (changed == np.expand_dims(spans, 2 - axis)).all()
        assert spans.sum(1).max() == 5 and spans.sum(1).min() == 0
        for row in spans:
            assert np.abs(np.diff(np.pad(row.astype(int), 1))).sum() <= 2
        assert np.allclose(np.asarray(masked)[changed], float(features.mean()))


def test_negative_settings_are_rejected():
    with pytest.raises(UserError, match="augment.num_time_masks"):
        Augment(num_time_masks=-1)
