"""Window probabilities of a split, with and without windows in which sounds decay."""

import types

import numpy as np
import pytest

from irec_jax.data.labelled_clips import Clips, peak
from irec_jax.evaluation.predict import predict_split

WINDOW, HOP = 400, 200
TASK = types.SimpleNamespace(window_samples=WINDOW, classes=("a", "b"))


def make_clips():
    """Return clips of different lengths with noise whose level changes every `HOP` samples."""
    generator = np.random.default_rng(0)
    sounds = []
    for num_hops in (1, 2, 9, 4, 12):
        gains = np.repeat(10 ** generator.uniform(-1.0, 0.0, num_hops), HOP)
        sounds.append((20_000 * gains * generator.uniform(-1, 1, len(gains))).astype(np.int16))
    return Clips(
        ids=np.array([str(i) for i in range(len(sounds))]),
        songs=np.array([str(i) for i in range(len(sounds))]),
        labels=np.zeros((len(sounds), 2), np.float32),
        num_samples=np.array([len(sound) for sound in sounds]),
        contradictory=np.zeros(len(sounds), bool),
        read=lambda i: (sounds[i], peak(sounds[i])),
    )


def predict(batch):
    """Return the first sample and the mean square of each window as its probabilities."""
    audio = batch["audio"].astype(np.float64)
    mean_square = np.square(audio).sum(axis=1) / np.maximum(batch["num_samples"], 1)
    return np.stack([audio[:, 0], mean_square], axis=1)


@pytest.mark.parametrize("max_decay_db", [None, 0.0, 3.0, 100.0])
def test_windows_in_which_a_sound_decays_are_left_out(max_decay_db):
    clips = make_clips()
    settings = dict(hop_samples=HOP, batch_size=8, label="", max_decay_db=max_decay_db)
    results = predict_split(TASK, predict, clips, **settings)
    num_left_out = 0
    for i, result in enumerate(results):
        sound = clips.read(i)[0].astype(np.float64)
        starts = range(0, max(1, len(sound) - WINDOW + 1), HOP)
        windows = [sound[start : start + WINDOW] for start in starts]
        powers = [np.mean(np.square(window)) for window in windows]
        levels_db = 10 * np.log10(powers)
        kept = [
            (window[0], power)
            for n, (window, power) in enumerate(zip(windows, powers, strict=True))
            if max_decay_db is None
            or levels_db[n] >= max(levels_db[max(0, n - 2) : n + 1]) - max_decay_db
        ]
        np.testing.assert_allclose(result, kept, rtol=1e-6)
        num_left_out += len(windows) - len(kept)
    assert (num_left_out > 0) == (max_decay_db in (0.0, 3.0))
