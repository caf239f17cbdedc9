"""Batches of stem excerpts compared with the original arrays."""

import dataclasses

import numpy as np
import pytest
import soundfile
from example_stems import LENGTHS, make_tracks

from irec_jax import data
from irec_jax.errors import UserError
from irec_jax.labels import STEMS


def make(tracks, **settings):
    defaults = dict(window_samples=100, batch_size=6, seed=3)
    return data.StemBatches(tracks, **(defaults | settings))


def excerpt(audio, start, channel=None):
    """Return 100 samples of int16 (T, 2), padded; with channel None the mean of both channels."""
    audio = np.pad(audio, ((0, 100), (0, 0)))[start : start + 100]
    return np.round(audio.astype(float).mean(axis=1)) if channel is None else audio[:, channel]


def positions(batches, step):
    """Return [(track, start), ...] of each example: one position, or one for each stem."""
    examples = []
    for row in batches.ids(step):
        pairs = [position.rsplit("@", 1) for position in row.split("+")]
        examples.append([(name, int(start)) for name, start in pairs])
    return examples


def test_tracks_return_any_segment_and_zeros_beyond_their_end():
    arrays, tracks = make_tracks()
    assert len(tracks) == 4 and tracks.num_samples.tolist() == list(LENGTHS)
    padded = np.pad(arrays["song 2"]["bass"], ((0, 300), (0, 0)))
    for start, num in ((0, 500), (17, 100), (450, 100), (700, 10)):
        np.testing.assert_array_equal(tracks.read(2, "bass", start, num), padded[start:][:num])
    # Segments of arrays in memory are views.
    assert tracks.read(2, "bass", 17, 100).base is not None
    total = np.sum([arrays["song 1"][stem].astype(int) for stem in STEMS], axis=0)
    np.testing.assert_array_equal(tracks.read(1, "mixture", 0, 100), total.clip(-32768, 32767))
    part = tracks.subset([3, 0])
    assert part.names.tolist() == ["song 3", "song 0"] and part.num_samples.tolist() == [1340, 60]
    np.testing.assert_array_equal(part.read(1, "vocals", 0, 60), arrays["song 0"]["vocals"])


