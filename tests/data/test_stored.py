"""Stored examples: written once, interrupted anywhere, read back as what they were."""

import json
import re

import numpy as np
import pytest

from irec_jax import audio, data, frontends
from irec_jax.errors import UserError

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
    window_s=0.5,
    hop_s=0.0,
    normalize="none",
    split="parts",
    validation_fraction=0.2,
    test_fraction=0.15,
)
WINDOW = 11_025
FRONT = dict(num_bins=64, num_frames=26, floor_db=-100.0, scale_db=150.0)
SPECTROGRAM = frontends.create(
    "spectrogram_db", frame_length=128, hop_length=441, **FRONT
)  # 25 frames


def contents(**changes):
    dataset = {"name": "sounds", "version": "1.0.0", "config": "a", "window_s": 0.5}
    fields = dict(kind="features", shape=(3, 2), dataset=dataset, made_by="unet 1234")
    return data.Contents(**(fields | changes))


IDS = [f"clip {i}" for i in range(11)]


def values(indices):
    """Of clip i multiples of 1 / 100, and one beyond what is kept."""
    found = np.asarray(indices)[:, None, None] / 100 + np.arange(6).reshape(3, 2) / 1000
    found[:, 2, 1] = 1.5
    return found


def test_what_was_stored_is_read_back(tmp_path):
    data.write_stored(tmp_path / "s", contents(), IDS, values, batch_size=4)
    stored = data.open_stored(tmp_path / "s")
    assert stored.contents == contents() and stored.values.dtype == np.int16
    assert isinstance(stored.values, np.memmap)
    expected = np.minimum(values(range(11)), 32767 / 32768)
    np.testing.assert_allclose(audio.to_float32(stored.values), expected, atol=0.5 / 32768)
    data.write_stored(tmp_path / "s", contents(), IDS, None)  # nothing is left to compute


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_an_interrupted_store_goes_on(tmp_path, error):
    asked = []

    def compute(indices):
        asked.append(indices)
        if len(asked) == 3:
            raise error("x")
        return values(indices)

    with pytest.raises(error):
        data.write_stored(tmp_path, contents(), IDS, compute, batch_size=3)
    with pytest.raises(UserError, match="holds 6 of 11 examples, having been interrupted"):
        data.open_stored(tmp_path)
    data.write_stored(tmp_path, contents(), IDS, compute, batch_size=3)
    assert asked[3:] == [[6, 7, 8], [9, 10]]
    whole = tmp_path / "whole"
    data.write_stored(whole, contents(), IDS, values)
    np.testing.assert_array_equal(data.open_stored(tmp_path).values, data.open_stored(whole).values)


def test_a_beginning_that_was_interrupted_is_begun_again(tmp_path):
    (tmp_path / "values.npy").write_bytes(b"half of")
    data.write_stored(tmp_path, contents(), IDS, values)
    assert len(data.open_stored(tmp_path).values) == 11


@pytest.mark.parametrize(
    ("changes", "ids", "message"),
    [
        (dict(made_by="unet 5678"), IDS, r"other examples by unet 1234 \(made_by differ\)"),
        (dict(shape=(2, 3)), IDS, r"other examples \(shape differ\)"),
        (dict(kind="audio"), IDS, r"\(kind differ\)"),
        ({}, IDS[1:], r"\(ids differ\)"),
    ],
)
def test_another_separator_or_dataset_is_refused(tmp_path, changes, ids, message):
    data.write_stored(tmp_path, contents(), IDS, values)
    with pytest.raises(UserError, match=message) as error:
        data.write_stored(tmp_path, contents(**changes), ids, values)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    np.testing.assert_array_equal(
        data.open_stored(tmp_path).values[0], audio.to_int16(values([0]))[0]
    )


