"""STFT compared with librosa and the DFT sum; inverse STFT tested by round trips."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from irec_jax.dsp import framing, stft
from irec_jax.dsp.window_functions import get_window


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    "num_samples, frame_length, hop_length",
    [(5000, 1024, 512), (5001, 1024, 300), (4999, 400, 160), (5000, 4096, 1050), (300, 512, 256)],
)
@pytest.mark.parametrize("name", ["hann", "hamming", "rectangular"])
@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")  # if the frame is longer
def test_centred_stft_matches_librosa(num_samples, frame_length, hop_length, name):
    signal = noise(2, num_samples)
    actual = stft.stft(signal, frame_length=frame_length, hop_length=hop_length, window=name)
    expected = librosa.stft(
        signal.astype(np.float64),
        n_fft=frame_length,
        hop_length=hop_length,
        window={"rectangular": "boxcar"}.get(name, name),
        dtype=np.complex128,
    )
    np.testing.assert_allclose(
        actual, expected.swapaxes(-1, -2), atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize("padding", framing.PADDINGS)
@pytest.mark.parametrize("frame_length, hop_length", [(16, 8), (15, 4), (9, 12)])
def test_stft_matches_the_dft_sum(frame_length, hop_length, padding):
    signal = noise(50)
    values = noise(frame_length, seed=1)
    actual = stft.stft(
        signal,
        frame_length=frame_length,
        hop_length=hop_length,
        window=values,
        padding=padding,
    )
    start = -(frame_length // 2) if padding == "center" else 0
    n = np.arange(frame_length)
    k = np.arange(frame_length // 2 + 1)
    kernel = np.exp(-2j * np.pi * np.outer(n, k) / frame_length) * values[:, None]
    for t, spectrum in enumerate(actual):
        position = start + t * hop_length + n
        inside = (position >= 0) & (position < len(signal))
        samples = np.where(inside, signal[np.clip(position, 0, len(signal) - 1)], 0.0)
        np.testing.assert_allclose(spectrum, samples @ kernel, atol=1e-5)


@pytest.mark.parametrize(
    "name, frame_length, hop_length, padding",
    [
        ("hann", 256, 128, "center"),
        ("hann", 256, 100, "center"),
        ("hann", 255, 64, "center"),
        ("hamming", 256, 128, "end"),
        ("hamming", 256, 256, "end"),
        ("blackman", 256, 64, "center"),
        ("rectangular", 256, 256, "end"),
        ("rectangular", 250, 170, "end"),
        ("rectangular", 200, 100, "none"),
        ("hann", 192, 2, "center"),
    ],
)
def test_istft_inverts_stft(name, frame_length, hop_length, padding):
    options = dict(frame_length=frame_length, hop_length=hop_length, window=name, padding=padding)
    # Without padding, complete frames reach the last sample only if they fit.
    for num_samples in (1000,) if padding == "none" else (1024, 77):
        signal = noise(2, num_samples)

        def there_and_back(signal, num_samples=num_samples):
            return stft.istft(stft.stft(signal, **options), num_samples=num_samples, **options)

        np.testing.assert_allclose(jax.jit(there_and_back)(signal), signal, atol=3e-5)


def test_istft_of_a_modified_spectrum_is_the_least_squares_signal():
    options = dict(frame_length=16, hop_length=4)
    rng = np.random.default_rng(0)
    target = (rng.standard_normal((11, 9)) + 1j * rng.standard_normal((11, 9))).astype(np.complex64)
    # Frames of the spectrum; the imaginary parts of the first and last bins are ignored, because
    # real frames have none.
    frames = np.fft.irfft(target, n=16)
    columns = [framing.frame(row, padding="center", **options) for row in np.eye(40, dtype="f")]
    matrix = np.stack([np.ravel(c * get_window("hann", 16)) for c in columns], axis=1)
    expected = np.linalg.lstsq(matrix, frames.ravel(), rcond=None)[0]
    np.testing.assert_allclose(stft.istft(target, num_samples=40, **options), expected, atol=1e-4)


def test_istft_rejects_options_without_an_exact_inverse():
    end = dict(frame_length=64, hop_length=32, padding="end")
    spectrum = stft.stft(noise(640), **end)
    with pytest.raises(ValueError, match="sample 0 of 640 is outside all windows"):
        stft.istft(spectrum, num_samples=640, **end)
    faded = stft.istft(spectrum, num_samples=640, exact=False, **end)
    np.testing.assert_allclose(faded[4:], noise(640)[4:], atol=1e-4)
    assert np.abs(faded[:4]).max() <= 1.0
    with pytest.raises(ValueError, match="hop_length=80"):
        gaps = dict(frame_length=64, hop_length=80)
        stft.istft(stft.stft(noise(640), **gaps), num_samples=640, **gaps)
    with pytest.raises(ValueError, match="spectrum: expected shape"):
        stft.istft(spectrum, num_samples=640, frame_length=32, hop_length=32)
    with pytest.raises(ValueError, match="frames: expected .* frames .* got 20"):
        stft.istft(spectrum, num_samples=640, frame_length=64, hop_length=32)


def test_window_of_wrong_length_is_rejected():
    with pytest.raises(ValueError, match=r"window: .* got \(5,\)"):
        stft.stft(noise(64), frame_length=16, hop_length=8, window=np.ones(5))


def test_magnitude_has_gradients_at_zero():
    spectrum = jnp.array([0.0, 3.0 - 4.0j, 1e-25j, 1e-18])
    np.testing.assert_allclose(stft.magnitude(spectrum), [0, 5, 0, 1e-18], rtol=1e-6)
    gradient = jax.grad(lambda z: stft.magnitude(z).sum())(spectrum)
    np.testing.assert_allclose(np.abs(gradient), [0, 1, 0, 1], rtol=1e-5)
