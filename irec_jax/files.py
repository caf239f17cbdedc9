"""Paths as users type them, atomic file writes, and JSON files."""

import contextlib
import errno
import io
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from irec_jax import remote
from irec_jax.errors import UserError
from irec_jax.text import to_unicode


def expand_home(path: str | bytes | os.PathLike, *, urls: bool = False) -> Path:
    """Return a path with `~` or `~user` at its start replaced by that home folder.

    A name that begins with `~` but names no user with a home folder, such as `~session`, is taken
    literally, and so is one that exists in the current folder.

    Args:
        path: the path, as the user typed it.
        urls: whether it may be a URL such as `gs://bucket/folder`; see `remote.open_url`.

    Raises:
        UserError: not a path or an empty one, a URL that is not accepted or cannot be used, or a
            null character.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise UserError(f"{path!r}: expected a path, got {type(path).__name__}") from None
    if not text:
        raise UserError("empty path; name a file or folder")
    if "\0" in text:
        raise UserError(f"{text}: contains a null character; check the name")
    user, separator, rest = text.partition("/")
    # A Path has one slash after the colon.
    if re.fullmatch(r"[a-z][a-z0-9+.-]+:", user) and separator and not os.path.lexists(user):
        if urls:
            return remote.open_url(f"{user}//{rest.lstrip('/')}")
        raise UserError(
            f"{text}: URLs are not read or written here, only as --workdir and data.dir; name a "
            "file or folder, such as one of a mounted bucket"
        )
    if user.startswith("~"):
        home = os.path.expanduser(user)
        if os.path.isdir(home) and (user == "~" or not os.path.lexists(user)):
            text = home + separator + rest
    return Path(text)


def check_writable(path: Path) -> None:
    """Raise UserError unless files can be created beside a local path; folders may be missing."""
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written; {existing} is not a writable folder")


def seekable(path: Path) -> Path | io.BytesIO:
    """Return a file for libraries that read local files or open ones, such as `numpy.load`.

    Raises:
        FileNotFoundError: a remote file that does not exist.
        UserError: a remote file that cannot be read.
    """
    if not remote.is_remote(path):
        return path
    content = remote.read(path)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return io.BytesIO(content)


def cache_folder() -> Path:
    """Return the user's folder for what can be made again: `$XDG_CACHE_HOME/irec-jax`.

    Raises:
        RuntimeError: the home folder is unknown.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irec-jax"


def unique_names(names: Sequence[str]) -> list[str]:
    """Return a different name for each file or folder: equal names are numbered, `a-1`, `a-2`.

    Names that differ only in case or Unicode normal form count as equal, because they are the same
    on some file systems.
    """
    keys = [_key(name) for name in names]
    taken = {key for key in keys if keys.count(key) == 1}
    unique = []
    for stem, key in zip(names, keys, strict=True):
        name, number = stem, 0
        while number == 0 and key not in taken or number and _key(name) in taken:
            number += 1
            name = f"{stem}-{number}"
        if number:
            taken.add(_key(name))
        unique.append(name)
    return unique


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move the file written there to `path`.

    Creates the folder if it is missing. If the block fails, nothing is left behind and an existing
    file is unchanged. For a remote path the temporary file is local, and its content is written as
    one object.

    Raises:
        UserError: the file cannot be written (permissions, full disk), or another run has taken
            over its workdir.
    """
    if remote.is_remote(path):
        try:
            with tempfile.TemporaryDirectory(prefix="irec-write-") as folder:
                temporary = Path(folder, "file")
                yield temporary
                remote.write(remote.as_path(path), temporary.read_bytes())
        except OSError as error:
            raise temporary_file_error(error) from error
        return
    guarded = path
    path = Path(os.path.realpath(path))  # replaces the target of a link, not the link
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; name another one")
    # Not longer than the longest name that file systems allow.
    temporary = path.with_name(f".{path.name[-50:]}.{os.getpid()}.tmp")
    try:
        remote.check_guard(guarded)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: str | os.PathLike, error: OSError) -> UserError:
    """Return the error of a file or folder that cannot be written, with a remedy that fits."""
    remedy = "name another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "free space or name another folder"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "make the folder writable or name another one"
    elif error.errno == errno.ENAMETOOLONG:
        remedy = "choose a shorter name"
    return UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


@contextlib.contextmanager
def appended(path: Path) -> Iterator[Path]:
    """Yield the path of a local file to append to; a remote file is written again at the end."""
    if not remote.is_remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="irec-append-") as folder:
        local, content = Path(folder, "file"), remote.read(path) or b""
        try:
            local.write_bytes(content)
        except OSError as error:
            raise temporary_file_error(error) from error
        try:
            yield local
        finally:
            remote.write(path, local.read_bytes())


def temporary_file_error(reason: OSError | str) -> UserError:
    """Return the error of a temporary file that cannot be written."""
    if isinstance(reason, OSError):
        reason = reason.strerror or str(reason)
    return UserError(
        f"{tempfile.gettempdir()}: cannot be written ({reason}); set TMPDIR to a folder with space"
    )


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes; see `atomic_write`."""
    if remote.is_remote(path):
        remote.write(remote.as_path(path), content)
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text in UTF-8; see `atomic_write`. Undecodable bytes of file names become "�"."""
    write_bytes(path, to_unicode(text).encode())


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write strict JSON, without NaN; see `atomic_write`."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_json(path: str | os.PathLike) -> Any:
    """Return the content of a JSON file; raise UserError if it is missing or damaged."""
    path = remote.as_path(path)
    try:
        content = remote.read(path) if remote.is_remote(path) else path.read_bytes()
        if content is None:
            raise FileNotFoundError
        return json.loads(content.decode())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name the workdir of a trained system") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train again or restore it") from error