def test_places_that_hold_no_store_are_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="holds no stored examples"):
        data.open_stored(tmp_path / "none")
    (tmp_path / "song.wav").touch()
    with pytest.raises(UserError, match="holds other files"):
        data.write_stored(tmp_path, contents(), IDS, values)
    data.write_stored(tmp_path / "s", contents(), IDS, values)
    (tmp_path / "s" / "values.npy").write_bytes(b"half of")
    with pytest.raises(UserError, match="is damaged"):
        data.open_stored(tmp_path / "s")
    (tmp_path / "s" / "store.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(UserError, match="not written by this version"):
        data.open_stored(tmp_path / "s")
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="11 examples take 0.0 GB"):
        data.write_stored(tmp_path / "t", contents(), IDS, values)
    assert not (tmp_path / "t" / "values.npy").exists()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Features and audio of the same clips, and the dataset of the clips themselves."""
    folder = tmp_path_factory.mktemp("stores")
    dataset = data.load(SETTINGS)
    splits = [dataset.train, dataset.test]
    ids = np.concatenate([side.ids for side in splits])
    clips = dataset.train.followed_by(dataset.test)

    def waveforms(indices):
        found = np.zeros((len(indices), WINDOW), np.float32)
        for row, i in enumerate(indices):
            samples = audio.to_float32(clips.read(i)[0])
            found[row, : len(samples)] = samples
        return found

    def features(indices):
        return np.asarray(SPECTROGRAM(waveforms(indices)))[..., :25]

    identity = data.dataset_of_store(SETTINGS, version=dataset.version, config=dataset.config)
    for kind, shape, compute in (("features", (64, 25), features), ("audio", (WINDOW,), waveforms)):
        held = data.Contents(kind=kind, shape=shape, dataset=identity, made_by="nothing at all")
        data.write_stored(folder / kind, held, ids, compute)
    return folder, dataset


@pytest.mark.parametrize("post_db", [None, -60.0])
def test_stored_features_are_those_of_the_audio(stores, post_db):
    folder, dataset = stores
    loaded = data.load(SETTINGS | {"stored": str(folder / "features")})
    assert loaded.config == f"{dataset.config}, features by nothing at all"
    front = frontends.create("stored", num_stored_frames=25, post_db=post_db, **FRONT)
    floor = np.float32(-100 / 150)
    for theirs, ours in ((dataset.train, loaded.train), (dataset.test, loaded.test)):
        assert ours.ids.tolist() == theirs.ids.tolist()
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        options = dict(batch_size=3, seed=1)
        heard = data.Batches(theirs, window_samples=WINDOW, **options)
        seen = data.Batches(ours, window_samples=front.num_values, **options)
        assert seen.steps_per_epoch == heard.steps_per_epoch and seen.ids(0) == heard.ids(0)
        found = np.asarray(front(audio.to_float32(seen[0]["audio"])))
        expected = np.array(SPECTROGRAM(audio.to_float32(heard[0]["audio"])))
        if post_db is not None:
            assert (expected < -0.4).any()
            sure = np.abs(expected + 0.4) > 1e-4
            expected[expected < -0.4] = floor
            found, expected = found[sure], expected[sure]
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_stored_audio_is_that_of_the_clips(stores):
    folder, dataset = stores
    loaded = data.load(SETTINGS | {"stored": str(folder / "audio"), "classes": ("pia", "gel")})
    assert 0 < len(loaded.train) < len(dataset.train)
    where = dataset.train.ids.tolist().index(loaded.train.ids[1])
    (ours, gain), (theirs, peak) = loaded.train.read(1), dataset.train.read(where)
    np.testing.assert_array_equal(ours[: len(theirs)], theirs)
    assert len(ours) == WINDOW == loaded.train.num_samples[1] and gain == peak


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(window_s=0.25), r"data.stored=.*holds examples of .*not of .*0.25"),
        (dict(split="official"), r"data.split=official: stored examples are the beginnings"),
    ],
)
def test_a_store_of_other_clips_is_refused(stores, changes, message):
    with pytest.raises(UserError, match=message) as error:
        data.load(SETTINGS | {"stored": str(stores[0] / "features")} | changes)
    assert "\n" not in str(error.value)


def test_clips_that_are_not_stored_are_named(stores):
    stored = data.open_stored(stores[0] / "features")
    clips = stores[1].train
    with pytest.raises(UserError, match=re.escape(f"holds no clip x{clips.ids[0]}")):
        stored.clips(
            data.Clips(**{**vars(clips), "ids": np.array([f"x{name}" for name in clips.ids])})
        )
