"""Predictions of a made-up recogniser, shared by the tests of its scores."""

import numpy as np

from irec_jax.evaluation import recognition

CLASSES = ("cel", "flu", "pia", "voi")


def make_predictions(num_clips=80, *, seed=0, max_labels=3, num_songs=30, classes=CLASSES):
    """Return predictions of a mediocre recogniser for clips of 1 to 12 windows."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((num_clips, len(classes)), np.float32)
    windows = []
    for row in labels:
        count = generator.integers(1, max_labels + 1)
        row[generator.choice(len(classes), count, replace=False)] = 1
        logits = 2.5 * row - 1.8 + generator.normal(0, 0.8, len(classes))
        logits = logits + generator.normal(0, 0.6, (generator.integers(1, 13), len(classes)))
        windows.append((1 / (1 + np.exp(-logits))).astype(np.float32))
    return recognition.Predictions(
        ids=[f"clip {i}" for i in range(num_clips)],
        songs=[f"song {i}" for i in generator.integers(num_songs, size=num_clips)],
        labels=labels,
        windows=windows,
        classes=classes,
        contradictory=np.arange(num_clips) < 2,
    )
