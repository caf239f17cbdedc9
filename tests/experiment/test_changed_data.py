"""Data that have changed since training: named at evaluation, refused when training resumes."""

import json
import os
import shutil

import numpy as np
import pytest
from conftest import SMALL, call, make_clips

from irec_jax import audio, data


def write(path, seconds=0.4):
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(str(path.relative_to(path.parents[2])).encode()))
    samples = 0.1 * generator.standard_normal((int(seconds * 22_050), 1))
    audio.write(path, samples.astype(np.float32), 22_050)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a folder with sounds and the workdir of a system that was trained on them."""
    folder = tmp_path_factory.mktemp("original")
    for name in ("bell", "drum"):
        for number in range(5):
            write(folder / "sounds" / "train" / name / f"{number}.wav")
        for number in range(5, 7):
            write(folder / "sounds" / "test" / name / f"{number}.wav")
    assert run(folder, "train") == 0
    return folder


@pytest.fixture
def copied(original, monkeypatch):
    """Restore the sounds and the workdir after the test."""
    backup = original.with_name("backup")
    shutil.copytree(original, backup)
    yield original
    shutil.rmtree(original)
    shutil.move(backup, original)


def run(folder, mode):
    words = ["--config=configs/han.py:debug,dataset=folder", f"--workdir={folder / 'run'}"]
    words += [f"--config.data.path={folder / 'sounds'}", f"--config.data.dir={folder / 'data'}"]
    words += ["--config.evaluation.baselines=False", f"--mode={mode}", *SMALL]
    return call(*words)


def note(printed):
    lines = [line for line in printed.splitlines() if "the data have changed" in line]
    assert len(lines) <= 1
    return "".join(lines)


def test_unchanged_data_and_workdirs_of_earlier_versions_are_silent(copied, capsys):
    for path in (copied / "sounds").rglob("*.wav"):
        os.utime(path)  # prepared again, with the same content
    assert run(copied, "eval") == 0
    assert not note(capsys.readouterr().out)
    write(copied / "sounds" / "test" / "bell" / "8.wav")
    (copied / "run" / "dataset.json").unlink()
    assert run(copied, "eval") == 0
    assert run(copied, "train") == 0
    assert not note(capsys.readouterr().out)
    assert not (copied / "run" / "dataset.json").exists()


def test_changed_test_clips_are_named_at_evaluation_and_refused_in_training(copied, capsys):
    write(copied / "sounds" / "test" / "bell" / "8.wav")
    assert run(copied, "eval") == 0
    expected = "(test 4 -> 5 examples); the scores are for the current test examples"
    assert note(capsys.readouterr().out).endswith(expected)
    assert run(copied, "train") == 1
    error = capsys.readouterr().err
    assert "(test 4 -> 5 examples); restore the data" in error and "--mode=eval" in error
    assert error.splitlines()[-1].startswith(f"error: {copied / 'run'}: the data have changed")


def test_training_clips_that_became_test_clips_are_named(copied, capsys):
    sounds = copied / "sounds"
    for number in range(5):
        shutil.move(sounds / "train" / "bell" / f"{number}.wav", sounds / "test" / "bell")
    shutil.move(sounds / "test" / "bell" / "5.wav", sounds / "train" / "bell")
    shutil.move(sounds / "test" / "bell" / "6.wav", sounds / "train" / "bell")
    assert run(copied, "eval") == 0
    assert note(capsys.readouterr().out).endswith("; 5 of the test songs were trained on")


def test_other_lengths_are_named_and_other_classes_refused(copied, capsys):
    sounds = copied / "sounds"
    write(sounds / "test" / "bell" / "5.wav", seconds=0.5)
    assert run(copied, "eval") == 0
    assert "(test 4 different examples)" in note(capsys.readouterr().out)
    for split in ("train", "test"):
        shutil.move(sounds / split / "bell", sounds / split / "gong")
    assert run(copied, "eval") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "classes bell,drum -> drum,gong" in error and "restore the classes" in error


def test_damaged_fingerprint_is_one_line(copied, capsys):
    for content in ("{", "[]"):
        (copied / "run" / "dataset.json").write_text(content)
        assert run(copied, "eval") == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {copied / 'run' / 'dataset.json'}: ")


def test_fingerprint_depends_on_names_labels_and_lengths_but_not_on_order():
    clips = make_clips()
    dataset = data.Dataset(
        name="d", version="1.0.0", config="c", rendered=False, classes=("a", "b", "c"),
        num_classes=3, sample_rate_hz=8000, train=clips, test=None,
    )  # fmt: skip

    def of(clips, **arrays):
        training = clips.subset(range(6))
        for name, array in arrays.items():
            training = type(clips)(**{**vars(training), name: array})
        splits = data.Splits(training, clips.subset([6, 7, 8]), clips.subset([9, 10, 11]))
        return data.fingerprint(dataset, splits)

    plain = of(clips)
    assert json.loads(json.dumps(plain)) == plain and not data.changes(plain, of(clips))
    reordered = clips.subset([5, 4, 3, 2, 1, 0, *range(6, 12)])
    assert not data.changes(plain, of(reordered))
    renamed = np.array([f"x{i}" for i in range(6)])
    for name, array in dict(
        ids=renamed, songs=renamed, labels=np.eye(3)[[0] * 6], num_samples=np.arange(6)
    ).items():
        assert data.changes(plain, of(clips, **{name: array})) == ["training 6 different examples"]


def test_fingerprint_of_tracks():
    arrays = {
        name: {"vocals": np.ones((10 + i, 2), np.int16)} for i, name in enumerate(("a", "b", "c"))
    }
    tracks = data.Tracks.from_arrays(arrays)
    dataset = data.StemDataset(
        name="d", version="1.0.0", config="c", rendered=False, sample_rate_hz=8000,
        stems=("vocals",), train=tracks, validation=None, test=tracks,
    )  # fmt: skip
    first, second, third = (tracks.subset([i]) for i in range(3))
    plain = data.fingerprint(dataset, data.Splits(first, second, third))
    assert plain["num_shared"] == 0 and not data.num_trained_on(plain, data.Splits(*[third] * 3))
    swapped = data.Splits(third, second, first)
    assert data.changes(plain, data.fingerprint(dataset, swapped)) == [
        "training 1 different examples",
        "test 1 different examples",
    ]
    assert data.num_trained_on(plain, swapped) == 1
