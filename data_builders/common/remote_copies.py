"""Prepared datasets in remote folders, such as `gs://bucket/data`.

array_record reads local files, and every example many times. A dataset is therefore copied to the
user's cache folder, once on each machine. One that the remote folder does not have is prepared on
this machine and copied there.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from irec_jax import remote
from irec_jax.errors import UserError
from irec_jax.files import cache_folder, expand_home

#: File that a prepared dataset has when it is complete.
_LAST = "dataset_info.json"


def local_folder(data_dir: Path) -> str:
    """Return the folder on this machine for a folder of prepared data, which may be remote."""
    if not remote.is_remote(data_dir):
        return os.path.abspath(data_dir)
    return str(cache_folder() / "datasets" / str(data_dir).replace("://", "/"))


def shared_folder(data_dir: str | os.PathLike) -> Path | None:
    """Return the remote folder of prepared data, None if it is a local one."""
    path = expand_home(data_dir, urls=True)
    return path if remote.is_remote(path) else None


def fetch(builder: Any, shared: Path) -> bool:
    """Copy a prepared dataset to this machine; return whether the remote folder has it.

    Raises:
        UserError: it cannot be read there or written here.
    """
    folder, final = _remote_folder(builder, shared), Path(builder.data_dir)
    if remote.read(folder / _LAST) is None:
        return False
    print(f"copying {folder} to {final}", flush=True)
    incomplete = final.with_name(f"incomplete.remote_{final.name}")
    try:
        shutil.rmtree(incomplete, ignore_errors=True)
        remote.download(folder, incomplete)
        incomplete.rename(final)
    except OSError as error:
        remedy = "free space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(
            f"{final}: cannot be written ({error.strerror or error}); {remedy}set "
            "XDG_CACHE_HOME to another folder"
        ) from error
    return True


def publish(builder: Any, shared: Path) -> None:
    """Copy a dataset that was prepared on this machine to the remote folder."""
    remote.upload(Path(builder.data_dir), _remote_folder(builder, shared), last=_LAST)


def _remote_folder(builder: Any, shared: Path) -> Path:
    name = Path(builder.data_dir).relative_to(builder.data_dir_root)
    return shared / name.as_posix()
