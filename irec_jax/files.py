"""User-supplied paths, atomic file writes, and JSON files."""

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
    """Return a path with a leading `~` or `~user` replaced by the home folder.

    A name such as `~session` is taken literally if no user of that name has a home folder, or if a
    file or folder with this name exists in the current folder.

    Args:
        path: the path, as the user typed it.
        urls: whether to accept URLs such as `gs://bucket/folder`; see `remote.open_url`.

    Raises:
        UserError: if the path is empty, has the wrong type or contains a null character, or if it
            is a URL that is not accepted or cannot be accessed.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise UserError(f"{path!r}: expected a path, got {type(path).__name__}") from None
    if not text:
        raise UserError("empty path; specify a file or folder")
    if "\0" in text:
        raise UserError(f"{text}: contains a null character; check the name")
    user, separator, rest = text.partition("/")
    # A `Path` keeps only one of the two slashes after the colon.
    if re.fullmatch(r"[a-z][a-z0-9+.-]+:", user) and separator and not os.path.lexists(user):
        if urls:
            return remote.open_url(f"{user}//{rest.lstrip('/')}")
        raise UserError(
            f"{text}: URLs are accepted only for --workdir and data.dir; use a file or folder, "
            "such as one in a mounted bucket"
        )
    if user.startswith("~"):
        home = os.path.expanduser(user)
        if os.path.isdir(home) and (user == "~" or not os.path.lexists(user)):
            text = home + separator + rest
    return Path(text)


def check_writable(path: Path) -> None:
    """Raise UserError unless a local file can be created; its folders need not exist yet."""
    existing = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written; {existing} is not a writable folder")


def seekable(path: Path) -> Path | io.BytesIO:
    """Return the path of a local file, or the content of a remote file as a file object.

    Libraries such as NumPy accept both.

    Raises:
        FileNotFoundError: if a remote file does not exist.
        UserError: if a remote file cannot be read.
    """
    if not remote.is_remote(path):
        return path
    content = remote.read(path)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return io.BytesIO(content)


def cache_folder() -> Path:
    """Return the user's cache folder: `irec-jax` in `$XDG_CACHE_HOME`, by default `~/.cache`.

    Raises:
        RuntimeError: if the home folder is unknown.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irec-jax"


def unique_names(names: Sequence[str]) -> list[str]:
    """Return a unique name for each file or folder; equal names are numbered (`a-1`, `a-2`).

    Names that differ only in case or Unicode normal form count as equal, because some file systems
    do not distinguish them.
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

    A missing folder is created. If the block fails, nothing is left behind and an existing file is
    unchanged. For a remote path the temporary file is local, and its content is written as one
    object.

    Raises:
        UserError: if the file cannot be written (permissions, full disk), or another run has taken
            over the workdir.
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
    path = Path(os.path.realpath(path))  # to replace the target of a link, not the link itself
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: is not a regular file; choose another one")
    # The name is shortened to stay within file system limits.
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
    """Return the error for a file or folder that cannot be written, with a suitable remedy."""
    remedy = "choose another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "free space or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "make the folder writable or choose another one"
    elif error.errno == errno.ENAMETOOLONG:
        remedy = "choose a shorter name"
    return UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


@contextlib.contextmanager
def appended(path: Path) -> Iterator[Path]:
    """Yield a local path to append to; a remote file is rewritten at the end of the block."""
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
    """Return the error for a temporary file that cannot be written."""
    if isinstance(reason, OSError):
        reason = reason.strerror or str(reason)
    return UserError(
        f"{tempfile.gettempdir()}: cannot be written ({reason}); set TMPDIR to a folder with free "
        "space"
    )


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes; see `atomic_write`."""
    if remote.is_remote(path):
        remote.write(remote.as_path(path), content)
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text; see `atomic_write`. Undecodable bytes in file names become "�"."""
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
        raise UserError(f"{path}: no such file; specify the workdir of a trained system") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train again or restore it") from error