def test_training_examples_are_excerpts_of_one_track():
    arrays, tracks = make_tracks()
    batches = make(tracks)
    assert batches.steps_per_epoch == -(-20 // 6)  # 2000 samples are 20 windows
    for step in range(3):
        batch = batches[step]
        assert batch["stems"].shape == (6, 4, 100) and batch["stems"].dtype == np.int16
        for row, [(name, start)] in enumerate(positions(batches, step)):
            length = len(arrays[name]["bass"])
            assert 0 <= start <= max(0, length - 100)
            assert batch["num_samples"][row] == min(100, length) and batch["mask"][row] == 1
            for stem, samples in zip(STEMS, batch["stems"][row], strict=True):
                np.testing.assert_array_equal(samples, excerpt(arrays[name][stem], start))


def test_remixed_stems_have_independent_positions():
    arrays, tracks = make_tracks()
    batches = make(tracks, remix=1.0, stems=("vocals", "bass"))
    num_different = 0
    for step in range(20):
        for row, sources in enumerate(positions(batches, step)):
            sources = sources * 2 if len(sources) == 1 else sources
            num_different += sources[0][0] != sources[1][0]
            for i, (name, start) in enumerate(sources):
                expected = excerpt(arrays[name][batches.stems[i]], start)
                np.testing.assert_array_equal(batches[step]["stems"][row, i], expected)
            longest = max(len(arrays[name]["bass"]) for name, _ in sources)
            assert batches[step]["num_samples"][row] == min(100, longest)
    assert num_different > 30
    batches = make(tracks, remix=0.3)
    mixed = [len(row) > 1 for step in range(100) for row in positions(batches, step)]
    assert 0.22 < np.mean(mixed) < 0.38


def test_pass_covers_all_tracks_and_all_starts_are_equally_likely():
    _, tracks = make_tracks((600, 1800))
    batches = make(tracks, batch_size=8)
    starts = {"song 0": [], "song 1": []}
    for epoch in range(100):
        counts = {"song 0": 0, "song 1": 0}
        for step in range(epoch * 3, epoch * 3 + 3):
            for [(name, start)] in positions(batches, step):
                counts[name] += 1
                starts[name].append(start)
        assert counts == {"song 0": 6, "song 1": 18}
    for name, last in (("song 0", 500), ("song 1", 1700)):
        histogram = np.histogram(starts[name], bins=5, range=(0, last))[0]
        assert histogram.min() > 0.8 * histogram.mean() and max(starts[name]) > 0.98 * last
    # Remixed stems have the same average.
    mixed = make(tracks, batch_size=8, remix=1.0)
    names = [name for step in range(100) for row in positions(mixed, step) for name, _ in row]
    assert 0.2 < np.mean(np.array(names) == "song 0") < 0.3


def test_channels_are_drawn_once_per_example_or_for_each_remixed_stem():
    arrays, tracks = make_tracks((400,))
    for remix, same_channel in ((0.0, True), (1.0, False)):
        batches = make(tracks, channels="random", remix=remix)
        channels_by_example = []
        for step in range(10):
            for row, sources in enumerate(positions(batches, step)):
                if len(sources) not in (1, 4):
                    continue
                channels = []
                for i, (name, start) in enumerate(sources * (4 // len(sources))):
                    matches = [
                        channel
                        for channel in (None, 0, 1)
                        if np.array_equal(
                            batches[step]["stems"][row, i],
                            excerpt(arrays[name][STEMS[i]], start, channel),
                        )
                    ]
                    assert len(matches) == 1
                    channels += matches
                channels_by_example.append(channels)
        assert all(len(set(channels)) == 1 for channels in channels_by_example) == same_channel
        assert {channel for channels in channels_by_example for channel in channels} == {None, 0, 1}


def test_validation_windows_cover_every_track_consecutively():
    arrays, tracks = make_tracks()
    batches = make(tracks, shuffle=False)
    expected = [
        (name, start) for name, a in arrays.items() for start in range(0, len(a["bass"]), 100)
    ]
    assert batches.num_windows == len(expected) == 21 and batches.steps_per_epoch == 4
    epoch = list(batches.iterate())
    assert len(epoch) == 4 and [batch["mask"].sum() for batch in epoch] == [6, 6, 6, 3]
    rows = [(batch, row) for batch in epoch for row in range(6)]
    for (batch, row), (name, start) in zip(rows, expected, strict=False):
        for stem, samples in zip(STEMS, batch["stems"][row], strict=True):
            np.testing.assert_array_equal(samples, excerpt(arrays[name][stem], start))
        mixture = np.sum([arrays[name][stem].astype(int) for stem in STEMS], axis=0)
        np.testing.assert_array_equal(batch["mixture"][row], excerpt(mixture, start))
        assert batch["num_samples"][row] == min(100, len(mixture) - start)
    assert not epoch[3]["stems"][3:].any() and not epoch[3]["num_samples"][3:].any()
    assert [name for step in range(4) for name in batches.ids(step)] == [
        f"{name}@{start}" for name, start in expected
    ]


def test_batch_depends_only_on_seed_and_step():
    _, tracks = make_tracks()
    settings = dict(remix=0.5, channels="random")
    first, second = make(tracks, **settings), make(tracks, **settings)
    batches = {step: second[step] for step in (13, 2)}
    for step, batch in batches.items():
        for key, value in first[step].items():
            np.testing.assert_array_equal(value, batch[key])
    iterated = first.iterate(2)
    for step in (2, 3, 4):
        np.testing.assert_array_equal(next(iterated)["stems"], first[step]["stems"])
    assert first.ids(2) != make(tracks, seed=4, **settings).ids(2)
    assert len({tuple(first.ids(step)) for step in range(20)}) == 20


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_same_global_batch_of_stems(count, shuffle):
    _, tracks = make_tracks()
    settings = dict(batch_size=8, remix=0.5, channels="random", shuffle=shuffle)
    single = make(tracks, **settings)
    parts = [make(tracks, **settings, process_index=p, process_count=count) for p in range(count)]
    for step in range(single.steps_per_epoch):
        for key, value in single[step].items():
            np.testing.assert_array_equal(value, np.concatenate([p[step][key] for p in parts]))
    with pytest.raises(UserError, match="training.batch_size=7"):
        make(tracks, batch_size=7, process_count=2)


def test_epoch_of_stems_can_be_several_passes_or_part_of_a_pass():
    _, tracks = make_tracks((2400,))
    assert make(tracks).steps_per_epoch == 4
    assert make(tracks, min_steps_per_epoch=5).steps_per_epoch == 8
    assert make(tracks, max_steps_per_epoch=3).steps_per_epoch == 3
    assert make(tracks, min_steps_per_epoch=7, max_steps_per_epoch=3).steps_per_epoch == 9
    # Every pass has a new order and covers the track.
    batches = make(tracks)
    for number in range(3):
        steps = range(4 * number, 4 * number + 4)
        starts = [start for step in steps for [(_, start)] in positions(batches, step)]
        assert (np.diff(np.sort(starts)) < 200).all() and starts != sorted(starts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vocal+other", "did you mean 'vocals'"),
        ("", "no stem"),
        ("drums+bass+other+vocals", "all stems"),
        ("bass+bass", "'bass' appears twice"),
    ],
)
def test_invalid_targets_are_reported_in_one_line(text, message):
    with pytest.raises(UserError, match="data.target") as error:
        data.parse_target(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_target_is_any_sum_of_stems():
    assert data.parse_target("vocals+other") == ("vocals", "other")
    assert data.parse_target(" bass ", ("bass", "rest")) == ("bass",)


def test_invalid_settings_of_stems_are_reported():
    _, tracks = make_tracks()
    for settings in (dict(channels="left"), dict(remix=1.5)):
        with pytest.raises(ValueError, match=next(iter(settings))):
            make(tracks, **settings)


SETTINGS = dict(
    name="musdb18",
    dir="",
    manual_dir="",
    cache_gb=1.0,
    target="vocals+other",
    window_s=3.0,
    split="validation",
    validation_fraction=0.3,
    remix=0.5,
    channels="mean",
)


@pytest.fixture(scope="module")
def stem_folder(tmp_path_factory):
    """Three training tracks, one of them with two segments, and an official validation track."""
    folder, arrays = tmp_path_factory.mktemp("stems"), {}
    lengths = {"A - A": 30_000, "B - B": 300_000, "C - C": 9_000, "ANiMAL - Rockshow": 20_000}
    for seed, (name, length) in enumerate(lengths.items()):
        (arrays[name],) = make_tracks((length,), seed)[0].values()
        arrays[name]["mixture"] = np.sum([arrays[name][s] // 8 for s in STEMS], 0, np.int16)
        (folder / "train" / name).mkdir(parents=True)
        for stream, audio in arrays[name].items():
            soundfile.write(folder / "train" / name / f"{stream}.wav", audio, 44_100)
    return folder, arrays


def test_prepared_dataset_returns_the_original_audio(stem_folder):
    folder, arrays = stem_folder
    settings = SETTINGS | dict(path=str(folder))
    assert data.describe_stems(settings) == (STEMS, 44_100)
    for cache_gb in (1.0, 0.0):
        dataset = data.load_stems(settings | dict(cache_gb=cache_gb))
        assert dataset.name == "musdb18" and dataset.stems == STEMS and not dataset.rendered
        assert len(dataset.train) == 3 and dataset.test is None
        assert dataset.validation.names.tolist() == ["ANiMAL - Rockshow"]
        for tracks in (dataset.train, dataset.validation):
            for i, name in enumerate(tracks.names):
                assert tracks.num_samples[i] == len(arrays[name]["bass"])
        row = dataset.train.names.tolist().index("B - B")
        # Within a stored segment, across two segments, across the end of the track, beyond the end.
        for start, num in ((5, 1000), (264_000, 2000), (263_600, 40_000), (400_000, 10)):
            for stream in ("mixture", "vocals"):
                padded = np.pad(arrays["B - B"][stream], ((0, 150_000), (0, 0)))
                samples = dataset.train.read(row, stream, start, num)
                np.testing.assert_array_equal(samples, padded[start : start + num])
        first, second = (dataset.train.read(row, "bass", 5, 1000) for _ in range(2))
        assert np.shares_memory(first, second) == (cache_gb > 0)
    batch = data.StemBatches(dataset.train, window_samples=4000, batch_size=4, remix=0.5)[0]
    assert batch["stems"].shape == (4, 4, 4000) and batch["stems"].any(axis=(1, 2)).all()


def make_dataset(num_train=10, num_validation=3, num_test=2):
    def split(kind, num):
        return dataclasses.replace(
            make_tracks((50,) * num)[1], names=np.array([f"{kind} {i}" for i in range(num)])
        )

    splits = {"train": num_train, "validation": num_validation, "test": num_test}
    tracks = {kind: split(kind, num) if num else None for kind, num in splits.items()}
    return data.StemDataset("mine", "1", "", False, 44_100, STEMS, **tracks)


def names_of(splits):
    return [tracks.names.tolist() for tracks in splits]


def test_splits_of_tracks():
    dataset = make_dataset()
    official = data.split_tracks(dataset, SETTINGS | dict(split="official"), seed=0)
    assert official == (dataset.train, dataset.validation, dataset.test)
    for stem_dataset, test in ((dataset, "validation"), (make_dataset(num_validation=0), "test")):
        settings = SETTINGS | dict(split="official" if test == "test" else "validation")
        training, validation, test_names = names_of(
            data.split_tracks(stem_dataset, settings, seed=0)
        )
        assert test_names == getattr(stem_dataset, test).names.tolist()
        assert (
            len(validation) == 3
            and sorted(training + validation) == stem_dataset.train.names.tolist()
        )
        repeated = names_of(data.split_tracks(stem_dataset, settings, seed=0))
        assert repeated == [training, validation, test_names]
        assert names_of(data.split_tracks(stem_dataset, settings, seed=1))[1] != validation


@pytest.mark.parametrize(
    ("counts", "split", "message"),
    [
        ((10, 3, 0), "official", "no test tracks to test with; set data.split=validation"),
        ((10, 0, 3), "validation", "no validation tracks to test with; set data.split=official"),
        ((10, 0, 0), "official", "no test tracks to test with; add tracks"),
        ((1, 2, 0), "validation", "1 training track"),
    ],
)
def test_too_few_tracks_to_split_are_reported_in_one_line(counts, split, message):
    with pytest.raises(UserError, match=f"mine: .*{message}") as error:
        data.split_tracks(make_dataset(*counts), SETTINGS | dict(split=split), seed=0)
    assert "\n" not in str(error.value)


def test_datasets_of_the_wrong_type_are_reported_in_one_line():
    clips = dict(classes=(), channels="mean", hop_s=0.0, normalize="peak", test_fraction=0.1)
    for function in (data.describe, data.load):
        with pytest.raises(UserError, match="'musdb18': holds tracks with their stems, not label"):
            function(SETTINGS | clips)
    for function in (data.describe_stems, data.load_stems):
        with pytest.raises(UserError, match="'irmas': holds labelled clips, not tracks .* musdb18"):
            function(SETTINGS | dict(name="irmas"))
        with pytest.raises(UserError, match="did you mean 'musdb18'"):
            function(SETTINGS | dict(name="musdb"))
    assert "target" in data.own_keys("musdb18") and "classes" in data.own_keys("irmas")
