"""Packaged systems: trained systems as folders with a few small files, for publication.

system.json       as in a workdir
parameters.npz    the parameters and the model state: arrays named by their path in the tree, such
                  as `params/Conv_0/kernel`; floating-point values are stored in float16
README.md         the model card
checksums.json    SHA-256 of the other files, verified whenever a system is loaded
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from irec_jax.errors import UserError
from irec_jax.files import write_error

PARAMETER_FILE, CHECKSUM_FILE = "parameters.npz", "checksums.json"
_FILES = ("system.json", PARAMETER_FILE, "README.md")


def is_packaged(folder: Path) -> bool:
    """Return whether a folder is a (possibly incomplete) packaged system, not a workdir."""
    return any((folder / name).exists() for name in (PARAMETER_FILE, CHECKSUM_FILE))


def encode_parameters(params: Any, model_state: Mapping[str, Any]) -> bytes:
    """Return the content of `parameters.npz`.

    Arrays with values beyond the float16 range keep their type.

    Args:
        params: tree of arrays.
        model_state: the model's other variable collections, by name.
    """
    arrays = flatten(params, model_state).items()
    stored: dict[str, Any] = {name: _to_float16(np.asarray(array)) for name, array in arrays}
    content = io.BytesIO()
    np.savez(content, **stored)
    return content.getvalue()


def write(
    folder: Path, system: Mapping[str, Any], parameters: bytes, card: str, *, overwrite: bool
) -> None:
    """Write a packaged system atomically: on failure the folder is left unchanged.

    Args:
        folder: a new or empty folder.
        system: the content of `system.json`.
        parameters: result of `encode_parameters`.
        card: the model card in Markdown.
        overwrite: replace an earlier packaged system.

    Raises:
        UserError: see `check_folder`; also if the folder cannot be written.
    """
    check_folder(folder, overwrite=overwrite)
    text = json.dumps(system, indent=1, allow_nan=False)
    files: dict[str, bytes] = dict(
        zip(_FILES, (text.encode(), parameters, card.encode()), strict=True)
    )
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[CHECKSUM_FILE] = (json.dumps(checksums, indent=1) + "\n").encode()
    folder = Path(os.path.realpath(folder))  # to replace the target of a link, not the link itself
    new, old = (folder.with_name(f".{folder.name[-50:]}.{os.getpid()}.{s}") for s in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a packaged system can be written to a folder.

    Raises:
        UserError: if the path is a file, or the folder contains anything but a packaged system that
            may be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; choose a folder")
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if present - {*_FILES, CHECKSUM_FILE}:
        raise UserError(f"{folder}: contains other files; choose an empty or new folder")
    if present and not overwrite:
        raise UserError(f"{folder}: contains a system; choose another folder or set --overwrite")


def verify(folder: Path) -> None:
    """Compare the files of a packaged system with their checksums.

    Raises:
        UserError: if a file is missing or damaged; the message names it.
    """
    try:
        checksums = json.loads(_read(folder / CHECKSUM_FILE))
        expected = {name: checksums[name] for name in _FILES}
    except (ValueError, TypeError, KeyError):
        raise _damaged(folder / CHECKSUM_FILE, "damaged") from None
    for name, checksum in expected.items():
        if hashlib.sha256(_read(folder / name)).hexdigest() != checksum:
            raise _damaged(folder / name, f"damaged (SHA-256 differs from {CHECKSUM_FILE})")


def read_variables(folder: Path, target: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the parameters and the model state of a packaged system.

    Args:
        folder: a folder that `verify` has checked.
        target: parameters and model state with the expected shapes and types.

    Raises:
        UserError: if `parameters.npz` is missing or damaged, or does not match `target`.
    """
    file = folder / PARAMETER_FILE
    with _read_errors(file), np.load(io.BytesIO(_read(file)), allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    expected = flatten(*target)
    for name in sorted(arrays.keys() | expected.keys()):
        actual, wanted = (
            tuple(found[name].shape) if name in found else "missing" for found in (arrays, expected)
        )
        if actual != wanted:
            raise UserError(
                f"{file}: {name} is {actual}, but {wanted} in the network that system.json "
                "describes; restore the folder from a copy"
            )
    return unflatten(arrays, *target)


def flatten(params: Any, model_state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters and model state as arrays, keyed by name in `parameters.npz`."""
    tree = {"params": params} | dict(model_state)
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(
    arrays: Mapping[str, np.ndarray], params: Any, model_state: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Return parameters and model state with some arrays replaced.

    Args:
        arrays: the new arrays by name; they are converted to the types of the arrays they replace.
        params, model_state: trees that contain the old arrays.
    """

    def replace(path: tuple[Any, ...], leaf: Any) -> Any:
        name = _name(path)
        return arrays[name].astype(leaf.dtype) if name in arrays else leaf

    tree = {"params": params} | dict(model_state)
    variables = jax.tree_util.tree_map_with_path(replace, tree)
    return variables.pop("params"), variables


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(key.key) for key in path)


def _to_float16(array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.isfinite(half).all() else array


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(path, "missing") from None
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Convert NumPy errors caused by damaged files to UserError."""
    try:
        yield
    except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(path, "damaged") from error


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path}: {problem}; restore the folder from a copy, or install irec-jax again if the "
        "system came with it"
    )
