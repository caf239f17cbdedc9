"""Augmentation of stems."""

import jax
import numpy as np
import pytest

from irec_jax.augment import StemAugment, tempo
from irec_jax.errors import UserError

T = 16_384
KEYS = jax.random.split(jax.random.key(0), 200)
RATE_HZ = 22_050


def make_stems(seed=0, num_samples=T):
    """Return stems: noise, a tone and silence."""
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, num_samples)
    tone = 0.5 * np.sin(2 * np.pi * 700 * np.arange(num_samples) / RATE_HZ)
    return np.stack([noise, tone, 0 * tone]).astype(np.float32)


@pytest.fixture(scope="module")
def everything():
    """Compile all effects once; return a batch of equal stems and their augmented versions."""
    augment = StemAugment(
        gain_db=6.0, polarity=True, reversal=True, stretch=(0.5, 1.0), pitch_semitones=4.0
    )
    batch = np.stack([make_stems()] * 12)
    function = jax.jit(jax.vmap(augment))
    return augment, function, batch, np.asarray(function(KEYS[:12], batch))


def peaks_hz(sounds):
    size = 8 * sounds.shape[-1]
    spectra = np.abs(np.fft.rfft(sounds * np.hanning(sounds.shape[-1]), size))
    return spectra.argmax(axis=-1) * RATE_HZ / size


def test_default_settings_return_the_stems():
    stems = jax.numpy.asarray(make_stems())
    assert StemAugment()(KEYS[0], stems) is stems


def test_gain_and_polarity_are_drawn_for_each_stem():
    augment = StemAugment(gain_db=6.0, polarity=True)
    factors = np.asarray(jax.vmap(augment, (0, None))(KEYS, np.ones((4, 1), np.float32)))[..., 0]
    levels_db = 20 * np.log10(np.abs(factors))
    assert -6.001 <= levels_db.min() < -5 and 5 < levels_db.max() <= 6.001
    assert 0.4 < np.mean(factors < 0) < 0.6
    assert np.ptp(levels_db, axis=1).min() > 0 and np.ptp(np.sign(factors), axis=1).mean() > 1.5


def test_mixtures_are_inverted_with_all_of_their_stems():
    stems = make_stems(num_samples=50)
    result = np.asarray(jax.vmap(StemAugment(mixture_polarity=True), (0, None))(KEYS, stems))
    signs = result[:, 1, 1] / stems[1, 1]
    np.testing.assert_allclose(result, signs[:, None, None] * stems)
    assert set(signs.round(6).tolist()) == {-1.0, 1.0} and 0.4 < np.mean(signs < 0) < 0.6


def test_reversal_is_exact_and_equal_for_all_stems():
    stems = make_stems(num_samples=50)
    result = np.asarray(jax.vmap(StemAugment(reversal=True), (0, None))(KEYS, stems))
    forwards = (result == stems).all(axis=(1, 2))
    backwards = (result == stems[:, ::-1]).all(axis=(1, 2))
    assert (forwards ^ backwards).all() and 0.4 < backwards.mean() < 0.6


def test_without_stretch_augmentation_is_linear():
    augment = StemAugment(reversal=True)
    stems = make_stems(num_samples=100)
    for key in KEYS[:5]:
        total = augment(key, stems.sum(axis=0, keepdims=True))[0]
        np.testing.assert_allclose(augment(key, stems).sum(axis=0), total, atol=1e-6)


def test_all_effects_preserve_length_silence_and_approximate_level(everything):
    *_, batch, result = everything
    assert result.shape == batch.shape and result.dtype == np.float32
    assert not result[:, 2].any() and np.isfinite(result).all()
    level = np.sqrt(np.mean(result[:, 1, 2048:-4096] ** 2, axis=-1)) / (0.5 * np.sqrt(0.5))
    assert (np.abs(20 * np.log10(level)) < 7.0).all()


