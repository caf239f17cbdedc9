"""Files that are there whole or not at all, and JSON in them."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irec_jax.errors import UserError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a place beside `path` to write to, and moves what was written there to `path`.

    Makes the folder where it is missing. When the block fails, nothing is left and an earlier file
    stays as it was.

    Raises:
        UserError: it cannot be written (rights, full disk).
    """
    path = Path(os.path.realpath(path))  # what a link points to is replaced, not the link
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no ordinary file; name another one")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
            f"{path}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder"
        ) from error


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes bytes; see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes strict JSON, without NaN; see `atomic_write`."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file; UserError when it is missing or damaged."""
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is this the workdir of a training?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train again or restore it") from error
