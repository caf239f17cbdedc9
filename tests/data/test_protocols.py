"""Classes, channels, windows and splits of a dataset, compared with manual counts."""

import collections
import dataclasses

import numpy as np
import pytest

import data_builders
from data_builders.gm_irmas.plan import plan_clips
from irec_jax import data
from irec_jax.data.labelled_clips import window_positions
from irec_jax.data.splits import split_examples, split_songs
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS

RATE_HZ = 22_050
SETTINGS = dict(
    name="gm_irmas",
    size="tiny",
    soundfont="",
    format="mono22k",
    dir="",
    manual_dir="",
    cache_gb=1.0,
    classes=(),
    channels="mean",
    window_s=2.0,
    hop_s=1.0,
    normalize="peak",
    split="song",
    validation_fraction=0.15,
    test_fraction=0.2,
)
STEREO = dict(format="stereo44k", channels="separate")


def load(**changes):
    return data.load(SETTINGS | changes)


def make_splits(seed=0, dataset=None, **changes):
    return data.split_clips(dataset or load(**changes), SETTINGS | changes, seed=seed)


@pytest.fixture(scope="module")
def source():
    """Clips by split, as returned by the builder."""
    builder = data_builders.prepare("gm_irmas", size="tiny", format="stereo44k")
    return {split: list(builder.as_data_source(split)) for split in ("train", "test")}


@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_are_restricted_to_the_selection_in_its_order(source, split):
    classes = ("voi", "cel", "pia")
    clips = getattr(load(format="stereo44k", classes=classes, split="official"), split)
    expected = []
    for clip in source[split]:
        names = {IRMAS[label] for label in clip["labels"]} & set(classes)
        if names:
            expected.append((clip["id"].decode(), [float(name in names) for name in classes]))
    assert 0 < len(expected) < len(source[split])
    assert clips.ids.tolist() == [key for key, _ in expected]
    np.testing.assert_array_equal(clips.labels, [labels for _, labels in expected])
    by_id = {clip["id"].decode(): clip for clip in source[split]}
    for i in (0, len(clips) - 1):
        clip = by_id[clips.ids[i]]
        audio, gain = clips.read(i)
        mean = np.round(clip["audio"].astype(np.float64).mean(axis=1))
        assert np.abs(audio - mean).max() <= 1 and clips.songs[i] == clip["song"].decode()
        assert gain == np.abs(audio.astype(int)).max() / np.float32(32768)
        assert clips.num_samples[i] == len(audio)
    # One split has single labels, the other several labels per clip.
    assert split == "train" or clips.labels.sum(axis=1).max() > 1


@pytest.mark.parametrize("given", ["pia,gel", ("pia,gel",), ["pia", "gel"], ("pia", "gel")])
def test_classes_can_be_written_in_several_ways(given):
    assert data.describe(SETTINGS | {"classes": given}) == (("pia", "gel"), RATE_HZ)
    assert load(classes=given).classes == ("pia", "gel")
    assert load(classes=given).num_classes == 11


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("gl", "pia"), "did you mean 'gel'"),
        (("gel", "pia", "gel"), "'gel' appears twice"),
        (("gel",), "only one class, 'gel'"),
        ((3, "gel"), "'3'"),
    ],
)
def test_invalid_classes_are_reported_in_one_line(given, message):
    for function in (data.describe, data.load):
        with pytest.raises(UserError, match="data.classes") as error:
            function(SETTINGS | {"classes": given})
        assert message in str(error.value) and "\n" not in str(error.value)


def test_each_channel_is_a_separate_example(source):
    clips = load(**STEREO, split="official").train
    assert len(clips) == 2 * len(source["train"])
    for i, clip in enumerate(source["train"][:3]):
        assert np.any(clip["audio"][:, 0] != clip["audio"][:, 1])
        for channel in (0, 1):
            row = 2 * i + channel
            audio, gain = clips.read(row)
            np.testing.assert_array_equal(audio, clip["audio"][:, channel])
            assert gain == np.abs(clip["audio"][:, channel].astype(int)).max() / np.float32(32768)
            assert clips.ids[row] == f"{clip['id'].decode()}#{channel + 1}"
            assert clips.songs[row] == clip["song"].decode()
            assert clips.labels[row].nonzero()[0].tolist() == list(clip["labels"])
    mono = load(format="mono22k", channels="separate", split="official").train
    np.testing.assert_array_equal(mono.ids, [clip["id"].decode() for clip in source["train"]])


