"""Spectrograms in decibels compared with librosa, and their inverse."""

import jax
import librosa
import numpy as np
import pytest

from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim
from irec_jax.errors import UserError
from irec_jax.frontends import SpectrogramDb

SMALL = dict(frame_length=256, hop_length=60, num_bins=128, num_frames=24)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def by_librosa(waveform, *, frame_length, hop_length, num_bins, num_frames, floor_db, scale_db):
    """Return librosa's features, float64, of a signal padded at its end; frame 0 is at sample 0."""
    num = -(-len(waveform) // hop_length)
    padded = np.pad(waveform.astype(np.float64), (0, frame_length + hop_length))
    options = dict(n_fft=frame_length, hop_length=hop_length, center=False)
    spectrum = librosa.stft(padded, dtype=np.complex128, **options)[:num_bins, :num]
    power = np.maximum(np.abs(spectrum) ** 2, 10 ** (floor_db / 10))
    db = librosa.power_to_db(power, amin=1e-30, top_db=None)
    widths = ((0, 0), (0, num_frames - num))
    return np.pad(db, widths, constant_values=floor_db) / scale_db


@pytest.mark.parametrize(
    "num_samples, changes",
    [
        (1440, {}),
        (1381, {}),
        (61, dict(hop_length=300, num_bins=7)),
        (1000, dict(floor_db=20.0, scale_db=80.0)),
    ],
)
def test_features_match_librosa(num_samples, changes):
    settings = dict(SMALL, floor_db=-100.0, scale_db=150.0) | changes
    waveform = noise(num_samples) * np.linspace(0, 1, num_samples, dtype="f") ** 4
    result = SpectrogramDb(**settings)(waveform)
    # In float32 the quietest bins are dominated by rounding errors.
    np.testing.assert_allclose(result, by_librosa(waveform, **settings), atol=2e-3)


def test_shape_and_range_of_the_paper():
    frontend = SpectrogramDb()
    assert frontend.output_shape(3 * 44_100) == (2048, 128)
    loudest = frontend(np.ones((2, 5000), np.float32))
    assert loudest.shape == (2, 2048, 128)
    assert loudest.min() == np.float32(-100 / 150) and 0.43 < loudest.max() < 1
    np.testing.assert_array_equal(loudest[..., 5:], np.float32(-100 / 150))  # ceil(5000 / 1050)
    time_s = np.arange(44_100) / 44_100
    sine = np.sin(2 * np.pi * 44_100 / 4096 * 100 * time_s).astype(np.float32)
    picture = frontend.decibels(frontend(sine))
    np.testing.assert_allclose(picture[100, :38], 20 * np.log10(1024), atol=1e-3)


def test_silence_is_the_floor_and_has_no_amplitude():
    frontend = SpectrogramDb(**SMALL)
    silence = frontend(np.zeros(1000, np.float32))
    np.testing.assert_array_equal(silence, np.float32(-100 / 150))
    np.testing.assert_array_equal(frontend.amplitudes(silence), 0)
    np.testing.assert_array_equal(frontend.amplitudes(silence - 0.1), 0)
    np.testing.assert_array_equal(frontend.decibels(silence - 0.1), -100)


def test_amplitudes_round_trip():
    frontend = SpectrogramDb(**SMALL)
    features = frontend(noise(2, 1000))
    amplitudes = np.asarray(frontend.amplitudes(features))
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(noise(2, 1000), ((0, 0), (0, 500))), 256, axis=-1
    )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    expected = np.abs(np.fft.rfft(frames[:, : 17 * 60 : 60] * window))[..., :128]
    np.testing.assert_allclose(amplitudes[..., :17], expected.swapaxes(1, 2), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(amplitudes[..., 17:], 0)
    np.testing.assert_allclose(frontend.from_amplitudes(amplitudes), features, atol=1e-6)


def test_gradient_matches_that_of_the_logarithm():
    frontend = SpectrogramDb(**SMALL)
    waveform = noise(300)
    gradient = jax.grad(lambda scale: frontend(scale * waveform)[..., :5].mean())(1.0)
    np.testing.assert_allclose(gradient, 20 / np.log(10) / 150, rtol=1e-4)


def picture(frontend, spectrum):
    """Return an STFT (..., frames, bins) in the axis order of the front end, with frames added."""
    bins = np.asarray(spectrum)[..., : frontend.num_bins].swapaxes(-1, -2)
    padding = np.zeros((*bins.shape[:-1], frontend.num_frames - bins.shape[-1]), bins.dtype)
    return np.concatenate([bins, padding], axis=-1)


@pytest.mark.parametrize("num_bins, tolerance", [(129, 1e-5), (128, 3e-3)])
def test_inverse_with_the_original_phase_restores_the_waveform(num_bins, tolerance):
    frontend = SpectrogramDb(**SMALL | dict(num_bins=num_bins))
    time = np.arange(1300)
    # The waveform has no energy in the highest bin.
    waveform = np.sin(0.3 * time**1.2).astype(np.float32) * [[0.5], [1.0]]
    spectrum = picture(frontend, stft.stft(waveform.astype("f"), **frontend.framing))
    features = frontend(waveform.astype("f"))
    for phase in (spectrum, np.angle(spectrum)):
        result = frontend.inverse(features, num_samples=1300, phase=phase)
        assert result.shape == (2, 1300)
        # The first window begins with values near 0.
        np.testing.assert_allclose(result[:, 20:], waveform[:, 20:], atol=tolerance)


def test_inverse_without_a_phase_matches_griffin_lim():
    frontend = SpectrogramDb(**SMALL | dict(num_bins=129))
    waveform = noise(2, 1300)
    features = frontend(waveform)
    options = dict(num_iterations=3, momentum=0.5, key=jax.random.key(1))
    result = frontend.inverse(features, num_samples=1300, **options)
    magnitudes = np.abs(stft.stft(waveform, **frontend.framing))
    expected = griffin_lim(magnitudes, num_samples=1300, **frontend.framing, **options)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    shorter = frontend.inverse(features, num_samples=650)
    assert shorter.shape == (2, 650)


@pytest.mark.usefixtures("unchecked")
def test_inverse_rejects_invalid_arguments():
    frontend = SpectrogramDb(**SMALL)
    features = frontend(noise(1000))
    with pytest.raises(UserError, match=r"too few for the 1441 samples"):
        frontend.inverse(features, num_samples=1441)
    with pytest.raises(ValueError, match=r"features: .*128, 24\), got \(128, 23\)"):
        frontend.inverse(features[:, 1:], num_samples=1000)
    with pytest.raises(ValueError, match=r"phase: expected shape \(128, 24\), got \(128, 1\)"):
        frontend.inverse(features, num_samples=1000, phase=np.zeros((128, 1), "f"))
