"""Recording conditions: filters, rooms, noise, distortion and speed."""

import functools

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
    return for_all_keys(
        lambda key: recording.convolve(key, jnp.asarray(wave), sample_rate_hz=RATE_HZ, **settings)
    )


def for_all_keys(function):
    return np.asarray(jax.jit(jax.vmap(function))(KEYS))


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
    settings = dict(sample_rate_hz=RATE_HZ, band_limit=1.0)
    result = jax.jit(functools.partial(recording.convolve, **settings))(key, impulse)
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
    waves = for_all_keys(lambda key: recording.distort(key, jnp.asarray(WAVE), probability=0.5))
    np.testing.assert_allclose(np.abs(waves).max(axis=1), np.abs(WAVE).max(), rtol=1e-4)
    third = np.abs(np.fft.rfft(waves, axis=1))[:, 1320]
    assert 0.3 < np.mean(third > 5) < 0.7


@pytest.mark.parametrize("num_samples, frame_length", [(1000, 160), (960, 160), (100, 160), (7, 1)])
@pytest.mark.parametrize("threshold_db, ratio", [(-30.0, 4.0), (-10.0, 2.0), (-20.0, 1.0)])
def test_compression_equals_a_loop_over_samples(num_samples, frame_length, threshold_db, ratio):
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=num_samples) * np.geomspace(1, 0.01, num_samples)).astype(np.float32)
    frames = [wave[i : i + frame_length] for i in range(0, num_samples, frame_length)]
    levels_db = [10 * np.log10(np.square(frame).sum() / frame_length) for frame in frames]
    gains_db = []
    for level_db in levels_db:
        over_db = level_db - max(levels_db) - threshold_db
        gains_db.append(over_db / ratio - over_db if over_db > 0 else 0.0)
    centres = [i * frame_length + (frame_length - 1) / 2 for i in range(len(frames))]
    gain = 10 ** (np.interp(np.arange(num_samples), centres, gains_db) / 20)
    expected = wave * gain * np.abs(wave).max() / np.abs(wave * gain).max()
    settings = dict(threshold_db=threshold_db, ratio=ratio, frame_length=frame_length)
    result = jax.jit(functools.partial(recording.compress_range, **settings))(wave)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_compression_raises_soft_parts_of_its_share_of_waveforms():
    wave = np.where(TIMES_S < 0.5, WAVE, 0.05 * WAVE).astype(np.float32)
    function = jax.jit(
        jax.vmap(
            lambda key, wave: recording.compress(
                key, wave, sample_rate_hz=RATE_HZ, probability=0.5
            ),
            (0, None),
        )
    )
    waves = np.asarray(function(KEYS, jnp.asarray(wave)))
    np.testing.assert_allclose(np.abs(waves).max(axis=1), np.abs(wave).max(), rtol=1e-4)
    soft = levels_db(waves[:, 5000:]) - levels_db(wave[5000:])
    assert 0.3 < np.mean(soft > 1) < 0.7 and soft.min() > -0.1
    silent = function(KEYS, jnp.zeros(100))
    np.testing.assert_array_equal(silent, 0.0)


@pytest.mark.parametrize("semitones", [1.0, 3.0])
def test_speed_shifts_the_pitch_within_its_range(semitones):
    waves = for_all_keys(
        lambda key: recording.change_speed(key, jnp.asarray(WAVE), semitones=semitones)
    )
    peaks_hz = np.abs(np.fft.rfft(waves * np.hanning(RATE_HZ), axis=1)).argmax(axis=1)
    shifts = 12 * np.log2(peaks_hz / 440)
    assert np.abs(shifts).max() <= semitones + 0.05
    assert shifts.min() < -0.5 * semitones and shifts.max() > 0.5 * semitones


