"""Mel scales and filterbanks compared with librosa."""

import itertools

import librosa
import numpy as np
import pytest

from irec_jax.dsp import mel

HZ = np.array([0.0, 20.0, 440.0, 999.9, 1000.0, 1000.1, 4321.0, 22050.0])


@pytest.mark.parametrize("mel_scale", mel.MEL_SCALES)
def test_scales_match_librosa_and_are_inverted(mel_scale):
    mels = mel.hz_to_mel(HZ, mel_scale=mel_scale)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(HZ, htk=mel_scale == "htk"), rtol=1e-12)
    np.testing.assert_allclose(mel.mel_to_hz(mels, mel_scale=mel_scale), HZ, atol=1e-9)


GRID = itertools.product(
    [(22050, 1024), (44100, 4096), (16000, 401)],
    [128, 40, 1],
    [(0.0, None), (30.0, 7600.0)],
    mel.MEL_SCALES,
    mel.MEL_NORMS,
)


@pytest.mark.filterwarnings("ignore:Empty filters")  # librosa warns if 401 has too few bins
def test_filterbank_matches_librosa():
    for (rate, length), num_mels, (low, high), mel_scale, mel_norm in GRID:
        filters = mel.mel_filterbank(
            sample_rate_hz=rate,
            frame_length=length,
            num_mels=num_mels,
            min_hz=low,
            max_hz=high,
            mel_scale=mel_scale,
            mel_norm=mel_norm,
        )
        expected = librosa.filters.mel(
            sr=rate,
            n_fft=length,
            n_mels=num_mels,
            fmin=low,
            fmax=high,
            htk=mel_scale == "htk",
            norm=mel_norm,
            dtype=np.float64,
        )
        np.testing.assert_allclose(filters, expected.T, atol=1e-12 * max(1, expected.max()))


def test_centre_frequencies_match_librosa():
    for mel_scale in mel.MEL_SCALES:
        centres = mel.mel_frequencies(40, min_hz=20.0, max_hz=8000.0, mel_scale=mel_scale)
        expected = librosa.mel_frequencies(42, fmin=20.0, fmax=8000.0, htk=mel_scale == "htk")
        np.testing.assert_allclose(centres, expected[1:-1], rtol=1e-12)


def test_filterbank_is_read_only_and_empty_bands_are_counted():
    filters = mel.mel_filterbank(sample_rate_hz=44100, frame_length=1024, num_mels=256)
    with pytest.raises(ValueError):
        filters[0, 0] = 1.0
    assert mel.empty_bands(filters) == np.sum(filters.max(axis=0) == 0) > 0
    fine = mel.mel_filterbank(sample_rate_hz=22050, frame_length=1024, num_mels=128)
    assert mel.empty_bands(fine) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(max_hz=9000.0), "max_hz=9000.0.*half of the sample rate"),
        (dict(min_hz=-1.0), "min_hz=-1.0"),
        (dict(min_hz=5000.0, max_hz=4000.0), "min_hz=5000.0, max_hz=4000.0"),
        (dict(num_mels=0), "num_mels=0"),
        (dict(sample_rate_hz=0), "sample_rate_hz=0"),
        (dict(mel_scale="bark"), "mel_scale='bark'"),
        (dict(mel_norm="area"), "mel_norm='area'"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    valid_options = dict(sample_rate_hz=16000, frame_length=512, num_mels=40)
    with pytest.raises(ValueError, match=message):
        mel.mel_filterbank(**(valid_options | options))