def test_cached_clips_are_read_once():
    cached, uncached = load(**STEREO).train, load(**STEREO, cache_gb=0.0).train
    assert cached.read(5)[0] is cached.read(5)[0]
    assert uncached.read(5)[0] is not uncached.read(5)[0]
    np.testing.assert_array_equal(cached.read(5)[0], uncached.read(5)[0])
    # The cached array is not a view that keeps the other channel in memory.
    audio = cached.read(5)[0]
    assert audio.base is None or audio.base.nbytes == audio.nbytes


@pytest.mark.parametrize("hop", [1000, 700, 2000])
def test_training_windows_with_overlap(tone_clips, hop):
    clips = tone_clips(num_clips=3)
    expected = []
    for i in range(3):
        audio, gain = clips.read(i)
        start = 0
        while start + 2000 <= len(audio) + 2:  # a thousandth of a window may be missing
            expected.append((str(clips.ids[i]), start, audio[start : start + 2000], gain))
            start += hop
    batches = data.Batches(
        clips, window_samples=2000, hop_samples=hop, batch_size=len(expected), shuffle=False
    )
    assert batches.num_windows == len(expected) and batches.steps_per_epoch == 1
    assert batches.ids(0) == [name for name, *_ in expected]
    windows = clips.to_windows(window_samples=2000, hop_samples=hop)
    assert windows.ids.tolist() == [f"{name}@{start}" for name, start, *_ in expected]
    for i, (_, _, window, gain) in enumerate(expected):
        np.testing.assert_array_equal(batches[0]["audio"][i, : len(window)], window)
        assert batches[0]["num_samples"][i] == windows.num_samples[i] == len(window)
        audio, window_gain = windows.read(i)
        np.testing.assert_array_equal(audio, window)
        assert batches[0]["gain"][i] == window_gain == gain
    # Windowing windows again leaves them unchanged.
    batches_of_windows = data.Batches(
        windows, window_samples=2000, hop_samples=hop, batch_size=64, shuffle=False
    )
    np.testing.assert_array_equal(
        batches_of_windows[0]["audio"][: len(expected)], batches[0]["audio"]
    )


def test_windows_tolerate_missing_samples_and_a_short_clip_has_one_window():
    def starts(num_samples, window=22_050, hop=22_050):
        positions = window_positions([num_samples], window_samples=window, hop_samples=hop)
        return positions[:, 1].tolist()

    assert starts(66_150) == starts(66_149) == [0, 22_050, 44_100]
    assert starts(66_150 - 23) == [0, 22_050]
    assert starts(132_299, 88_200, 44_100) == [0, 44_100]
    assert starts(5) == starts(22_050) == [0]


@pytest.mark.parametrize("split", ["song", "window"])
def test_splits_contain_every_window_of_every_channel_once(split):
    settings = STEREO | {"split": split}
    dataset = load(**settings)
    splits = make_splits(dataset=dataset, **settings)
    # Clips of 3 s: two windows of 2 s, two channels.
    expected = [f"{name}@{start}" for name in dataset.train.ids for start in (0, 44_100)]
    ids = [name for part in splits for name in part.ids.tolist()]
    assert sorted(ids) == sorted(expected) and len(set(ids)) == len(ids)
    index = {name: i for i, name in enumerate(dataset.train.ids.tolist())}
    for part in splits:
        assert set(part.num_samples.tolist()) == {88_200}
        for i in (0, len(part) // 2):
            name, start = part.ids[i].split("@")
            audio, gain = dataset.train.read(index[name])
            np.testing.assert_array_equal(part.read(i)[0], audio[int(start) :][:88_200])
            assert part.read(i)[1] == gain and part.songs[i] == dataset.train.songs[index[name]]
            np.testing.assert_array_equal(part.labels[i], dataset.train.labels[index[name]])
    songs = [set(part.songs.tolist()) for part in splits]
    clips = [{name.split("#")[0] for name in part.ids} for part in splits]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        if split == "song":
            assert not songs[a] & songs[b] and not clips[a] & clips[b]
    if split == "window":
        assert clips[0] & clips[2] and songs[0] & songs[2]
        # Both channels of one window may be in different splits.
        windows = [{name.replace("#1", "").replace("#2", "") for name in s.ids} for s in splits]
        assert windows[0] & windows[2]


def test_random_windows_are_stratified_by_label_set():
    generator = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 400)]
    labels[:37] = [1, 1, 0]
    remaining, held_out = split_examples(None, labels, fraction=0.15, seed=3)
    assert sorted([*remaining, *held_out]) == list(range(400))
    label_counts = collections.Counter(map(tuple, labels.tolist()))
    held_out_counts = collections.Counter(map(tuple, labels[held_out].tolist()))
    assert len(label_counts) == 4
    for label_set, count in label_counts.items():
        assert held_out_counts[label_set] == round(0.15 * count)
    # The choice is random: neighbouring examples are often separated.
    assert 0 < (np.diff(held_out) == 1).mean() < 0.5


