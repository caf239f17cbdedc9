"""Workdirs, data and studies behind URLs, on an object store in memory."""

import argparse
import contextlib
import errno
import json
import shutil
import tempfile
import threading
from pathlib import Path

import jax
import numpy as np
import object_store
import optax
import pytest
import soundfile
from conftest import SMALL, call

import data_builders
import irec_jax
from irec_jax import cli, remote
from irec_jax.checkpoints import lock, state, storage
from irec_jax.checkpoints.lock import run_lock
from irec_jax.checkpoints.mirror import Mirror
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.files import atomic_write, expand_home, read_json, write_json
from irec_jax.studies import runs
from irec_jax.training.logging import Logger

WORDS = ["--config=configs/han.py:debug", *SMALL, "--config.evaluation.baselines=False"]


@pytest.fixture
def objects(monkeypatch, tmp_path):
    """Return the objects of `s3://` by name."""
    monkeypatch.setattr(lock, "_SETTLE_S", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return object_store.install()


def url(path):
    return expand_home(path, urls=True)


def names(objects, folder):
    return sorted(name.removeprefix(f"{folder}/") for name in objects if name.startswith(folder))


def error_line(capsys):
    *bars, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and not any("rror" in bar for bar in bars), error
    return error


def test_files_are_written_as_one_object(objects):
    folder = url("s3://bucket/a/")
    assert str(folder / "b.json") == "s3://bucket/a/b.json" and not folder.exists()
    write_json(folder / "b.json", {"c": 1})
    assert read_json(folder / "b.json") == {"c": 1} and remote.names(folder) == ["b.json"]
    with pytest.raises(ZeroDivisionError), atomic_write(folder / "b.json") as path:
        path.write_text("{")
        raise ZeroDivisionError
    assert objects.keys() == {"bucket/a/b.json"} and read_json(folder / "b.json") == {"c": 1}
    with pytest.raises(UserError, match="^s3://bucket/a/d.json: no such file"):
        read_json(folder / "d.json")
    object_store.ObjectStore.refused.add("d.json")
    with pytest.raises(UserError, match=r"^s3://bucket/a/d.json: cannot be accessed \(Access Den"):
        write_json(folder / "d.json", {})


def test_urls_that_cannot_be_used_are_one_line(objects, monkeypatch):
    for path, message in (
        ("gopher://a/b", "unknown URL scheme; use one of gs://, s3://"),
        ("s3://", "the bucket is missing; expected s3://BUCKET/FOLDER"),
        ("gs://a/b", "requires gcsfs; install it with: pip install gcsfs"),
    ):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        if path.startswith("gs"):
            monkeypatch.setattr("fsspec.get_filesystem_class", missing)
        with pytest.raises(UserError, match=f"^{path}/?: {message}"):
            url(path)


def missing(name):
    raise ImportError("Please install gcsfs")


def test_lock_of_a_remote_folder(objects, monkeypatch):
    folder = url("s3://bucket/run")
    with run_lock(folder, interval_s=0.01):
        first = json.loads(objects["bucket/run/.lock.json"])
        with pytest.raises(UserError, match="^s3://bucket/run: process .* uses this folder"):
            with run_lock(folder):
                pass
        renewed = threading.Event()
        while not renewed.wait(0.02):
            if json.loads(objects["bucket/run/.lock.json"])["renewed"] > first["renewed"]:
                renewed.set()
    assert not objects
    # Runs on other machines: one that has stopped renewing its lock, one that has not.
    for age_s, is_free in ((300.0, True), (60.0, False)):
        other = dict(token="x", pid=1, machine="other", renewed=first["renewed"] - age_s)
        objects["bucket/run/.lock.json"] = json.dumps(other).encode()
        monkeypatch.setattr(lock.time, "time", lambda: first["renewed"])
        if is_free:
            with run_lock(folder):
                pass
        else:
            with pytest.raises(UserError, match="uses this folder"), run_lock(folder):
                pass
    # Of two runs that write at the same time, the last one holds the lock.
    objects.clear()
    monkeypatch.setattr(lock.time, "sleep", lambda s: objects.update({key: b'{"token": "y"}'}))
    key = "bucket/run/.lock.json"
    with pytest.raises(UserError, match="another run uses this folder"), run_lock(folder):
        pass


def copy(folder, objects, name):
    """Copy a local folder to the store."""
    for path in folder.rglob("*"):
        if path.is_file():
            objects[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()


def test_training_in_a_remote_workdir_is_that_in_a_local_one(trained, objects, capsys, tmp_path):
    """From data in a bucket to a report, with a damaged and an incomplete checkpoint."""
    prepared = Path(data_builders.prepare("gm_irmas", size="tiny").data_dir)
    copy(prepared, objects, f"bucket/data/gm_irmas/{prepared.parent.name}/{prepared.name}")
    run, cache = "s3://bucket/runs/a", tmp_path / "cache"
    words = [*WORDS, f"--workdir={run}", "--config.data.dir=s3://bucket/data"]
    assert call(*words, "--config.profile.num_steps=1") == 0
    printed = capsys.readouterr().out
    assert f"report: {run}/report.html" in printed
    assert "copying s3://bucket/data/gm_irmas/tiny-mono22k/1" in printed and cache.is_dir()
    expected = {path.relative_to(trained).as_posix() for path in trained.rglob("*")}
    found = {*names(objects, "bucket/runs/a")}
    assert {name for name in expected if "." in name and "/" not in name} == {
        name for name in found if "/" not in name
    }
    (events,) = (name for name in found if "tfevents" in name)
    assert len(objects[f"bucket/runs/a/{events}"]) > 10_000
    assert any(name.endswith("perfetto_trace.json.gz") for name in found)
    steps = {name.split("/")[1] for name in found if name.startswith("checkpoints/")}
    assert steps == {path.name for path in (trained / "checkpoints").glob("[0-9]*")}
    report = json.loads(objects["bucket/runs/a/report.json"])
    assert report["thresholds"] == read_json(trained / "report.json")["thresholds"]

    # The last checkpoint is damaged, and the copy of a later one was interrupted.
    best, last = sorted(steps, key=int)
    rest = [name for name in objects if f"checkpoints/{last}/rest/d/" in name]
    damaged = max(rest, key=lambda name: len(objects[name]))
    objects[damaged] = objects[damaged][:-1] + bytes([objects[damaged][-1] ^ 0xFF])
    objects["bucket/runs/a/checkpoints/99/rest/d/0"] = b"1"
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert f"s3://{damaged}: damaged (wrong checksum); using the checkpoint after" in printed
    assert f"renamed to {run}/checkpoints/{last}.damaged" in printed
    assert f"resuming after step {best}\n" in printed
    steps = {name.split("/")[4] for name in objects if "runs/a/checkpoints/" in name}
    assert steps == {best, last, f"{last}.damaged"}
    assert json.loads(objects["bucket/runs/a/report.json"])["thresholds"] == report["thresholds"]

    # A system in a bucket is applied like a local one.
    samples = np.sin(np.arange(22_050) / 9).astype(np.float32)
    results = [irec_jax.recognize(samples, sample_rate=22_050, workdir=w) for w in (run, trained)]
    assert results[0].scores == results[1].scores

    # What fails is one line, with which the training ends.
    object_store.ObjectStore.refused.add("/variables/")
    assert call(*words, "--workdir=s3://bucket/runs/b") == 1
    assert "s3://bucket/runs/b/checkpoints/3/variables/" in error_line(capsys)
    assert "bucket/runs/b/report.json" not in objects


def write_lock_of(other, objects, folder):
    objects[f"{folder}/.lock.json"] = json.dumps(dict(token="x", pid=7, host=other)).encode()


@pytest.mark.parametrize("released", [False, True])
def test_run_that_has_lost_its_lock_writes_and_deletes_nothing(objects, released):
    """Such as one that was suspended: its heartbeat has not noticed yet, or was stopped, too."""
    folder = url("s3://bucket/run")
    mirror = Mirror(folder / "checkpoints")
    (mirror.local / "3").mkdir()
    (mirror.local / "3" / "checksums.json").write_text("{}")
    with pytest.raises(UserError, match="^s3://bucket/run: .* has taken over this folder"):
        with run_lock(folder, interval_s=600, timeout_s=0.0):
            mirror.publish()
            assert "bucket/run/checkpoints/3/checksums.json" in objects
            objects["bucket/run/checkpoints/9/checksums.json"] = b"{}"
            if released:
                del objects["bucket/run/.lock.json"]
            else:
                write_lock_of("node7", objects, "bucket/run")
            before = dict(objects)
            (mirror.local / "4").mkdir()
            (mirror.local / "4" / "checksums.json").write_text("{}")
            shutil.rmtree(mirror.local / "3")
            for attempt in (
                mirror.publish,
                lambda: remote.remove(folder / "checkpoints" / "9", first="checksums.json"),
                lambda: write_json(folder / "report.json", {}),
            ):
                with contextlib.suppress(UserError, KeyboardInterrupt):
                    attempt()
                assert objects == before
            raise KeyboardInterrupt  # which the heartbeat sends
    assert objects == before


def test_failed_upload_of_tensorboard_files_is_a_warning(objects, capsys):
    object_store.ObjectStore.refused.add("tfevents")
    logger = Logger(url("s3://bucket/run/tensorboard"))
    for step in range(3):
        logger.scalars(step, {"loss": 1.0})
        logger.flush()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: s3://bucket/run/tensorboard/") and "training continues" in line
    object_store.ObjectStore.refused.clear()
    logger.close()
    assert not capsys.readouterr().out and len(names(objects, "bucket/run")) == 1


def test_full_local_disk_is_not_reported_as_a_full_bucket(objects, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    message = rf"^{tempfile.gettempdir()}: cannot be written \(No space left .* set TMPDIR"
    folder = url("s3://bucket/run/checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_checksums", fail)
        with pytest.raises(UserError, match=message), storage.Checkpoints(folder) as store:
            store.save(state_after(1), {}, None)
    with storage.Checkpoints(folder) as store:
        store.save(state_after(1), {}, None)
    monkeypatch.setattr(remote, "download", fail)
    for read in (storage.Checkpoints, storage.load_history):
        with pytest.raises(UserError, match=message):
            read(folder)


def state_after(step):
    """Return the state of a small training."""
    params = {"kernel": np.zeros((3, 2), np.float32)}
    initial = jax.device_get(state.create(params, {}, optax.sgd(0.1), (), 0))
    return initial.replace(step=np.asarray(step, np.int32))


def test_missing_data_are_prepared_and_copied_to_the_bucket(objects, tmp_path, capsys):
    for seed, name in enumerate(("kick/a", "kick/b", "snare/a", "snare/b")):
        (tmp_path / "sounds" / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 2000)
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", noise, 22_050)
    options = dict(path=tmp_path / "sounds", data_dir="s3://bucket/data")
    first = data_builders.prepare("folder", **options)
    assert any(name.endswith("dataset_info.json") for name in objects)
    shutil.rmtree(tmp_path / "cache")
    second = data_builders.prepare("folder", **options)
    assert "copying s3://bucket/data/folder/" in capsys.readouterr().out
    assert first.data_dir == second.data_dir and str(tmp_path / "cache") in first.data_dir
    ours, theirs = (builder.as_data_source("train") for builder in (first, second))
    assert len(ours) == len(theirs) > 1
    np.testing.assert_array_equal(ours[1]["audio"], theirs[1]["audio"])


def test_study_with_a_remote_workdir(objects, monkeypatch, capsys):
    arguments = argparse.Namespace(workdir="s3://bucket/study", seed=0)
    dataset = {"name": "gm_irmas", "version": "1", "config": "tiny"}
    report = {"rendered": True, "dataset": "gm_irmas", "classes": []}
    report |= {"provenance": {"dataset": dataset, "durations_s": {"training": 1.0}}}

    def train(name, config, folder, mode):
        print("trained")
        write_json(folder / "report.json", report)

    monkeypatch.setattr(runs.experiment, "run", train)
    monkeypatch.setattr(runs, "_prepare_datasets", lambda configs: None)
    for _ in range(2):
        study = runs.Study(arguments, {"seed": 0})
        results = study.execute([runs.Run("a", "configs/han.py:debug")], lambda report: "done")
    assert results.reports == {"a": report} and "a: done" in capsys.readouterr().out
    study.finish(study.report(results, split="official"), "# Page\n\n## Rest\n", {})
    assert names(objects, "bucket/study") == sorted(
        ["report.html", "report.json", "report.md", "runs/a.log", "runs/a/report.json"]
        + ["settings.json"]
    )
    assert objects["bucket/study/runs/a.log"] == b"trained\n"
    with pytest.raises(UserError, match=r"s3://bucket/study: .* other settings \(seed\)"):
        runs.Study(arguments, {"seed": 1})
    assert run_command(lambda: cli.run(["study", "separation", "--workdir=s3://bucket/b"])) == 1
    assert "URLs are accepted only for --workdir" in error_line(capsys)
