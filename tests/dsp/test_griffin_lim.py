"""Fast Griffin-Lim algorithm compared with librosa and with the paper's equations in NumPy."""

import inspect

import librosa
import numpy as np
import pytest

from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim, with_phase

#: The hop does not divide the frame, as with 4096 and 1050.
OPTIONS = dict(frame_length=256, hop_length=66)
#: librosa 1.0 renames the argument.
LIBROSA_SEED = (
    "rng" if "rng" in inspect.signature(librosa.griffinlim).parameters else "random_state"
)


def chirps(num_samples=3000, seed=0):
    """Return two gliding tones with a little noise."""
    time = np.arange(num_samples) / num_samples
    tones = np.sin(2 * np.pi * (100 * time + 150 * time**2)) + 0.5 * np.sin(900 * time)
    return (tones + 0.05 * np.random.default_rng(seed).standard_normal(num_samples)).astype("f")


def convergence_db(signal, magnitudes, **options):
    """Return || |STFT| - magnitudes || / || magnitudes || in dB."""
    result = np.abs(np.asarray(stft.stft(signal, **options), np.complex128))
    ratio = np.linalg.norm(result - magnitudes) / np.linalg.norm(magnitudes)
    return 20 * np.log10(ratio)


@pytest.mark.parametrize("momentum, num_iterations", [(0.99, 4), (0.0, 4), (0.99, 32)])
def test_signal_matches_librosa(momentum, num_iterations):
    magnitudes = np.abs(np.asarray(stft.stft(chirps(), **OPTIONS), np.complex128))
    angles = 2 * np.pi * np.random.RandomState(3).random(size=magnitudes.T.shape).T
    settings = dict(OPTIONS, num_samples=3000, num_iterations=num_iterations, momentum=momentum)
    result = griffin_lim(magnitudes.astype("f"), initial_phase=angles.astype("f"), **settings)
    expected = librosa.griffinlim(
        magnitudes.T,
        n_iter=num_iterations,
        momentum=momentum,
        n_fft=256,
        hop_length=66,
        length=3000,
        **{LIBROSA_SEED: np.random.RandomState(3)},
    )
    np.testing.assert_allclose(result, expected, atol=5e-3 if num_iterations > 4 else 2e-5)
    reached = [
        convergence_db(np.asarray(x, "f"), magnitudes, **OPTIONS) for x in (result, expected)
    ]
    np.testing.assert_allclose(*reached, atol=0.01)


@pytest.mark.parametrize("padding", ["center", "end"])
def test_iterations_match_the_paper(padding):
    """Perform algorithm 2 of Perraudin et al. (2013) with explicit projection matrices."""
    num_samples, length, hop, momentum = 120, 16, 5, 0.7
    options = dict(frame_length=length, hop_length=hop, padding=padding)
    impulses = np.eye(num_samples, dtype="f")
    analysis = np.asarray(stft.stft(impulses, **options), np.complex128).reshape(num_samples, -1).T
    shape = stft.stft(impulses[0], **options).shape
    # Every bin except the first and the last represents two bins of the two-sided spectrum.
    weights = np.tile(np.sqrt([1, *[2] * (length // 2 - 1), 1]), shape[0])[:, None]

    def stacked(spectra):
        return np.concatenate([(weights * spectra).real, (weights * spectra).imag])

    rng = np.random.default_rng(0)
    magnitudes = np.abs(rng.standard_normal(shape))
    angles = rng.uniform(0, 6, shape)
    least_squares = np.linalg.pinv(stacked(analysis), rcond=1e-6)

    def consistent(spectrum):
        return analysis @ (least_squares @ stacked(spectrum.reshape(-1, 1)))

    target = magnitudes.reshape(-1, 1)
    previous = extrapolated = consistent(target * np.exp(1j * angles.reshape(-1, 1)))
    for _ in range(5):
        spectrum = consistent(target * extrapolated / np.abs(extrapolated))
        extrapolated = spectrum + momentum * (spectrum - previous)
        previous = spectrum
    result = griffin_lim(
        magnitudes.astype("f"),
        num_samples=num_samples,
        num_iterations=5,
        momentum=momentum,
        initial_phase=np.exp(1j * angles).astype("F"),
        **options,
    )
    expected = least_squares @ stacked(previous)
    # With 'end', our first samples fade in, because their window sum is too small to divide by.
    first = 0 if padding == "center" else length
    np.testing.assert_allclose(result[first:], expected[first:, 0], atol=2e-2 if first else 1e-4)


def test_momentum_converges_faster_from_random_phases():
    magnitudes = np.abs(stft.stft(chirps(), **OPTIONS))
    settings = dict(OPTIONS, num_samples=3000)
    convergences_db = [
        convergence_db(griffin_lim(magnitudes, momentum=m, **settings), magnitudes, **OPTIONS)
        for m in (0.0, 0.99)
    ]
    assert convergences_db[1] < convergences_db[0] - 2 < -14


def test_batch_matches_single_calls_and_silence_stays_silent():
    signals = np.stack([chirps(), np.zeros(3000, "f"), chirps(seed=1)])
    magnitudes = np.abs(stft.stft(np.tile(signals, (1, 4, 1)).reshape(3, 4, 3000), **OPTIONS))
    settings = dict(OPTIONS, num_samples=3000, num_iterations=3)
    batch = griffin_lim(magnitudes, **settings)  # more than one chunk of frames
    assert batch.shape == (3, 4, 3000)
    np.testing.assert_allclose(batch[2, 3], griffin_lim(magnitudes[2, 3], **settings), atol=1e-5)
    np.testing.assert_array_equal(griffin_lim(0 * magnitudes[0, 0], **settings), 0)


def test_zero_iterations_match_the_inverse_stft():
    spectrum = stft.stft(chirps(), **OPTIONS)
    settings = dict(OPTIONS, num_samples=3000, num_iterations=0)
    for phase in (spectrum, np.angle(spectrum)):
        result = griffin_lim(np.abs(spectrum), initial_phase=phase, **settings)
        np.testing.assert_allclose(result, chirps(), atol=2e-5)


def test_with_phase_accepts_angles_and_complex_numbers():
    phase = np.array([3 - 4j, -1e-3j, 0, 1e-25, -1e15], np.complex64)
    result = with_phase(np.full(5, 2.0, "f"), phase)
    np.testing.assert_allclose(result, [1.2 - 1.6j, -2j, 2, 2, -2], atol=1e-6)
    angles = np.array([0.5, -9.0], "f")
    np.testing.assert_allclose(with_phase(np.ones(2, "f"), angles), np.exp(1j * angles), atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_options_out_of_range_are_rejected():
    magnitudes = np.ones((46, 129), "f")
    valid_options = dict(OPTIONS, num_samples=3000)
    with pytest.raises(ValueError, match=r"magnitudes: expected .*46, 129.* got \(45, 129\)"):
        griffin_lim(magnitudes[1:], **valid_options)
    with pytest.raises(ValueError, match="num_iterations=-1"):
        griffin_lim(magnitudes, num_iterations=-1, **valid_options)
    with pytest.raises(ValueError, match="momentum=1.1"):
        griffin_lim(magnitudes, momentum=1.1, **valid_options)
    with pytest.raises(AssertionError, match="magnitudes must hold floats"):
        griffin_lim(magnitudes.astype(int), **valid_options)