def test_test_and_validation_songs_have_their_share_of_every_class(tone_clips):
    clips = tone_clips(num_clips=600, num_samples=300)
    dataset = data.Dataset(
        "tones", "1", "", True, ("a", "b", "c"), 3, sample_rate_hz=100, train=clips, test=None
    )
    splits = make_splits(dataset=dataset, window_s=1.0, hop_s=0.5)
    total = sum(part.labels.sum(axis=0) for part in splits)
    np.testing.assert_allclose(splits.test.labels.sum(axis=0) / total, 0.2, atol=0.03)
    np.testing.assert_allclose(splits.validation.labels.sum(axis=0) / total, 0.15, atol=0.03)


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_rendered_test_clips_have_parts_without_common_songs(size):
    parts = collections.Counter(clip.part for clip in plan_clips(size, "test"))
    songs = {part: {c.song for c in plan_clips(size, "test") if c.part == part} for part in (2, 3)}
    assert parts[2] > parts[3] > 0 and not songs[2] & songs[3]


@pytest.mark.parametrize("channels", ["mean", "separate"])
def test_parts_use_the_first_seconds_of_each_clip(source, channels):
    settings = dict(split="parts", format="stereo44k", channels=channels, validation_fraction=0.2)
    dataset = load(**settings)
    splits = make_splits(dataset=dataset, **settings)
    clips = {clip["id"].decode(): clip for split in source.values() for clip in split}
    test_clips = [clip for clip in source["test"] if clip["part"] == 3]
    training_clips = source["train"] + [clip for clip in source["test"] if clip["part"] == 2]
    assert test_clips and len(training_clips) > len(source["train"])

    def names(clips):
        return {name.split("#")[0] for name in clips.ids}

    assert names(splits.test) == {clip["id"].decode() for clip in test_clips}
    expected = {clip["id"].decode() for clip in training_clips}
    assert names(splits.training) | names(splits.validation) == expected
    assert not set(splits.training.songs) & set(splits.validation.songs)
    assert len(splits.test) == len(test_clips) * (2 if channels == "separate" else 1)
    for part in splits:
        assert part.num_samples.max() == 88_200  # 2 s, of clips of up to 20 s
        for i in (0, len(part) - 1):
            name, _, channel = part.ids[i].partition("#")
            segment = clips[name]["audio"][:88_200].astype(float)
            expected = segment[:, int(channel) - 1] if channel else np.round(segment.mean(axis=1))
            audio, gain = part.read(i)
            assert len(audio) == part.num_samples[i] and np.abs(audio - expected).max() <= 1
            assert gain == np.abs(audio.astype(int)).max() / np.float32(32768)
            assert np.flatnonzero(part.labels[i]).tolist() == sorted(clips[name]["labels"])
    # Only the first seconds are cached, and each clip has one window for any hop.
    assert splits.training.read(0)[0] is splits.training.read(0)[0]
    assert splits.training.read(0)[0].base is None
    batches = data.Batches(splits.training, window_samples=88_200, hop_samples=100, batch_size=4)
    assert batches.num_windows == len(splits.training)


def test_datasets_without_parts_are_reported_in_one_line(tmp_path):
    settings = SETTINGS | dict(name="folder", path=str(tmp_path), split="parts")
    del settings["size"], settings["soundfont"]
    for function in (data.describe, data.load):
        with pytest.raises(UserError, match="data.split=parts: .* not in folder; set") as error:
            function(settings)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("split", ["official", "song", "window", "parts"])
def test_splits_depend_only_on_the_seed(split):
    dataset = load(split=split)
    first, same, different_seed = (make_splits(seed, dataset, split=split) for seed in (0, 0, 1))
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
    for name in ("training", "validation"):
        assert set(getattr(first, name).ids) != set(getattr(different_seed, name).ids)
    assert (set(first.test.ids) == set(different_seed.test.ids)) == (split in ("official", "parts"))


