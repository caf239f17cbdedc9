"""Output files of the commands: checks before a long computation, and results as JSON."""

import abc
import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

from irec_jax.errors import UserError
from irec_jax.files import check_writable, expand_home, write_bytes, write_error

#: Suffixes of figure files.
FIGURES = (".png", ".pdf", ".svg")
# Maximum fraction of the total time to spend on rewriting a file.
_WRITING_TIME = 0.05


@overload
def output_path(text: str, option: str, suffixes: Sequence[str]) -> Path: ...
@overload
def output_path(text: str | None, option: str, suffixes: Sequence[str]) -> Path | None: ...
def output_path(text: str | None, option: str, suffixes: Sequence[str]) -> Path | None:
    """Return the path of an output file, or None if the option was not given.

    Raises:
        UserError: if the name is empty or ends with none of the suffixes. This catches an omitted
            file name: the next argument, often an input, would become the output.
    """
    if text is None:
        return None
    if not text:
        raise UserError(f"{option}: empty name; specify a file, or omit the option")
    path = expand_home(text)
    _check_regular(path)
    if path.suffix.lower() not in suffixes:
        known = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
        raise UserError(f"{option} {text}: expected a name that ends with {known}")
    return path


def check_outputs(
    paths: Iterable[Path], inputs: Iterable[str | os.PathLike] = (), *, overwrite: bool
) -> None:
    """Check that files can be written without overwriting other files.

    Args:
        paths: the files to write.
        inputs: files that are read.
        overwrite: replace existing files, but never an input.

    Raises:
        UserError: if a file exists and `overwrite` is not set, is an input or a link to one, is
            named twice, or cannot be written.
    """
    protected = {_identity(path) for path in inputs}
    seen = set()
    for path in paths:
        _check_regular(path)
        identity = _identity(path)
        if identity in protected:
            raise UserError(f"{path}: is an input file; choose another output file")
        if identity in seen:
            raise UserError(f"{path}: named for two outputs; choose different files")
        seen.add(identity)
        check_writable(path)
        if os.path.exists(path) and not overwrite:
            raise UserError(f"{path}: already exists; choose another file or set --overwrite")


def _check_regular(path: Path) -> None:
    # Unlike `Path.exists`, this does not fail for names that are too long.
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: is not a regular file; choose another one")


def _identity(path: str | os.PathLike) -> object:
    """Return a value that is equal for all names of a file, including hard links."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return os.path.realpath(path)


class RewrittenFile(abc.ABC):
    """An output file with one part per input file, rewritten as parts are added.

    The file is valid at any time. It is replaced after a part is added, unless this would take more
    than a twentieth of the total time. It is also replaced at the end, even after an interrupt or
    an error.
    """

    def __init__(self) -> None:
        self._next_write_s, self._is_current = 0.0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if not self._is_current:
            self._write()

    @abc.abstractmethod
    def _write(self) -> None:
        """Replace the file."""

    def _update(self) -> None:
        """Replace the file if enough time has passed."""
        self._is_current = False
        started_s = time.monotonic()
        if started_s < self._next_write_s:
            return
        self._write()
        self._is_current = True
        now_s = time.monotonic()
        self._next_write_s = now_s + (now_s - started_s) / _WRITING_TIME


class ResultFile(RewrittenFile):
    """A JSON file with one record per input file; see `RewrittenFile`.

    A `.jsonl` file has one line per record. A `.json` file is an object whose `files` key contains
    the records so far.

    Args:
        path: a new or empty file.
        header: the other keys of a `.json` file.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]):
        super().__init__()
        self._path, self._header = path, dict(header)
        self._as_lines = path.suffix.lower() == ".jsonl"
        self._records: list[str] = []
        if self._as_lines:
            write_bytes(path, b"")
            self._is_current = True

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the record for an input file.

        Raises:
            UserError: if the record cannot be written.
        """
        if self._as_lines:
            self._append(json.dumps(record, allow_nan=False) + "\n")
            return
        self._records.append(json.dumps(record, indent=1, allow_nan=False))
        self._update()

    def _append(self, line: str) -> None:
        try:
            with open(self._path, "ab", buffering=0) as file:
                size = file.tell()
                try:
                    rest = memoryview(line.encode())
                    while rest:  # a nearly full disk takes only a part
                        rest = rest[file.write(rest) :]
                except OSError:  # a full disk
                    file.truncate(size)
                    raise
        except OSError as error:
            raise write_error(self._path, error) from error

    def _write(self) -> None:
        header = json.dumps(self._header, indent=1, allow_nan=False).removesuffix("\n}")
        records = ",\n".join(self._records)
        write_bytes(self._path, f'{header},\n "files": [\n{records}\n ]\n}}\n'.encode())
