"""Decibels compared with librosa, and round trips."""

import jax
import librosa
import numpy as np
import pytest

from irec_jax.dsp import decibels

LEVELS = np.geomspace(1e-9, 1e3, 25).astype(np.float32).reshape(5, 5)


@pytest.mark.parametrize("reference", [1.0, 0.2])
def test_levels_match_librosa(reference):
    np.testing.assert_allclose(
        decibels.power_to_db(LEVELS, reference=reference),
        librosa.power_to_db(LEVELS, ref=reference, amin=1e-10 * reference, top_db=None),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        decibels.amplitude_to_db(LEVELS, reference=reference, floor_db=-200.0),
        librosa.amplitude_to_db(LEVELS, ref=reference, amin=1e-10, top_db=None),
        atol=1e-4,
    )


def test_decibels_round_trip():
    db = decibels.power_to_db(LEVELS, reference=3.0)
    np.testing.assert_allclose(decibels.db_to_power(db, reference=3.0), LEVELS, rtol=1e-4)
    db = decibels.amplitude_to_db(LEVELS, reference=3.0, floor_db=-240.0)
    np.testing.assert_allclose(decibels.db_to_amplitude(db, reference=3.0), LEVELS, rtol=1e-4)


def test_silence_is_the_floor_without_a_gradient():
    levels = np.array([0.0, 1e-30, 1e-8, 1.0], np.float32)
    np.testing.assert_allclose(
        decibels.power_to_db(levels, floor_db=-60.0), [-60, -60, -60, 0], atol=1e-5
    )
    np.testing.assert_allclose(
        decibels.amplitude_to_db(-levels, floor_db=-120.0), [-120, -120, -120, 0], atol=1e-5
    )
    gradient = jax.grad(lambda p: decibels.power_to_db(p, floor_db=-60.0).sum())(levels)
    np.testing.assert_allclose(gradient, [0, 0, 0, 10 / np.log(10)], rtol=1e-5)


@pytest.mark.parametrize("reference", [1.0, np.float32(0.5)])
def test_dtype_is_kept(reference):
    for convert in (decibels.power_to_db, decibels.amplitude_to_db, decibels.db_to_power):
        assert convert(LEVELS / 100, reference=reference).dtype == np.float32


@pytest.mark.usefixtures("unchecked")
def test_integers_are_rejected():
    with pytest.raises(AssertionError, match="power must hold floats"):
        decibels.power_to_db(np.ones(3, np.int16))
