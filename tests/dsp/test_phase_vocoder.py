"""Time stretching and speed change compared with librosa and NumPy, and on sines and clicks."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from irec_jax.dsp import phase_vocoder
from irec_jax.dsp.cpu_batching import sequential_vmap_on_cpu

RATE_HZ = 22_050
T = 22_050
#: Compiled once for all rates.
stretch = functools.partial(phase_vocoder.time_stretch, num_samples=T)
stretched = jax.jit(stretch)
speed = jax.jit(functools.partial(phase_vocoder.change_speed, num_samples=T))


def sine(frequency_hz, num_samples=T):
    return np.sin(2 * np.pi * frequency_hz * np.arange(num_samples) / RATE_HZ).astype(np.float32)


def loudest_hz(sound):
    """Return the frequency of the highest peak, interpolated between bins."""
    size = 8 * len(sound)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    return spectrum.argmax() * RATE_HZ / size


def test_rate_of_1_returns_the_signal():
    sound = np.random.default_rng(0).uniform(-1, 1, (2, T)).astype(np.float32)
    np.testing.assert_allclose(stretched(sound, rate=1.0), sound, atol=1e-4)
    np.testing.assert_allclose(speed(sound, speed=1.0), sound, atol=1e-5)


@pytest.mark.parametrize("rate", [0.5, 0.77, 1.3])
def test_stretching_without_phase_locking_matches_librosa(rate):
    rng = np.random.default_rng(1)
    chord = sum(sine(f) * np.exp(-np.arange(T) / T) for f in (220.0, 554.4, 1244.5))
    sound = (0.3 * chord + 0.01 * rng.normal(size=T)).astype(np.float32)
    frames = librosa.stft(sound, n_fft=2048, hop_length=512)
    expected = librosa.istft(librosa.phase_vocoder(frames, rate=rate), hop_length=512)
    # The last frames are compared only as far as librosa computes them.
    num_same = min(len(expected), T, round(T / rate)) - 4096
    unlocked = jax.jit(functools.partial(stretch, locked_bins=0))
    actual = np.asarray(unlocked(sound, rate=rate))
    assert actual.shape == (T,)
    np.testing.assert_allclose(actual[:num_same], expected[:num_same], atol=2e-3)
    if rate > 1:
        assert np.abs(actual[round(T / rate) + 2048 :]).max() < 1e-6


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.2])
def test_stretching_preserves_frequency_and_moves_onsets(rate):
    result = np.asarray(stretched(sine(997.0), rate=rate))
    assert loudest_hz(result[2048 : 2048 + 12_000]) == pytest.approx(997.0, abs=0.5)
    # Without phase locking, the bins of a partial drift apart, which costs up to 1.2 dB.
    level_db = 20 * np.log10(np.sqrt(2 * np.mean(result[4096:12_000] ** 2)))
    assert abs(level_db) < 0.1
    click = np.zeros(T, np.float32)
    click[8000:8100] = 1.0
    energy = np.asarray(stretched(click, rate=rate)) ** 2
    centre = (energy * np.arange(T)).sum() / energy.sum()
    assert centre == pytest.approx(8050 / rate, abs=600)  # a click is smeared


def test_phase_locking_preserves_the_level_of_noise_and_the_spectrum_of_librosa():
    rng = np.random.default_rng(2)
    sound = (rng.normal(size=T) * (1 + np.sin(np.arange(T) / 3000)) / 8).astype(np.float32)
    result = np.asarray(stretched(sound, rate=0.6))
    level_db = 20 * np.log10(result.std() / sound[: round(0.6 * T)].std())
    assert -1.5 < level_db < 0.5
    expected = librosa.effects.time_stretch(sound, rate=0.6)[:T]

    def bands_db(sound):
        bands = librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_mels=20, hop_length=2048)
        return librosa.power_to_db(bands)[:, 1:-1]

    difference = bands_db(result) - bands_db(expected)
    # librosa's output has a lower level and otherwise the same spectrum.
    assert np.std(difference) < 2.5 and 1.0 < np.mean(difference) < 5.0


def test_silence_stays_silent_and_sound_resumes_after_a_gap():
    sound = np.stack([sine(440.0), np.zeros(T, np.float32)])
    for result in (stretched(sound, rate=0.7), speed(sound, speed=1.1)):
        assert np.abs(result[0]).max() > 0.5 and not np.any(result[1])
    # Sound resumes after a gap.
    gap = sine(440.0) * (np.abs(np.arange(T) - 9000) > 4000)
    assert np.sqrt(np.mean(np.asarray(stretched(gap, rate=0.9))[-4000:-2000] ** 2)) > 0.6


@pytest.mark.parametrize("factor", [0.7937, 0.95, 1.0595, 1.26])
def test_speed_multiplies_the_frequency_and_matches_bandlimited_interpolation(factor):
    result = np.asarray(speed(sine(997.0, 2 * T), speed=factor))
    assert loudest_hz(result) == pytest.approx(997.0 * factor, abs=0.5)
    exact = round(factor * 65536) / 65536
    expected = np.sin(2 * np.pi * 997.0 * exact * np.arange(T) / RATE_HZ)
    np.testing.assert_allclose(result[10:], expected[10:], atol=2e-3)


def test_positions_are_exact_for_long_signals():
    # float32 positions would be wrong by a quarter of a sample here.
    num = 4_000_000
    integers, fraction = phase_vocoder._positions(jnp.float32(1.2599), num)
    exact = np.arange(num) * (round(1.2599 * 65536) / 65536)
    np.testing.assert_array_equal(np.asarray(integers, float) + np.asarray(fraction), exact)


def test_frequencies_above_the_new_nyquist_frequency_do_not_alias():
    result = np.asarray(speed(sine(10_800.0, 2 * T), speed=1.26))
    # The alias would be at 8,442 Hz.
    assert np.sqrt(np.mean(result[100:-100] ** 2)) < 0.1 * np.sqrt(0.5)


def test_faster_playback_is_followed_by_silence():
    result = np.asarray(speed(np.ones(T, np.float32), speed=1.25))
    end = round(T / 1.25)
    np.testing.assert_allclose(result[50 : end - 50], 1.0, atol=1e-4)
    assert not result[end + 50 :].any()


@pytest.mark.usefixtures("unchecked")
def test_options_out_of_range_are_rejected():
    sound = np.zeros(4096, np.float32)
    with pytest.raises(ValueError, match="speed=5"):
        phase_vocoder.change_speed(sound, speed=5.0, num_samples=10)
    with pytest.raises(ValueError, match="num_samples=5000000"):
        phase_vocoder.change_speed(sound, speed=1.0, num_samples=5_000_000)
    with pytest.raises(ValueError, match="num_samples=0"):
        phase_vocoder.time_stretch(sound, rate=1.0, num_samples=0)
    with pytest.raises(AssertionError, match="signal must hold floats"):
        phase_vocoder.time_stretch(np.zeros(4096, np.int16), rate=1.0, num_samples=10)


def test_sequential_vmap_matches_vmap():
    function = sequential_vmap_on_cpu(lambda x, y: {"sum": (x + y).sum(), "product": x * y})
    x, y = jnp.arange(12.0).reshape(4, 3), jnp.arange(3.0)
    result = jax.jit(jax.vmap(function, (0, None)))(x, y)
    np.testing.assert_array_equal(result["product"], x * y)
    np.testing.assert_array_equal(result["sum"], (x + y).sum(axis=1))
    np.testing.assert_array_equal(function(x[0], y)["product"], x[0] * y)
    nested = jax.vmap(jax.vmap(function))(x[None], x[None])
    np.testing.assert_array_equal(nested["product"], (x * x)[None])
