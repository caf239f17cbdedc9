"""Files that are there whole or not at all."""

import os
from pathlib import Path

from irec_jax.errors import UserError


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file beside its place and moves it there; makes its folder where it is missing.

    Raises:
        UserError: it cannot be written (rights, full disk). An earlier file stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); make room or choose another folder"
        ) from error