def test_augment_applies_all_conditions_under_vmap_and_reports_invalid_ones():
    settings = dict(speed_semitones=1.0, distortion=0.5, equaliser_db=6.0, band_limit=0.3, room=0.5)
    settings |= dict(stretch=(0.8, 1.0), pitch_semitones=1.0, compression=0.5)
    augment = Augment(**settings, noise_db=-10.0, sample_rate_hz=RATE_HZ)
    assert augment.changes_audio and not Augment(num_mel_masks=1).changes_audio
    wave = jnp.asarray(WAVE)
    first, second = (jax.jit(augment.waveform)(key, wave) for key in KEYS[:2])
    assert np.isfinite(first).all() and np.abs(first - second).max() > 0.01
    both = jax.jit(jax.vmap(augment.waveform, (0, None)))(KEYS[:2], wave)
    np.testing.assert_allclose(both, [first, second], atol=1e-4)
    with pytest.raises(UserError, match="augment.room=1.5: expected a probability"):
        Augment(room=1.5)
    with pytest.raises(UserError, match="augment.noise_db=-80"):
        Augment(noise_db=-80.0)
    with pytest.raises(UserError, match=r"augment.stretch=\(0.8, 1.2\): expected the smallest"):
        Augment(stretch=(0.8, 1.2))
    with pytest.raises(UserError, match="augment.mix=2: expected a probability"):
        Augment(mix=2)


@pytest.mark.parametrize(
    "settings, changes_pitch",
    [(dict(stretch=(0.6, 0.9)), False), (dict(pitch_semitones=3.0), True)],
)
def test_stretch_keeps_the_pitch_and_a_pitch_shift_the_tempo(settings, changes_pitch):
    """A tone with a pulse at half of the length: its frequency and the place of the pulse."""
    wave = np.where(np.abs(TIMES_S - 0.4) < 0.1, WAVE, 0.1 * WAVE).astype(np.float32)
    augment = jax.jit(jax.vmap(Augment(**settings).waveform, (0, None)))
    waves = np.asarray(augment(KEYS[:16], jnp.asarray(wave)))
    assert waves.shape == (16, RATE_HZ)
    peaks_hz = np.abs(np.fft.rfft(waves * np.hanning(RATE_HZ), axis=1)).argmax(axis=1)
    shifts = 12 * np.log2(peaks_hz / 440)
    power = np.square(waves)
    centres_s = (np.where(power > 0.1, power, 0) * TIMES_S).sum(axis=1)
    centres_s /= np.where(power > 0.1, power, 0).sum(axis=1)
    if changes_pitch:
        assert np.abs(shifts).max() < 3.1 and shifts.min() < -1 and shifts.max() > 1
        np.testing.assert_allclose(centres_s, 0.4, atol=0.03)
    else:
        np.testing.assert_allclose(shifts, 0.0, atol=0.1)
        rates = 0.4 / centres_s
        assert 0.57 < rates.min() < 0.75 < rates.max() < 0.93


def test_mixtures_are_sums_of_neighbours_with_the_labels_of_both():
    rng = np.random.default_rng(0)
    waves, labels = rng.normal(size=(64, 50)).astype(np.float32), np.eye(64, dtype=np.float32)
    mask = np.ones(64, np.float32)
    mask[63] = 0  # a padding example
    augment = Augment(mix=0.5, mix_db=12.0)
    mixed, new_labels = jax.jit(augment.mixture)(KEYS, jnp.asarray(waves), labels, mask)
    gains = []
    for i, (row, new) in enumerate(zip(np.asarray(mixed), np.asarray(new_labels), strict=True)):
        j = i + 1 if i % 2 == 0 else i - 1
        (own, added), residual, *_ = np.linalg.lstsq(waves[[i, j]].T, row, rcond=None)
        assert residual[0] < 1e-8
        np.testing.assert_allclose(np.abs(row).max(), np.abs(waves[i]).max(), rtol=1e-5)
        gains.append(added / own)
        expected = labels[i] + (labels[j] if gains[-1] > 1e-3 else 0)
        np.testing.assert_array_equal(new, expected)
    levels_db = 20 * np.log10([gain for gain in gains if gain > 1e-3])
    assert 0.3 < len(levels_db) / 64 < 0.7 and gains[62] < 1e-6
    assert -12.01 < levels_db.min() < -9 and -3 < levels_db.max() < 0.01
    # Examples do not depend on the others of the batch, apart from their neighbours.
    part, part_labels = jax.jit(augment.mixture)(
        KEYS[8:12], jnp.asarray(waves[8:12]), labels[8:12], mask[:4]
    )
    np.testing.assert_allclose(part, mixed[8:12], atol=1e-6)
    np.testing.assert_array_equal(part_labels, new_labels[8:12])
    with pytest.raises(
        UserError, match="augment.mix=0.5: examples are mixed in pairs, but each device has 3"
    ):
        augment.mixture(KEYS[:3], jnp.asarray(waves[:3]), labels[:3], mask[:3])
