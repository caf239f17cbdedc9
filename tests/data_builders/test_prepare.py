"""Builders by name, and atomic preparation by a single process."""

import inspect
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import data_builders
from data_builders.common import streaming
from irec_jax import audio
from irec_jax.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sounds(tmp_path):
    """Write two classes of six clips each, of different lengths."""
    generator = np.random.default_rng(0)
    for name in ("bell", "drum"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(6):
            samples = 0.1 * generator.standard_normal((2_000 + 100 * i, 1))
            path = tmp_path / "sounds" / name / f"{i}.wav"
            audio.write(path, samples.astype(np.float32), 22_050)
    return tmp_path / "sounds"


def prepare(tmp_path, sounds):
    return data_builders.prepare("folder", data_dir=tmp_path / "data", path=sounds)


def start(tmp_path, sounds, setup=""):
    """Run `prepare` in a separate process."""
    code = f"""
import sys
import data_builders
{setup}
builder = data_builders.prepare("folder", data_dir={str(tmp_path / "data")!r}, path={str(sounds)!r})
print(sum(split.num_examples for split in builder.info.splits.values()))
"""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("irmass", {}, "unknown dataset 'irmass': did you mean 'irmas'?"),
        ("irmas", {"fromat": "x"}, "unknown argument 'fromat' of dataset 'irmas': did you mean"),
        ("irmas", {"format": "mono22"}, "unknown format 'mono22': did you mean 'mono22k'?"),
        ("irmas", {"size": "small"}, "unknown argument 'size' of dataset 'irmas'"),
        ("gm_irmas", {"size": "tinny"}, "unknown size 'tinny': did you mean 'tiny'?"),
        ("gm_irmas", {"format": "x"}, "unknown format 'x'"),
        ("folder", {}, "folder: no path given; set path to a folder of <class>/"),
        ("multitrack", {}, "multitrack: no path given; set path to a folder of <piece>/"),
    ],
)
def test_misspelled_names_and_options_suggest_the_closest_match(name, options, message):
    for function in (data_builders.builder, data_builders.prepare):
        with pytest.raises(UserError) as error:
            function(name, **options)
        assert message in str(error.value)


@pytest.mark.parametrize("name", data_builders.DATASETS)
def test_every_option_has_a_help_text(name):
    options = inspect.signature(data_builders.describe(name).create_builder).parameters
    assert set(options) - {"data_dir"} == set(data_builders.describe(name).options)
    with pytest.raises(UserError, match="unknown dataset"):
        data_builders.describe(name + "x")


@pytest.mark.parametrize("name, options", [("irmas", {}), ("gm_irmas", {"size": "tiny"})])
@pytest.mark.parametrize("form, rate_and_channels", [("stereo44k", 2), ("mono22k", 1)])
def test_builders_of_clips_have_the_same_features(tmp_path, name, options, form, rate_and_channels):
    builder = data_builders.builder(
        name, data_dir=tmp_path, manual_dir="unused", format=form, **options
    )
    features = builder.info.features
    assert set(features) == {
        *("audio", "labels", "id", "song", "drums", "genre", "part", "contradictory")
    }
    assert features["audio"].shape == (None, rate_and_channels)
    assert features["labels"].feature.num_classes == 11
    assert str(builder.version) == "1.0.0" and form in builder.builder_config.name
    assert not list(tmp_path.iterdir())