def test_official_split_uses_the_test_clips_of_the_dataset(source):
    settings = dict(split="official", format="stereo44k")
    splits = make_splits(**settings)
    assert splits.test.ids.tolist() == [clip["id"].decode() for clip in source["test"]]
    assert not set(splits.training.songs) & set(splits.validation.songs)
    ids = sorted([*splits.training.ids, *splits.validation.ids])
    assert ids == sorted(clip["id"].decode() for clip in source["train"])


@pytest.mark.parametrize("settings", [{}, STEREO], ids=["mono", "both channels"])
def test_random_validation_holds_out_clips_of_every_class_regardless_of_their_song(settings):
    settings = dict(split="official", split_validation="random", **settings)
    dataset = load(**settings)
    _, clip = np.unique([i.split("#")[0] for i in dataset.train.ids], return_inverse=True)
    train = dataclasses.replace(dataset.train, songs=np.array([f"song {i // 4}" for i in clip]))
    dataset = dataclasses.replace(dataset, train=train)
    splits = make_splits(dataset=dataset, **settings)
    training, validation = ({i.split("#")[0] for i in part.ids} for part in splits[:2])
    assert not training & validation  # both channels of a clip are in the same split
    assert len(training) + len(validation) == len({i.split("#")[0] for i in dataset.train.ids})
    assert set(splits.training.songs) & set(splits.validation.songs)
    total, held_out = dataset.train.labels.sum(axis=0), splits.validation.labels.sum(axis=0)
    smallest = 2 if "channels" in settings else 1
    assert np.all(held_out >= smallest) and np.all(held_out <= np.maximum(0.15 * total, smallest))
    again, other = (make_splits(seed=n, dataset=dataset, **settings).validation for n in (0, 1))
    assert again.ids.tolist() == splits.validation.ids.tolist() != other.ids.tolist()
    protocol = data.protocol(SETTINGS | settings, splits, dataset)
    assert "clips of one song may be in both" in protocol["description"]


@pytest.mark.parametrize("split", ["official", "song", "window", "parts"])
def test_protocol_describes_and_counts_the_splits(split):
    settings = SETTINGS | {"split": split}
    dataset = data.load(settings)
    splits = data.split_clips(dataset, settings, seed=0)
    protocol = data.protocol(settings, splits, dataset)
    assert protocol["split"] == split and protocol["description"].startswith(f"{split}: ")
    assert ("leakage" in protocol["description"]) == (split == "window")
    assert protocol["unit"] == ("clips" if split in ("official", "parts") else "windows")
    expected = "the first 2 s of each clip" if split == "parts" else "windows of 2 s every 1 s"
    assert expected in protocol["examples"]
    for name, clips in splits._asdict().items():
        assert protocol["sides"][name]["num_examples"] == len(clips)
        assert protocol["sides"][name]["num_songs"] == len(set(clips.songs))
        per_class = protocol["sides"][name]["per_class"]
        assert per_class["pia"] == sum(row[IRMAS.index("pia")] > 0 for row in clips.labels)
    shared = set(splits.training.songs) & set(splits.test.songs)
    assert protocol["num_songs_on_both_sides"] == len(shared)
    assert bool(shared) == (split == "window")
    separate = data.protocol(settings | {"channels": "separate"}, splits, dataset)
    assert "each channel separately" in separate["examples"]


def test_splits_are_described_as_they_were_made():
    settings = SETTINGS | {"split": "official"}
    own = data.describe_split(settings, "a fifth of the songs", own_validation=True)
    assert own == "a fifth of the songs; validated on the dataset's own validation clips"
    text = data.describe_split(settings, "a fifth of the songs")
    assert text == "a fifth of the songs; training and validation have no song in common"
    assert "a fifth" not in data.describe_split(settings | {"split": "song"}, "a fifth")


@pytest.mark.parametrize("function", [split_songs, split_examples])
def test_too_few_examples_to_split_are_reported_in_one_line(function):
    songs, labels = np.array(["a"]), np.eye(1)
    for purpose in ("validation", "test"):
        with pytest.raises(UserError, match=f"1 (song|example): too few .* for {purpose}"):
            function(songs, labels, fraction=0.15, seed=0, purpose=purpose)
        with pytest.raises(UserError, match=f"data.{purpose}_fraction=1.5"):
            function(songs, labels, fraction=1.5, seed=0, purpose=purpose)
