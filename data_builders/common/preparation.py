"""Building a dataset once, whoever asks and however many ask at the same time."""

import contextlib
import fcntl
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import logging

from irec_jax.errors import UserError


def prepare_builder(make: Callable[[], Any], *, manual_dir: str | None = None) -> Any:
    """Makes a builder and builds its data where they are missing.

    Args:
        make: gives a new builder; called again after waiting for another process.
        manual_dir: where files that were downloaded by hand lie.

    Returns:
        The builder, prepared.
    """
    builder = make()
    if not _is_whole(builder):
        with _only_one(builder) as alone:
            builder = make()
            if not _is_whole(builder):
                _build(builder, manual_dir, alone)
                print(summary(builder), flush=True)
    return builder


def summary(builder: Any) -> str:
    """One line on a prepared dataset: its name, examples, size and place."""
    splits = ", ".join(f"{s.num_examples} {name}" for name, s in builder.info.splits.items())
    size = f"{splits} {builder.UNIT}, {builder.info.dataset_size}"
    return f"{_name(builder)}: {size}, {builder.data_dir}"


def _name(builder: Any) -> str:
    return f"{builder.name}/{builder.builder_config.name}"


def _is_whole(builder: Any) -> bool:
    if not os.path.exists(os.path.join(builder.data_dir, "dataset_info.json")):
        return False  # TFDS writes it last
    for split in builder.info.splits.values():
        for path in split.filepaths:
            if not os.path.exists(path):
                raise UserError(
                    f"{path}: missing from a prepared dataset; remove the folder to build it again"
                )
    return True


@contextlib.contextmanager
def _only_one(builder: Any) -> Iterator[bool]:
    """Waits until no other process builds this dataset. Gives False where files have no locks."""
    folder = Path(builder.data_dir_root)
    version = f"{builder.builder_config.name}-{builder.version}"
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / f".{builder.name}-{version}.lock", "w"))
        except OSError as error:
            raise _cannot_write(folder, error) from error
        alone = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{_name(builder)}: waiting for the process that builds it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a network file system without locks
            alone = False
        yield alone


def _build(builder: Any, manual_dir: str | None, alone: bool) -> None:
    import tensorflow_datasets as tfds

    final = Path(builder.data_dir)
    if final.exists():
        raise UserError(f"{final}: exists, but holds no dataset; remove it to build it again")
    if alone:
        for left_by_a_kill in final.parent.glob(f"incomplete.*_{final.name}"):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
    try:
        with _quiet(), quiet_logs():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
                file_format="array_record",
            )
        for split in builder.info.splits:
            builder.index(split)
    except OSError as error:
        raise _cannot_write(Path(builder.data_dir_root), error) from error


def _cannot_write(folder: Path, error: OSError) -> UserError:
    where = error.filename or folder
    what = error.strerror or str(error).replace("\n", " ")
    return UserError(f"{where}: {what}; free some space or name another data_dir than {folder}")


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Silences what TFDS logs about what is quite normal here."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's own bars and its lines on standard output; builders show one bar each."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
