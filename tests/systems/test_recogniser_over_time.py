"""Recognisers that were trained on labels over time, applied to recordings."""

import jax
import numpy as np
import pytest

from irec_jax import config as configs
from irec_jax.inference.prediction import create_predict
from irec_jax.systems.explainer import Explainer
from irec_jax.systems.recogniser import Recogniser

FRAME_LENGTH, RATE_HZ = 1024, 44_100


@pytest.fixture(scope="module")
def recogniser():
    """Return a small recogniser of instances of four frames, with a context of three instances."""
    config = configs.load("seipel.py:frames=4,context=3")
    configs.override(config, [("model.filters", "(2, 4)"), ("model.dense", "8")])
    task, _, rate_hz = configs.check_config(config)
    return Recogniser(
        task=task,
        predict=create_predict(task, *task.init(jax.random.key(0))),
        sample_rate_hz=rate_hz,
        hop_samples=4 * FRAME_LENGTH,
        label_samples=4 * FRAME_LENGTH,
        aggregation="max",
        thresholds={"fixed": 0.5},
    )


@pytest.mark.parametrize("num_samples", [FRAME_LENGTH * 3, FRAME_LENGTH * 12, 50_001])
def test_each_instance_is_predicted_once_from_a_window_around_it(recogniser, num_samples):
    audio = np.random.default_rng(0).normal(0, 0.2, num_samples).astype(np.float32)
    result = recogniser.recognize(audio, sample_rate_hz=RATE_HZ)
    size = 4 * FRAME_LENGTH
    starts = np.arange(0, num_samples, size)
    padded = np.pad(audio, (size, 2 * size))
    windows = np.stack([padded[start : start + 3 * size] for start in starts])
    batch = {
        "audio": windows,
        "gain": np.full(len(windows), np.abs(audio).max()),
        "num_samples": np.full(len(windows), 3 * size, np.int32),
        "mask": np.ones(len(windows), np.float32),
    }
    np.testing.assert_allclose(result.window_scores, recogniser.predict(batch), atol=1e-5)
    np.testing.assert_allclose(result.times_s, (starts + size / 2) / RATE_HZ)
    np.testing.assert_allclose(
        list(result.scores.values()), result.window_scores.max(axis=0), rtol=1e-6
    )


def test_activity_is_the_probability_except_in_silence(recogniser):
    size = 4 * FRAME_LENGTH
    audio = np.random.default_rng(0).normal(0, 0.2, 5 * size).astype(np.float32)
    audio[2 * size : 3 * size] = 0
    result = recogniser.recognize(audio, sample_rate_hz=RATE_HZ)
    assert (result.activity[2] == 0).all() and (result.window_scores[2] > 0).all()
    sounding = [0, 1, 3, 4]
    np.testing.assert_array_equal(result.activity[sounding], result.window_scores[sounding])


@pytest.mark.parametrize("num_samples", [FRAME_LENGTH * 3, FRAME_LENGTH * 30])
def test_explained_windows_are_the_recognised_ones(recogniser, num_samples):
    """The pictures show the recording without the zeros around it, each sound at its time."""
    explainer, windows = Explainer(recogniser, *recogniser.task.init(jax.random.key(0))), []

    def features(batch, indices):
        windows.extend(batch["audio"][batch["mask"] > 0])
        features = np.asarray(recogniser.task.features(batch))
        return features, features[None]

    vars(explainer)["_class_activation"] = features
    audio = np.zeros(num_samples, np.float32)
    audio[:FRAME_LENGTH] = audio[-FRAME_LENGTH:] = 0.5 * np.sin(np.arange(FRAME_LENGTH))
    chosen = recogniser.task.classes[0]
    explanation = explainer.explain(audio, sample_rate_hz=RATE_HZ, classes=[chosen])
    size = 4 * FRAME_LENGTH
    padded = np.pad(audio, (size, 2 * size))
    expected = [padded[i : i + 3 * size] for i in range(0, num_samples, size)]
    np.testing.assert_array_equal(windows, expected)
    levels = explanation.spectrogram.max(axis=0)
    first, last = np.flatnonzero(levels > levels.max() - 1)[[0, -1]]
    assert first <= 2 and last >= len(levels) - 3
