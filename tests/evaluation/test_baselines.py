"""Baselines, compared with librosa and scikit-learn."""

import dataclasses
import warnings

import librosa
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.preprocessing

from irec_jax.evaluation import baselines, recognition

RATE_HZ = 8000
CLASSES = ("low", "high", "absent")


def _tone(label, seed, duration_s=3.0):
    """Return a low or high harmonic tone in noise."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    pitch_hz = generator.uniform(100, 200) * (1, 6)[label]
    tone = sum(np.sin(2 * np.pi * pitch_hz * h * time_s) / h for h in (1, 2, 3))
    return (0.2 * tone + 0.02 * generator.normal(size=time_s.shape)).astype(np.float32)


def _like(labels):
    labels = np.eye(3, dtype=np.float32)[labels]
    names = [str(i) for i in range(len(labels))]
    windows = [np.full((1, 3), 0.1)] * len(labels)
    return recognition.Predictions(names, names, labels, windows, CLASSES, np.zeros(len(names)))


def test_majority_is_the_most_frequent_training_class_or_the_first_of_a_tie():
    like = _like([0, 1, 2])
    predicted = baselines.Majority.fit(np.eye(3)[[1, 1, 0]]).predict(like)
    for windows in predicted.windows:
        np.testing.assert_array_equal(windows, [[0, 1, 0]])
    np.testing.assert_array_equal(baselines.Majority.fit(np.eye(3)).probabilities, [1, 0, 0])
    assert predicted.ids is like.ids


def test_statistics_match_those_of_librosa():
    audio = _tone(0, 1) * 0.3
    statistics = baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ)
    mfcc = librosa.feature.mfcc(y=audio / np.abs(audio).max(), sr=RATE_HZ, n_mfcc=20)
    delta = librosa.feature.delta(mfcc, mode="nearest")
    expected = [*mfcc.mean(1), *delta.mean(1), *mfcc.std(1), *delta.std(1)]
    np.testing.assert_allclose(statistics, [expected], rtol=1e-4, atol=1e-4)


def test_windows_of_a_long_clip_are_analysed_like_separate_clips():
    audio = _tone(1, 3, 7.0)
    audio = audio / np.abs(audio).max()
    statistics = baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ)
    for row, start_s in zip(statistics, (0, 1.5, 3, 4), strict=True):
        part = audio[int(start_s * RATE_HZ) :][: 3 * RATE_HZ]
        separate = baselines.mfcc_statistics(part, sample_rate_hz=RATE_HZ)
        # Normalisation by the peak of the part changes only the first coefficient.
        not_first = np.arange(80) != 0
        np.testing.assert_allclose(row[not_first], separate[0, not_first], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "num_samples, num_windows", [(0, 1), (1, 1), (100, 1), (24_000, 1), (48_000, 3), (60_000, 4)]
)
def test_statistics_of_silence_and_clips_of_any_length_are_finite(num_samples, num_windows):
    for audio in (np.zeros(num_samples), np.random.default_rng(0).normal(size=num_samples)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            statistics = baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ)
        assert statistics.shape == (num_windows, 80) and np.isfinite(statistics).all()


def test_logistic_regression_matches_sklearn_and_distinguishes_tones():
    labels = np.arange(24) % 2
    clips = [(_tone(label, seed), np.eye(3)[label]) for seed, label in enumerate(labels)]
    model = baselines.MfccLogistic.fit(iter(clips), sample_rate_hz=RATE_HZ)
    features = np.concatenate(
        [baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ) for audio, _ in clips]
    )
    scaler = sklearn.preprocessing.StandardScaler().fit(features)
    reference = sklearn.linear_model.LogisticRegression(max_iter=1000)
    reference.fit(scaler.transform(features), labels)

    test_labels = [0, 1, 1, 0]
    test = [_tone(label, 100 + i, 6.0) for i, label in enumerate(test_labels)]
    predicted = model.predict(iter(test), _like(test_labels))
    for audio, label, windows in zip(test, test_labels, predicted.windows, strict=True):
        assert windows.shape == (3, 3) and windows.dtype == np.float32
        expected = reference.predict_proba(
            scaler.transform(baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ))
        )
        np.testing.assert_allclose(windows[:, :2], expected, atol=1e-5)
        assert (windows[:, :2].argmax(1) == label).all()
        np.testing.assert_array_equal(windows[:, 2], 0)  # class without training clips
    metrics = recognition.evaluate(predicted, predicted, num_resamples=2)["thresholds"]["fixed"]
    assert metrics["micro"]["f1"] == 1.0


def test_statistics_are_independent_of_level():
    audio = _tone(1, 5)
    np.testing.assert_allclose(
        baselines.mfcc_statistics(audio, sample_rate_hz=RATE_HZ),
        baselines.mfcc_statistics(audio * 0.01, sample_rate_hz=RATE_HZ),
        atol=1e-3,
    )


def test_invalid_input_is_rejected():
    with pytest.raises(ValueError, match="at least one training clip"):
        baselines.MfccLogistic.fit([], sample_rate_hz=RATE_HZ)
    model = baselines.MfccLogistic.fit(
        [(_tone(i, i), np.eye(3)[i]) for i in (0, 1)], sample_rate_hz=RATE_HZ
    )
    with pytest.raises(ValueError, match=r"windows: expected one per clip \(2\), got 1"):
        model.predict([_tone(0, 0)], _like([0, 1]))
    assert dataclasses.is_dataclass(model)
