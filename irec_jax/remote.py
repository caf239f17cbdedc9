"""Folders on object stores, such as `gs://bucket/runs`, accessed through etils.epath.

Remote paths provide the `pathlib.Path` methods that epath supports. Object stores can replace
whole objects, but cannot rename folders or append to files. Files are therefore written with their
complete content, and files that libraries write incrementally are copied from a local folder.
"""

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from irec_jax.errors import UserError

#: URL schemes that epath supports, with the packages that implement their file systems.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs", "hf": "huggingface_hub"}


def is_remote(path: str | os.PathLike) -> bool:
    """Return whether a path was returned by `open_url`, or is below such a path."""
    return not isinstance(path, str | bytes) and "://" in os.fsdecode(path)


def as_path(path: str | os.PathLike) -> Path:
    """Return a remote path unchanged, and any other path as a `Path`."""
    return cast(Path, path) if is_remote(path) else Path(path)


def open_url(url: str) -> Path:
    """Return the path object for a URL.

    Raises:
        UserError: if epath does not support the scheme, a package is missing, or the file system
            cannot be accessed.
    """
    from etils import epath

    scheme, _, rest = url.partition("://")
    if not rest.strip("/"):
        raise UserError(f"{url}: the bucket is missing; expected {scheme}://BUCKET/FOLDER")
    try:
        path = epath.Path(url)
    except KeyError:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UserError(f"{url}: unknown URL scheme; use one of {known}") from None
    if scheme in PACKAGES:
        _check_package(url, scheme)
    with errors(path):
        path.exists()  # fails without network or credentials
    return cast(Path, path)


def _check_package(url: str, scheme: str) -> None:
    """Raise UserError if the package that a URL scheme needs is not installed."""
    if importlib.util.find_spec("tensorflow"):  # epath prefers TensorFlow's file systems
        return
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        package = PACKAGES[scheme]
        raise UserError(
            f"{url}: requires {package}; install it with: pip install {package}"
        ) from None


@contextlib.contextmanager
def errors(path: Any) -> Iterator[None]:
    """Convert all errors to UserError, because each remote file system has its own error types."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{path}: cannot be accessed ({reason[:200]}); check the name, the network and the "
            "credentials"
        ) from error


#: Folder -> function that raises UserError if this process must no longer write there, and the
#: name of the only file that is exempt.
_guards: dict[str, tuple[Callable[[], None], str]] = {}


@contextlib.contextmanager
def guarded(folder: Path, check: Callable[[], None], *, lock_file: str) -> Iterator[None]:
    """Call a function before anything is written to a folder; see `check_guard`.

    Args:
        folder: the folder, remote or local.
        check: raises UserError if this process must no longer write to the folder.
        lock_file: name of the only file in the folder that is exempt from the check.
    """
    _guards[str(folder)] = check, lock_file
    try:
        yield
    finally:
        del _guards[str(folder)]


def check_guard(path: str | os.PathLike) -> None:
    """Raise UserError if this process must no longer write to a path; see `guarded`."""
    for folder, (check, lock_file) in list(_guards.items()):
        if f"{path}/".startswith(f"{folder}/") and str(path) != f"{folder}/{lock_file}":
            check()


def write(path: Path, content: bytes) -> None:
    """Write a remote file as one object; raise UserError on failure."""
    check_guard(path)
    with errors(path):
        path.write_bytes(content)


def read(path: Path) -> bytes | None:
    """Return the content of a remote file, or None if it is missing; raise UserError on failure."""
    with errors(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def names(folder: Path) -> list[str]:
    """Return the names of the files and folders in a remote folder, or [] if it is missing."""
    with errors(folder):
        if not folder.is_dir():
            return []
        # Some stores also list the folder itself, under an empty name.
        return sorted({path.name for path in folder.iterdir() if path != folder} - {""})


def download(folder: Path, target: Path) -> None:
    """Copy a remote folder and all its files to a local folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names(folder):
        path = folder / name
        with errors(path):
            content = None if path.is_dir() else path.read_bytes()
        if content is None:
            download(path, target / name)
        else:
            (target / name).write_bytes(content)


def upload(folder: Path, target: Path, *, last: str) -> None:
    """Copy a local folder to a remote one, ending with the file `last`, which marks completion."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda path: path == folder / last):
        write(target / path.relative_to(folder).as_posix(), path.read_bytes())


def remove(folder: Path, *, first: str) -> None:
    """Delete a remote folder, starting with the file `first`, which marks completion."""
    check_guard(folder)
    with errors(folder):
        (folder / first).unlink(missing_ok=True)
        if folder.is_dir():
            cast(Any, folder).rmtree()


class Staged:
    """A local folder for libraries to write to; its files are copied to a remote folder.

    If the given folder is local, it is used directly.

    Attributes:
        local: the folder to write to; a temporary one is created if the given folder is remote.
    """

    def __init__(self, folder: Path):
        self._remote: Path | None = None
        self.local = folder
        if is_remote(folder):
            self._temporary = tempfile.TemporaryDirectory(prefix="irec-staged-")
            self._remote, self.local = folder, Path(self._temporary.name)
        self._copied: dict[Path, tuple[int, int]] = {}

    def publish(self) -> None:
        """Copy new and changed files."""
        if self._remote is None:
            return
        for path in sorted(self.local.rglob("*")):
            status = path.stat()
            version = (status.st_size, status.st_mtime_ns)
            if path.is_file() and self._copied.get(path) != version:
                write(self._remote / path.relative_to(self.local).as_posix(), path.read_bytes())
                self._copied[path] = version

    def close(self) -> None:
        """Copy the files, and delete the temporary folder even if copying fails."""
        try:
            self.publish()
        finally:
            if self._remote is not None:
                self._temporary.cleanup()