def test_all_effects_depend_only_on_the_key(everything):
    augment, function, batch, result = everything
    np.testing.assert_array_equal(function(KEYS[:12], batch), result)
    single = jax.jit(augment)
    for i in (0, 7):
        np.testing.assert_allclose(single(KEYS[i], batch[i]), result[i], atol=2e-5)
    assert np.abs(result[0] - result[1]).max() > 0.1


def test_pitch_is_drawn_within_its_semitones(everything):
    *_, result = everything
    semitones = 12 * np.log2(peaks_hz(result[:, 1, 2048:-4096]) / 700)
    assert np.abs(semitones).max() < 4.05 and semitones.min() < -1.5 and semitones.max() > 1.5


def test_pitch_in_whole_semitones():
    """Only the drawn numbers are computed, not the signals."""
    drawn = []

    def keep_speed(pitch_semitones, signals, rate, speed):
        drawn.append(12 * np.log2(np.asarray(speed)))
        return signals

    augment = StemAugment(pitch_semitones=4.0, whole_semitones=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempo, "_apply", keep_speed)
        patch.setattr(tempo, "sequential_vmap_on_cpu", lambda function: function)
        for key in KEYS[:60]:
            augment(key, np.zeros((1, 8), np.float32))
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-5)
    assert set(np.round(drawn).astype(int).ravel()) == set(range(-4, 5))


def test_stretch_slows_down_and_preserves_pitch():
    # The position of a click in silence gives the rate; the tone gives the pitch.
    stems = make_stems()[1:]
    stems[1, 6000:6050] = 1.0
    function = jax.jit(jax.vmap(StemAugment(stretch=(0.5, 0.75)), (0, None)))
    result = np.asarray(function(KEYS[:12], stems))
    np.testing.assert_allclose(peaks_hz(result[:, 0, 2048:-2048]), 700, atol=1.0)
    energy = result[:, 1] ** 2
    rates = 6025 / ((energy * np.arange(T)).sum(axis=1) / energy.sum(axis=1))
    assert 0.48 < rates.min() < 0.6 and 0.65 < rates.max() < 0.77


def test_effects_are_drawn_independently():
    """The random values of any two effects are uncorrelated."""
    click = np.zeros(T, np.float32)
    click[T // 4] = 1.0
    stems = np.stack([click, make_stems()[1]])
    augment = StemAugment(gain_db=6.0, stretch=(0.5, 1.0), pitch_semitones=4.0)
    result = np.asarray(jax.jit(jax.vmap(augment, (0, None)))(KEYS[:60], stems))
    positions = np.abs(result[:, 0]).argmax(axis=-1)
    rms = np.sqrt(np.mean(np.square(result[:, 1, T // 4 : T // 2]), axis=-1))
    random_values = [positions, np.log(peaks_hz(result[:, 1])), np.log(rms)]
    assert np.abs(np.corrcoef(random_values) - np.eye(3)).max() < 0.45

    augment = StemAugment(gain_db=6.0, polarity=True, reversal=True)
    result = np.asarray(jax.vmap(augment, (0, None))(KEYS, stems[:1]))[:, 0]
    position = np.abs(result).argmax(axis=-1)
    values = result[np.arange(len(result)), position]
    random_values = [position == T // 4, values > 0, np.log(np.abs(values))]
    assert np.abs(np.corrcoef(random_values) - np.eye(3)).max() < 0.25


@pytest.mark.parametrize(
    "settings",
    [
        dict(gain_db=-1.0),
        dict(stretch=(0.4, 1.0)),
        dict(stretch=(0.9, 0.8)),
        dict(stretch=(0.9, 1.1)),
        dict(stretch=(0.9,)),
        dict(pitch_semitones=-1.0),
        dict(pitch_semitones=13.0),
    ],
)
def test_settings_out_of_range_are_rejected(settings):
    with pytest.raises(UserError, match=f"augment.{next(iter(settings))}") as error:
        StemAugment(**settings)
    assert "\n" not in str(error.value)