def test_home_folder_is_expanded_and_a_default_folder_exists(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    builder = data_builders.builder("irmas", data_dir="~/x")
    assert str(builder.data_dir).startswith(str(tmp_path / "x"))
    assert "irmas" in str(data_builders.builder("irmas").data_dir)


def test_preparation_prints_one_line_once(tmp_path, sounds, capfd):
    builder = prepare(tmp_path, sounds)
    out = capfd.readouterr().out
    assert out == data_builders.summary(builder) + "\n"
    assert out.startswith("folder/sounds-mono22k-") and "10 train, 2 test clips" in out
    assert str(tmp_path / "data") in out
    prepared = prepare(tmp_path, sounds)
    assert prepared.info.splits["test"].num_examples == 2
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_import_loads_no_tfds_and_preparation_no_tensorflow(tmp_path, sounds):
    process = start(
        tmp_path,
        sounds,
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "import atexit\n"
        "atexit.register(lambda: print(*(m for m in ('tensorflow', 'jax') if m in sys.modules)))",
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.splitlines()[1:] == ["12", ""]
    assert "warn" not in err.lower() and "tensorflow" not in err.lower()


def test_parallel_processes_prepare_once(tmp_path, sounds):
    hold_script = f"""
import pathlib, time
from data_builders.common import streaming
write = streaming.StreamingBuilder._write_split
def hold(*args):
    pathlib.Path({str(tmp_path)!r}, "started").touch()
    while not pathlib.Path({str(tmp_path)!r}, "go").exists():
        time.sleep(0.02)
    return write(*args)
streaming.StreamingBuilder._write_split = hold
"""
    first = start(tmp_path, sounds, hold_script)
    while not (tmp_path / "started").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    others = [start(tmp_path, sounds) for _ in range(2)]
    for process in others:
        assert "waiting for another process to prepare it" in process.stderr.readline()
    (tmp_path / "go").touch()
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert "10 train, 2 test clips" in out
    for process in others:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "12\n"), err


def test_killed_preparation_leaves_no_complete_dataset(tmp_path, sounds):
    kill_script = """
import os, signal
from data_builders.common import streaming
def die(self, split, examples):
    next(iter(examples))
    os.kill(os.getpid(), signal.SIGKILL)
streaming.StreamingBuilder._write_split = die
"""
    process = start(tmp_path, sounds, kill_script)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list((tmp_path / "data").rglob("incomplete.*"))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))
    builder = prepare(tmp_path, sounds)
    assert len(builder.as_data_source("train")) == 10
    assert not list((tmp_path / "data").rglob("incomplete.*"))


def test_interrupted_preparation_is_restarted(tmp_path, sounds, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(streaming.StreamingBuilder, "_write_split", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, sounds)
    assert not list((tmp_path / "data").rglob("*1.0.0"))
    assert len(prepare(tmp_path, sounds).as_data_source("train")) == 10


def test_full_disk_is_reported(tmp_path, sounds):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(UserError, match="too large; free some space") as error:
            prepare(tmp_path, sounds)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "data").rglob("*1.0.0"))
    assert len(prepare(tmp_path, sounds).as_data_source("train")) == 10


def test_data_dir_that_is_not_writable_is_reported(tmp_path, sounds):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match="data: .*set data_dir to another") as error:
        prepare(tmp_path, sounds)
    assert "\n" not in str(error.value)


def test_damaged_data_are_reported(tmp_path, sounds):
    folder = Path(prepare(tmp_path, sounds).data_dir)
    shard = next(folder.glob("*test.array_record*"))
    shard.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="missing file in a prepared dataset; delete"):
        prepare(tmp_path, sounds)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="not a prepared dataset; delete"):
        prepare(tmp_path, sounds)
    folder.rmdir()
    prepare(tmp_path, sounds)


def test_shards_are_divided_and_keep_the_order(tmp_path, sounds, monkeypatch):
    monkeypatch.setattr(streaming, "_SHARD_BYTES", 10_000)
    builder = prepare(tmp_path, sounds)
    lengths = builder.info.splits["train"].shard_lengths
    assert len(lengths) > 2 and sum(lengths) == 10
    assert len(list(Path(builder.data_dir).glob("*train.array_record*"))) == len(lengths)
    ids = [clip["id"].decode() for clip in builder.as_data_source("train")]
    assert ids == sorted(ids)
    fresh = data_builders.builder("folder", data_dir=tmp_path / "data", path=sounds)
    assert [clip["id"].decode() for clip in fresh.as_data_source("train")] == ids
    assert len(fresh.as_data_source("train[:30%]")) == 3


def test_index_of_clips(tmp_path, sounds):
    builder = prepare(tmp_path, sounds)
    source = builder.as_data_source("train")
    path = Path(builder.data_dir, "clip_index-train.npz")
    assert path.exists()
    original = path.read_bytes()
    for content in (original, original[:100], b"", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        index = data_builders.clip_index(builder, "train")
        assert {name: column.dtype.kind for name, column in index.items()} == dict(
            num_samples="i",
            labels="f",
            id="U",
            song="U",
            contradictory="b",
            drums="i",
            genre="i",
            part="i",
        )
        for i, clip in enumerate(source):
            assert index["num_samples"][i] == len(clip["audio"])
            assert index["id"][i] == index["song"][i] == clip["id"].decode()
            assert index["labels"][i].tolist() == [clip["labels"] == [0], clip["labels"] == [1]]
        assert path.read_bytes() == original
    assert sorted(os.listdir(builder.data_dir)) == sorted(
        name for name in os.listdir(builder.data_dir) if not name.endswith(".tmp")
    )
