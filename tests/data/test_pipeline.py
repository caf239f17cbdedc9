"""Batches of windows: random access, padding, sharding; splits by song."""

import dataclasses

import numpy as np
import pytest

from irec_jax import data
from irec_jax.data.labelled_clips import peak
from irec_jax.data.splits import split_songs
from irec_jax.errors import UserError


def make_batches(clips, **settings):
    defaults = dict(window_samples=2000, batch_size=7, seed=5)
    return data.Batches(clips, **(defaults | settings))


def test_batch_depends_only_on_seed_and_step(tone_clips):
    clips = tone_clips()
    first, second = make_batches(clips), make_batches(clips)
    batches = [second[step] for step in (13, 2)]
    for batch, step in zip(batches, (13, 2), strict=True):
        for key, value in first[step].items():
            np.testing.assert_array_equal(value, batch[key])
    iterated = first.iterate(2)
    np.testing.assert_array_equal(next(iterated)["audio"], first[2]["audio"])
    np.testing.assert_array_equal(next(iterated)["audio"], first[3]["audio"])
    assert not np.array_equal(make_batches(clips, seed=6)[2]["audio"], first[2]["audio"])


def test_every_epoch_contains_every_window_once_in_a_new_order(tone_clips):
    batches = make_batches(tone_clips())
    size = batches.steps_per_epoch
    assert size == -(-batches.num_windows // 7)
    orders = []
    for epoch in range(2):
        rows = [batches._rows[step] for step in range(epoch * size, (epoch + 1) * size)]
        orders.append(np.concatenate(rows).tolist())
        assert sorted(orders[-1]) == list(range(batches.num_windows))
        masks = [batches[step]["mask"] for step in range(epoch * size, (epoch + 1) * size)]
        assert np.sum(masks) == batches.num_windows
    assert orders[0] != orders[1]


def test_epoch_can_be_several_passes_or_part_of_a_pass(tone_clips):
    size = make_batches(tone_clips()).steps_per_epoch
    assert make_batches(tone_clips(), min_steps_per_epoch=size + 1).steps_per_epoch == 2 * size
    assert make_batches(tone_clips(), min_steps_per_epoch=size).steps_per_epoch == size
    long = make_batches(tone_clips(), min_steps_per_epoch=3 * size)
    masks = [long[step]["mask"] for step in range(long.steps_per_epoch)]
    assert np.sum(masks) == 3 * long.num_windows
    assert make_batches(tone_clips(), max_steps_per_epoch=2).steps_per_epoch == 2


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_same_global_batch(tone_clips, count):
    clips = tone_clips()
    single = make_batches(clips, batch_size=8)
    parts = [
        make_batches(clips, batch_size=8, process_index=p, process_count=count)
        for p in range(count)
    ]
    for step in range(single.steps_per_epoch + 1):
        for key, value in single[step].items():
            np.testing.assert_array_equal(value, np.concatenate([p[step][key] for p in parts]))
    with pytest.raises(UserError, match="training.batch_size=7"):
        make_batches(clips, process_count=2)


def test_windows_have_the_audio_and_the_peak_of_their_clip(tone_clips):
    clips = tone_clips(num_clips=2, num_classes=2)
    batches = make_batches(clips, batch_size=4, shuffle=False)
    first = batches[0]
    audio, _ = clips.read(0)
    np.testing.assert_array_equal(first["audio"][1], audio[2000:4000])
    np.testing.assert_allclose(first["gain"], np.abs(audio.astype(float)).max() / 32768, rtol=1e-6)
    assert batches.ids(0) == ["clip 0"] * 4
    # A clip shorter than a window is padded, and num_samples gives its length.
    short = make_batches(clips, window_samples=20_000, batch_size=2, shuffle=False)[0]
    assert short["num_samples"].tolist() == clips.num_samples.tolist()
    assert not short["audio"][0, clips.num_samples[0] :].any()


def test_class_weights_give_each_window_the_weight_of_its_class(tone_clips):
    clips = tone_clips(num_clips=3, num_classes=2)
    batches = make_batches(clips, batch_size=5, shuffle=False)
    # Every window counts, and the clips have different numbers of windows.
    windows = np.concatenate([batches[step]["labels"] for step in range(batches.steps_per_epoch)])
    np.testing.assert_array_equal(batches.class_counts, windows.sum(axis=0))
    assert "weight" not in batches[0]
    weighted = dataclasses.replace(batches, class_weights=np.array([0.25, 3.0]))
    for step in range(batches.steps_per_epoch):
        batch = weighted[step]
        rows = batch["mask"] > 0
        np.testing.assert_array_equal(batch["weight"][rows], (batch["labels"] @ [0.25, 3.0])[rows])
        assert batch["weight"].dtype == np.float32


def test_peak_of_silence_and_full_scale():
    assert peak(np.zeros(4, np.int16)) == 1.0
    assert peak(np.array([-32768, 3], np.int16)) == 1.0
    assert peak(np.array([-16384, 3], np.int16)) == 0.5


def test_validation_shares_no_songs_with_training_and_contains_every_class():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 11, 1100)
    songs = np.array([f"{k}-{rng.integers(0, 35)}" for k in target])
    labels = np.eye(11, dtype=np.float32)[target]
    train, valid = split_songs(songs, labels, fraction=0.15, seed=0)
    assert sorted([*train, *valid]) == list(range(1100))
    assert not set(songs[train]) & set(songs[valid])
    share = labels[valid].sum(0) / labels.sum(0)
    assert (share > 0.09).all() and (share <= 0.16).all()
    assert len(valid) / 1100 == pytest.approx(0.15, abs=0.02)
    repeated = split_songs(songs, labels, fraction=0.15, seed=0)
    np.testing.assert_array_equal(valid, repeated[1])
    assert not np.array_equal(valid, split_songs(songs, labels, fraction=0.15, seed=1)[1])


def test_small_classes_are_in_validation_and_a_single_song_is_rejected():
    songs = np.array(["a", "b", "c", "d"])
    labels = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    train, valid = split_songs(songs, labels, fraction=0.15, seed=0)
    assert labels[valid].sum(0).tolist() == [1, 1] and labels[train].sum(0).tolist() == [1, 1]
    # If songs differ greatly in size, the large one is never held out.
    songs = np.array(["large"] * 90 + ["small"] * 10)
    for seed in range(5):
        valid = split_songs(songs, np.ones((100, 1)), fraction=0.15, seed=seed)[1]
        assert len(valid) == 10
    songs, labels = np.array(["a"]), np.eye(1)
    with pytest.raises(UserError, match="too few"):
        split_songs(songs[:1], labels[:1], fraction=0.15, seed=0)
