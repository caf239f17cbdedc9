"""Checkpoints are written in the background; a failure is one line, at the next call."""

import errno
import threading

import jax
import numpy as np
import optax
import pytest

from irec_jax.checkpoints import state, storage
from irec_jax.checkpoints.storage import Checkpoints
from irec_jax.checkpoints.workdir import has_checkpoint
from irec_jax.errors import UserError

FULL = OSError(errno.ENOSPC, "No space left on device")


def state_after(step):
    params = {"kernel": np.full((3, 2), step, np.float32)}
    initial = jax.device_get(state.create(params, {}, optax.sgd(0.1), (), 0))
    return initial.replace(step=np.asarray(step, np.int32))


def test_save_returns_before_the_checkpoint_is_written(tmp_path, monkeypatch):
    write, reached, allowed = storage.write_checksums, threading.Event(), threading.Event()

    def wait_and_write(checkpoint):
        reached.set()
        assert allowed.wait(60)
        write(checkpoint)

    monkeypatch.setattr(storage, "write_checksums", wait_and_write)
    with Checkpoints(tmp_path) as store:
        store.save(state_after(1), {"a": 1}, 2.0)
        assert reached.wait(60) and not (tmp_path / "1" / "checksums.json").exists()
        store.check()
        threading.Timer(0.05, allowed.set).start()
        store.save(state_after(2), {"a": 2}, None)  # waits for the first one
        assert (tmp_path / "1" / "checksums.json").exists()
        restored, progress = store.latest(state_after(0))
        assert progress == {"a": 2} and restored.params["kernel"][0, 0] == 2
        store.save(state_after(3), {"a": 3}, None)
    # Written at the end of the block; the best one and the last one are kept.
    names = {path.name for path in tmp_path.iterdir() if path.name.isdigit()}
    assert names == {"1", "3"} and (tmp_path / "3" / "checksums.json").exists()


def test_failed_save_is_reported_once_and_by_the_next_call(tmp_path, monkeypatch):
    def fail(checkpoint):
        raise FULL

    message = f"^{tmp_path}: checkpoint cannot be written .No space left on device.; free space"
    with Checkpoints(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(storage, "write_checksums", fail)
            for report in (store.wait, lambda: store.save(state_after(9), {}, None)):
                store.save(state_after(len(list(tmp_path.glob("[0-9]*")))), {}, 1.0)
                with pytest.raises(UserError, match=message):
                    report()
                store.wait()
        store.save(state_after(5), {}, 0.0)
        assert store.best(state_after(0))[0].step == 5
    # An error of the block is not replaced by that of the last save.
    monkeypatch.setattr(storage, "write_checksums", fail)
    with pytest.raises(UserError, match="not finite"), Checkpoints(tmp_path) as store:
        store.save(state_after(6), {}, None)
        raise UserError("the loss is not finite")
    with pytest.raises(UserError, match=message), Checkpoints(tmp_path) as store:
        store.save(state_after(7), {}, None)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "free space and run"),
        (ValueError("UNAVAILABLE: Error writing: No space left on device"), "free space and run"),
        (OSError(errno.EROFS, "Read-only file system"), "make the folder writable and run"),
        (OSError(errno.EIO, "Input/output error"), "check the disk and run"),
    ],
)
def test_remedies_of_failed_saves(tmp_path, monkeypatch, error, remedy):
    def fail(checkpoint):
        raise error

    monkeypatch.setattr(storage, "write_checksums", fail)
    with pytest.raises(UserError, match=remedy), Checkpoints(tmp_path) as store:
        store.save(state_after(1), {}, None)


def test_interrupted_first_save_is_no_checkpoint(tmp_path):
    assert not has_checkpoint(tmp_path)
    (tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir(parents=True)
    assert not has_checkpoint(tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as store:
        store.save(state_after(6), {}, None)
    assert has_checkpoint(tmp_path)
