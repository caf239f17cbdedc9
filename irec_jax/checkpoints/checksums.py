"""Checksums of checkpoint files.

`checksums.json` in a checkpoint folder contains the size and the CRC-32 of every file.
Damaged files are reported before orbax reads them, because orbax does not detect altered parameter
values. Checkpoints from earlier versions have no checksums.
"""

import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json

CHECKSUM_FILE = "checksums.json"
_CHUNK_BYTES = 1 << 20


def write_checksums(checkpoint: Path) -> None:
    """Write the checksums of all files in a checkpoint."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    names = (path.relative_to(checkpoint).as_posix() for path in files)
    entries = {name: _checksum(path) for name, path in zip(names, files, strict=True)}
    entries.pop(CHECKSUM_FILE, None)
    write_json(checkpoint / CHECKSUM_FILE, entries)


def verify(checkpoint: Path, items: Collection[str] | None = None) -> None:
    """Compare the files of a checkpoint with their checksums.

    Args:
        checkpoint: the checkpoint folder.
        items: names of the subfolders to check; None checks all files.

    Raises:
        UserError: if a file is missing or damaged; the message names it.
    """
    for name, (size, checksum) in _entries(checkpoint):
        if items is not None and name.partition("/")[0] not in items:
            continue
        path = checkpoint / name
        if not path.is_file():
            raise _damaged(path, "missing", checkpoint)
        actual_size, actual = _checksum(path)
        if actual_size != size:
            raise _damaged(path, f"damaged ({actual_size:,} of {size:,} bytes)", checkpoint)
        if actual != checksum:
            raise _damaged(path, "damaged (wrong checksum)", checkpoint)


def _damaged(path: Path, problem: str, checkpoint: Path) -> UserError:
    return UserError(
        f"{path}: {problem}; restore the file from a copy, delete {checkpoint} to continue from an "
        "earlier checkpoint, or train again in a new --workdir"
    )


def _entries(checkpoint: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the entries of the checksum file, or none if it is missing or damaged."""
    try:
        entries = read_json(checkpoint / CHECKSUM_FILE)
        yield from [(name, (size, checksum)) for name, (size, checksum) in entries.items()]
    except (UserError, AttributeError, TypeError, ValueError):
        return


def _checksum(path: Path) -> tuple[int, int]:
    """Return the size and the CRC-32 of a file."""
    size = checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return size, checksum
