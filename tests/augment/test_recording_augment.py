"""Recording conditions: filters, rooms, noise, distortion and speed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from irec_jax.augment import Augment, recording
from irec_jax.errors import UserError

RATE_HZ = 8000
KEYS = jax.random.split(jax.random.key(3), 64)
TIMES_S = np.arange(RATE_HZ) / RATE_HZ
WAVE = np.sin(2 * np.pi * 440 * TIMES_S).astype(np.float32)


def convolved(wave=WAVE, **settings):
    function = jax.vmap(
        lambda key: recording.convolve(key, jnp.asarray(wave), sample_rate_hz=RATE_HZ, **settings)
    )
    return np.asarray(function(KEYS))


def levels_db(waves):
    return 20 * np.log10(np.sqrt(np.mean(np.square(waves), axis=-1)) / np.sqrt(0.5))


def test_without_settings_the_waveform_is_kept():
    np.testing.assert_allclose(convolved(), np.tile(WAVE, (64, 1)), atol=1e-6)


def test_gains_of_the_equaliser_are_within_the_range_and_differ_by_frequency():
    low, high = (
        levels_db(convolved(np.sin(2 * np.pi * hz * TIMES_S).astype(np.float32), equaliser_db=9.0))
        for hz in (125.0, 2000.0)
    )
    for gains_db in (low, high):
        assert np.abs(gains_db).max() < 9.2
        assert gains_db.min() < -5 and gains_db.max() > 5
    assert abs(np.corrcoef(low, high)[0, 1]) < 0.4


def test_the_band_limit_is_that_of_butterworth_filters():
    """Compare the attenuation of an impulse's spectrum with scipy's filters of fourth order."""
    impulse = np.zeros(RATE_HZ, np.float32)
    impulse[RATE_HZ // 2] = 1.0
    key = jax.random.key(1)
    result = recording.convolve(key, jnp.asarray(impulse), sample_rate_hz=RATE_HZ, band_limit=1.0)
    response = np.abs(np.fft.rfft(np.asarray(result)))
    hz = np.fft.rfftfreq(RATE_HZ, 1 / RATE_HZ)
    passed = hz[response > np.sqrt(0.5)]
    assert 40 <= passed.min() <= 351  # the cut-off frequency is where the power is halved
    _, expected = scipy.signal.freqs(
        *scipy.signal.butter(4, passed.min(), "high", analog=True), worN=hz[1 : int(passed.min())]
    )
    measured = response[1 : int(passed.min())]
    np.testing.assert_allclose(measured, np.abs(expected), atol=0.03)


def test_rooms_add_a_decaying_tail_with_their_probability():
    impulse = np.zeros(RATE_HZ, np.float32)
    impulse[0] = 1.0
    responses = convolved(impulse, room=0.5)
    np.testing.assert_allclose(responses[:, 0], 1.0, atol=0.5)
    tails = np.square(responses[:, 1:]).sum(axis=1)
    assert 0.3 < np.mean(tails > 1e-6) < 0.7
    wet = responses[tails > 1e-6]
    early, late = (np.square(wet[:, a:b]).sum(axis=1) for a, b in ((1, 400), (2000, 2400)))
    assert np.all(early > late)
    assert 10 * np.log10(tails.max()) < 3.1


def test_half_of_the_clips_have_noise_up_to_its_level():
    noise = convolved(noise_db=-20.0) - WAVE
    levels = levels_db(noise)
    assert 0.3 < np.mean(levels > -61) < 0.7
    assert -30 < levels.max() < -19.5
    silent = convolved(np.zeros(100, np.float32), noise_db=0.0)
    np.testing.assert_array_equal(silent, 0.0)


def test_distortion_keeps_the_peak_and_adds_harmonics():
    waves = np.asarray(
        jax.vmap(lambda key: recording.distort(key, jnp.asarray(WAVE), probability=0.5))(KEYS)
    )
    np.testing.assert_allclose(np.abs(waves).max(axis=1), np.abs(WAVE).max(), rtol=1e-4)
    third = np.abs(np.fft.rfft(waves, axis=1))[:, 1320]
    assert 0.3 < np.mean(third > 5) < 0.7


@pytest.mark.parametrize("semitones", [1.0, 3.0])
def test_speed_shifts_the_pitch_within_its_range(semitones):
    waves = np.asarray(
        jax.vmap(lambda key: recording.change_speed(key, jnp.asarray(WAVE), semitones=semitones))(
            KEYS
        )
    )
    peaks_hz = np.abs(np.fft.rfft(waves * np.hanning(RATE_HZ), axis=1)).argmax(axis=1)
    shifts = 12 * np.log2(peaks_hz / 440)
    assert np.abs(shifts).max() <= semitones + 0.05
    assert shifts.min() < -0.5 * semitones and shifts.max() > 0.5 * semitones


def test_augment_applies_all_conditions_under_jit_and_reports_invalid_ones():
    settings = dict(speed_semitones=1.0, distortion=0.5, equaliser_db=6.0, band_limit=0.3, room=0.5)
    augment = Augment(**settings, noise_db=-10.0, sample_rate_hz=RATE_HZ)
    assert augment.changes_audio and not Augment(num_mel_masks=1).changes_audio
    wave = jnp.asarray(WAVE)
    first, second = (jax.jit(augment.waveform)(key, wave) for key in KEYS[:2])
    assert np.isfinite(first).all() and np.abs(first - second).max() > 0.01
    np.testing.assert_allclose(first, augment.waveform(KEYS[0], wave), atol=1e-4)
    with pytest.raises(UserError, match="augment.room=1.5: expected a probability"):
        Augment(room=1.5)
    with pytest.raises(UserError, match="augment.noise_db=-80"):
        Augment(noise_db=-80.0)
