"""Preparation of a dataset by exactly one of several processes."""

import contextlib
import errno
import fcntl
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import logging

from data_builders.common import remote_copies
from irec_jax.errors import UserError


def prepare_builder(
    make: Callable[[], Any], *, manual_dir: str | None = None, shared: Path | None = None
) -> Any:
    """Return a dataset's builder, preparing the data if necessary.

    Args:
        make: function that returns a new builder; called again after waiting for other processes.
        manual_dir: folder of manually downloaded files.
        shared: remote folder of prepared data. If it contains the dataset, the data are copied to
            this machine; otherwise, they are prepared here and then copied to the remote folder.
    """
    builder = make()
    if not _is_complete(builder):
        with _lock(builder) as locked:
            builder = make()
            if not _is_complete(builder):
                if shared is not None and remote_copies.fetch(builder, shared):
                    builder = make()
                else:
                    _build(builder, manual_dir, locked)
                    if shared is not None:
                        remote_copies.publish(builder, shared)
                print(summary(builder), flush=True)
    return builder


def summary(builder: Any) -> str:
    """Describe a prepared dataset in one line: name, number of examples, size and folder."""
    splits = ", ".join(f"{s.num_examples} {name}" for name, s in builder.info.splits.items())
    size = f"{splits} {builder.UNIT}, {builder.info.dataset_size}"
    return f"{_name(builder)}: {size}, {builder.data_dir}"


def _name(builder: Any) -> str:
    return f"{builder.name}/{builder.builder_config.name}"


def _is_complete(builder: Any) -> bool:
    if not os.path.exists(os.path.join(builder.data_dir, "dataset_info.json")):
        return False  # TFDS writes this file last
    for split in builder.info.splits.values():
        for path in split.filepaths:
            if not os.path.exists(path):
                raise UserError(
                    f"{path}: missing file in a prepared dataset; delete the folder and start again"
                )
    return True


@contextlib.contextmanager
def _lock(builder: Any) -> Iterator[bool]:
    """Lock a dataset for preparation, waiting for any other process that is preparing it.

    Yields:
        Whether the dataset is locked; False on a file system without locks.
    """
    folder = Path(builder.data_dir_root)
    version = f"{builder.builder_config.name}-{builder.version}"
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / f".{builder.name}-{version}.lock", "w"))
        except OSError as error:
            raise _cannot_write(folder, error) from error
        locked = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{_name(builder)}: waiting for another process to prepare it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a network file system without locks
            locked = False
        # The empty lock file is never deleted. Otherwise, a waiting process would lock the deleted
        # file while a third process locks a new file with the same name.
        yield locked


def _build(builder: Any, manual_dir: str | None, locked: bool) -> None:
    import tensorflow_datasets as tfds

    final = Path(builder.data_dir)
    if final.exists():
        raise UserError(f"{final}: not a prepared dataset; delete the folder to prepare it again")
    if locked:
        for left_by_killed_process in final.parent.glob(f"incomplete.*_{final.name}"):
            shutil.rmtree(left_by_killed_process, ignore_errors=True)
    try:
        with _quiet_output(), quiet_logs():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
                file_format="array_record",
            )
        for split in builder.info.splits:
            builder.index(split)
    except OSError as error:
        raise _cannot_write(Path(builder.data_dir_root), error) from error


def _cannot_write(folder: Path, error: OSError) -> UserError:
    path = error.filename or folder
    reason = error.strerror or str(error).replace("\n", " ")
    # Errors raised by libraries, for example on a full disk, may have no error number.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)
    remedy = "free some space or " if full else ""
    return UserError(f"{path}: {reason}; {remedy}set data_dir to another folder")


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Suppress TFDS's warnings about conditions that are normal here."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _quiet_output() -> Iterator[None]:
    """Suppress TFDS's progress bars and standard output; builders show their own progress bar."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
