"""Prepared datasets in remote folders, such as `gs://bucket/data`.

array_record reads only local files, and training reads every example many times. Each machine
therefore copies a dataset to the user's cache folder once. A dataset that is missing from the
remote folder is prepared on this machine and copied to the remote folder.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from irec_jax import remote
from irec_jax.errors import UserError
from irec_jax.files import cache_folder, expand_home

#: File that is written last, so that its presence marks a complete dataset.
_LAST = "dataset_info.json"


def local_folder(data_dir: Path) -> str:
    """Return the local folder of prepared data; for a remote folder, return its cache folder."""
    if not remote.is_remote(data_dir):
        return os.path.abspath(data_dir)
    return str(cache_folder() / "datasets" / str(data_dir).replace("://", "/"))


def shared_folder(data_dir: str | os.PathLike) -> Path | None:
    """Return the folder of prepared data if it is remote, otherwise None."""
    path = expand_home(data_dir, urls=True)
    return path if remote.is_remote(path) else None


def fetch(builder: Any, shared: Path) -> bool:
    """Copy a prepared dataset to this machine; return False if the remote folder lacks it.

    Raises:
        UserError: if the dataset cannot be read from the remote folder or written to this machine.
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
        remedy = "free some space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
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
