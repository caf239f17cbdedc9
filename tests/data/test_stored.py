"""Stores of precomputed examples: writing, interruption, reading."""

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
    return data.StoreContents(**(fields | changes))


IDS = [f"clip {i}" for i in range(11)]


def values(indices):
    """Return values near i / 100 for clip i, and one value that is clipped."""
    examples = np.asarray(indices)[:, None, None] / 100 + np.arange(6).reshape(3, 2) / 1000
    examples[:, 2, 1] = 1.5
    return examples


def test_written_values_are_read_back(tmp_path):
    data.write_store(tmp_path / "s", contents(), IDS, values, batch_size=4)
    store = data.open_store(tmp_path / "s")
    assert store.contents == contents() and store.values.dtype == np.int16
    assert isinstance(store.values, np.memmap)
    expected = np.minimum(values(range(11)), 32767 / 32768)
    np.testing.assert_allclose(audio.to_float32(store.values), expected, atol=0.5 / 32768)
    data.write_store(tmp_path / "s", contents(), IDS, None)  # all examples exist already


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_interrupted_store_is_resumed(tmp_path, error):
    batches = []

    def compute(indices):
        batches.append(indices)
        if len(batches) == 3:
            raise error("x")
        return values(indices)

    with pytest.raises(error):
        data.write_store(tmp_path, contents(), IDS, compute, batch_size=3)
    with pytest.raises(UserError, match="interrupted after 6 of 11 examples"):
        data.open_store(tmp_path)
    data.write_store(tmp_path, contents(), IDS, compute, batch_size=3)
    assert batches[3:] == [[6, 7, 8], [9, 10]]
    uninterrupted = tmp_path / "uninterrupted"
    data.write_store(uninterrupted, contents(), IDS, values)
    np.testing.assert_array_equal(
        data.open_store(tmp_path).values, data.open_store(uninterrupted).values
    )


def test_interrupted_creation_is_restarted(tmp_path):
    (tmp_path / "values.npy").write_bytes(b"half of")
    data.write_store(tmp_path, contents(), IDS, values)
    assert len(data.open_store(tmp_path).values) == 11


@pytest.mark.parametrize(
    ("changes", "ids", "message"),
    [
        (dict(made_by="unet 5678"), IDS, r"other examples by unet 1234 \(different made_by\)"),
        (dict(shape=(2, 3)), IDS, r"other examples \(different shape\)"),
        (dict(kind="audio"), IDS, r"\(different kind\)"),
        ({}, IDS[1:], r"\(different ids\)"),
    ],
)
def test_store_of_another_separator_or_dataset_is_rejected(tmp_path, changes, ids, message):
    data.write_store(tmp_path, contents(), IDS, values)
    with pytest.raises(UserError, match=message) as error:
        data.write_store(tmp_path, contents(**changes), ids, values)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    np.testing.assert_array_equal(
        data.open_store(tmp_path).values[0], audio.to_int16(values([0]))[0]
    )


def test_folders_without_a_valid_store_are_reported(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no stored examples"):
        data.open_store(tmp_path / "none")
    (tmp_path / "song.wav").touch()
    with pytest.raises(UserError, match="holds other files"):
        data.write_store(tmp_path, contents(), IDS, values)
    data.write_store(tmp_path / "s", contents(), IDS, values)
    (tmp_path / "s" / "values.npy").write_bytes(b"half of")
    with pytest.raises(UserError, match="s: damaged"):
        data.open_store(tmp_path / "s")
    (tmp_path / "s" / "store.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(UserError, match="written by another version"):
        data.open_store(tmp_path / "s")
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="11 examples take 0.0 GB"):
        data.write_store(tmp_path / "t", contents(), IDS, values)
    assert not (tmp_path / "t" / "values.npy").exists()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Return the folder with stores of features and audio, and the dataset of the same clips."""
    folder = tmp_path_factory.mktemp("stores")
    dataset = data.load(SETTINGS)
    splits = [dataset.train, dataset.test]
    ids = np.concatenate([clips.ids for clips in splits])
    clips = dataset.train.concatenate(dataset.test)

    def waveforms(indices):
        padded = np.zeros((len(indices), WINDOW), np.float32)
        for row, i in enumerate(indices):
            samples = audio.to_float32(clips.read(i)[0])
            padded[row, : len(samples)] = samples
        return padded

    def features(indices):
        return np.asarray(SPECTROGRAM(waveforms(indices)))[..., :25]

    identity = data.store_identity(SETTINGS, version=dataset.version, config=dataset.config)
    for kind, shape, compute in (("features", (64, 25), features), ("audio", (WINDOW,), waveforms)):
        stored = data.StoreContents(
            kind=kind, shape=shape, dataset=identity, made_by="nothing at all"
        )
        data.write_store(folder / kind, stored, ids, compute)
    return folder, dataset


@pytest.mark.parametrize("post_db", [None, -60.0])
def test_stored_features_match_features_of_the_audio(stores, post_db):
    folder, dataset = stores
    loaded = data.load(SETTINGS | {"stored": str(folder / "features")})
    assert loaded.config == f"{dataset.config}, features by nothing at all"
    front = frontends.create("stored", num_stored_frames=25, post_db=post_db, **FRONT)
    floor = np.float32(-100 / 150)
    for original, stored in ((dataset.train, loaded.train), (dataset.test, loaded.test)):
        assert stored.ids.tolist() == original.ids.tolist()
        np.testing.assert_array_equal(stored.labels, original.labels)
        options = dict(batch_size=3, seed=1)
        waveforms = data.Batches(original, window_samples=WINDOW, **options)
        features = data.Batches(stored, window_samples=front.num_values, **options)
        assert features.steps_per_epoch == waveforms.steps_per_epoch
        assert features.ids(0) == waveforms.ids(0)
        actual = np.asarray(front(audio.to_float32(features[0]["audio"])))
        expected = np.array(SPECTROGRAM(audio.to_float32(waveforms[0]["audio"])))
        if post_db is not None:
            assert (expected < -0.4).any()
            distinct = np.abs(expected + 0.4) > 1e-4
            expected[expected < -0.4] = floor
            actual, expected = actual[distinct], expected[distinct]
        np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_stored_audio_matches_the_clips(stores):
    folder, dataset = stores
    loaded = data.load(SETTINGS | {"stored": str(folder / "audio"), "classes": ("pia", "gel")})
    assert 0 < len(loaded.train) < len(dataset.train)
    index = dataset.train.ids.tolist().index(loaded.train.ids[1])
    (stored, gain), (original, peak) = loaded.train.read(1), dataset.train.read(index)
    np.testing.assert_array_equal(stored[: len(original)], original)
    assert len(stored) == WINDOW == loaded.train.num_samples[1] and gain == peak


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(window_s=0.25), r"data.stored=.*holds examples of .*not of .*0.25"),
        (dict(split="official"), r"data.split=official: stored examples hold only the first"),
    ],
)
def test_store_of_other_clips_is_rejected(stores, changes, message):
    with pytest.raises(UserError, match=message) as error:
        data.load(SETTINGS | {"stored": str(stores[0] / "features")} | changes)
    assert "\n" not in str(error.value)


def test_missing_clips_are_reported(stores):
    store = data.open_store(stores[0] / "features")
    clips = stores[1].train
    with pytest.raises(UserError, match=re.escape(f"lacks clip x{clips.ids[0]}")):
        store.replace_audio(
            data.Clips(**{**vars(clips), "ids": np.array([f"x{name}" for name in clips.ids])})
        )
