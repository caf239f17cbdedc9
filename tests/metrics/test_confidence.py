"""Vectorised bootstrap compared with a loop that builds each resample clip by clip."""

import numpy as np
import pytest
import sklearn.metrics

from irec_jax.metrics import confidence


def _case(seed=0, num_clips=60, num_classes=4, num_songs=15):
    generator = np.random.default_rng(seed)
    labels = generator.random((num_clips, num_classes)) < 0.4
    predictions = labels ^ (generator.random(labels.shape) < 0.2)
    songs = [f"song {i}" for i in generator.integers(num_songs, size=num_clips)]
    return labels, predictions, songs


def test_f1_matches_resampling_clip_by_clip():
    labels, predictions, songs = _case()
    names = sorted(set(songs))
    members = [[i for i, song in enumerate(songs) if song == name] for name in names]
    micro, macro, per_class = [], [], []
    for weights in confidence.song_weights(len(names), num_resamples=50, seed=3):
        for row in weights.astype(int):
            rows = [i for song, times in enumerate(row) for i in members[song] * times]
            arguments = dict(y_true=labels[rows], y_pred=predictions[rows], zero_division=0)
            micro.append(sklearn.metrics.f1_score(average="micro", **arguments))
            macro.append(sklearn.metrics.f1_score(average="macro", **arguments))
            per_class.append(sklearn.metrics.f1_score(average=None, **arguments))
    actual = confidence.f1_intervals(
        labels, predictions, songs, num_resamples=50, seed=3, level=0.9
    )
    np.testing.assert_allclose(actual.micro, np.quantile(micro, [0.05, 0.95]), rtol=1e-12)
    np.testing.assert_allclose(actual.macro, np.quantile(macro, [0.05, 0.95]), rtol=1e-12)
    np.testing.assert_allclose(actual.per_class, np.quantile(per_class, [0.05, 0.95], axis=0))


def test_accuracy_matches_resampling_clip_by_clip():
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 4, 60)
    # Class 3 is rare.
    labels[labels == 3] = np.where(generator.random((labels == 3).sum()) < 0.9, 0, 3)
    predictions = np.where(generator.random(60) < 0.6, labels, generator.integers(0, 5, 60))
    songs = [f"song {i}" for i in generator.integers(12, size=60)]
    names = sorted(set(songs))
    members = [[i for i, song in enumerate(songs) if song == name] for name in names]
    accuracy, balanced, absent = [], [], 0
    for weights in confidence.song_weights(len(names), num_resamples=50, seed=3):
        for row in weights.astype(int):
            rows = [i for song, times in enumerate(row) for i in members[song] * times]
            accuracy.append(np.mean(labels[rows] == predictions[rows]))
            recall = sklearn.metrics.recall_score(
                labels[rows], predictions[rows], labels=np.unique(labels[rows]), average="macro"
            )
            balanced.append(recall)
            absent += len(set(labels[rows])) < 4
    assert 0 < absent < 50
    actual = confidence.accuracy_intervals(
        labels, predictions, songs, num_classes=5, num_resamples=50, seed=3, level=0.9
    )
    np.testing.assert_allclose(actual.accuracy, np.quantile(accuracy, [0.05, 0.95]), rtol=1e-12)
    np.testing.assert_allclose(actual.balanced, np.quantile(balanced, [0.05, 0.95]), rtol=1e-12)


def test_accuracy_without_clips_or_with_one_song_has_no_interval():
    for num_clips in (0, 3):
        zeros = np.zeros(num_clips, int)
        result = confidence.accuracy_intervals(zeros, zeros, ["a"] * num_clips, num_classes=2)
        assert np.isnan(result.accuracy).all() and np.isnan(result.balanced).all()
    with pytest.raises(ValueError, match="differ in shape"):
        confidence.accuracy_intervals(np.arange(2), np.arange(1), ["a", "b"], num_classes=2)


def test_weights_sum_to_the_number_of_songs_in_every_chunk(monkeypatch):
    monkeypatch.setattr(confidence, "_MAX_WEIGHTS", 70)
    chunks = list(confidence.song_weights(10, num_resamples=23, seed=0))
    assert [len(c) for c in chunks] == [7, 7, 7, 2]
    weights = np.concatenate(chunks)
    np.testing.assert_array_equal(weights.sum(1), 10)
    assert len(np.unique(weights, axis=0)) == 23


def test_same_seed_gives_the_same_intervals():
    case = _case()
    first, repeated = (confidence.f1_intervals(*case, num_resamples=40, seed=1) for _ in range(2))
    different_seed = confidence.f1_intervals(*case, num_resamples=40, seed=2)
    np.testing.assert_array_equal(first.micro, repeated.micro)
    assert not np.array_equal(first.micro, different_seed.micro)


def test_clips_of_one_song_make_the_interval_wider():
    """Ten copies of each clip of a song carry no more information than a single clip."""
    labels, predictions, songs = _case(num_clips=40, num_songs=1000)
    original = confidence.f1_intervals(labels, predictions, songs)
    copies = [np.repeat(a, 10, axis=0) for a in (labels, predictions)]
    same_song = confidence.f1_intervals(*copies, np.repeat(songs, 10))
    separate_songs = confidence.f1_intervals(*copies, [str(i) for i in range(400)])
    np.testing.assert_allclose(np.ptp(same_song.micro), np.ptp(original.micro), rtol=1e-12)
    assert np.ptp(separate_songs.micro) < 0.5 * np.ptp(same_song.micro)


def test_interval_covers_the_true_value_at_its_level():
    generator = np.random.default_rng(0)
    # F1 of a class with prevalence 0.5, sensitivity and specificity 0.8 is 0.8.
    hits = 0
    for seed in range(200):
        labels = generator.random((150, 1)) < 0.5
        predictions = labels ^ (generator.random(labels.shape) < 0.2)
        low, high = confidence.f1_intervals(
            labels, predictions, np.arange(150), num_resamples=200, seed=seed
        ).micro
        hits += low <= 0.8 <= high
    assert 180 <= hits <= 199


def test_one_song_has_no_interval():
    labels, predictions, _ = _case()
    actual = confidence.f1_intervals(labels, predictions, ["one"] * len(labels))
    assert np.isnan(actual.micro).all() and actual.per_class.shape == (2, 4)


def test_errors_for_invalid_input_contain_the_shapes():
    with pytest.raises(ValueError, match="songs"):
        confidence.f1_intervals(np.ones((2, 3)), np.ones((2, 3)), ["a"])
