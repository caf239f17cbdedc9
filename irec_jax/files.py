"""Paths as users type them, atomic file writes, and JSON files."""

import contextlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from irec_jax.errors import UserError
from irec_jax.text import to_unicode


def expand_home(path: str | bytes | os.PathLike) -> Path:
    """Return a path with `~` or `~user` at its start replaced by that home folder.

    A name that begins with `~` but names no user with a home folder, such as `~session`, is taken
    literally, and so is one that exists in the current folder.

    Raises:
        UserError: not a path, a URL such as `gs://bucket/folder`, or a null character.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise UserError(f"{path!r}: expected a path, got {type(path).__name__}") from None
    if "\0" in text:
        raise UserError(f"{text}: contains a null character; check the name")
    user, separator, rest = text.partition("/")
    # A Path has one slash after the colon.
    if re.fullmatch(r"[a-z][a-z0-9+.-]+:", user) and separator and not os.path.lexists(user):
        raise UserError(
            f"{text}: URLs are not read or written; name a file or folder, such as one of a "
            "mounted bucket"
        )
    if user.startswith("~"):
        home = os.path.expanduser(user)
        if os.path.isdir(home) and (user == "~" or not os.path.lexists(user)):
            text = home + separator + rest
    return Path(text)


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
    file is unchanged.

    Raises:
        UserError: the file cannot be written (permissions, full disk).
    """
    path = Path(os.path.realpath(path))  # replaces the target of a link, not the link
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; name another one")
    # Not longer than the longest name that file systems allow.
    temporary = path.with_name(f".{path.name[-50:]}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or name another "
            "folder"
        ) from error


def temporary_file_error(error: OSError) -> UserError:
    """Return the error of a temporary file that cannot be written."""
    return UserError(
        f"{tempfile.gettempdir()}: cannot be written ({error.strerror}); set TMPDIR to a folder "
        "with space"
    )


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes; see `atomic_write`."""
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
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name the workdir of a trained system") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train again or restore it") from error
