"""Checks of output files, made before hours of computation."""

import os
from pathlib import Path

from irec_jax.errors import UserError


def check_writable(path: Path) -> None:
    """Raise UserError if a file cannot be written."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; name another one")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written; {existing} is not a writable folder")


def figure_path(text: str, option: str = "--plot") -> Path:
    """Return the path of a figure; raise UserError for an unsupported format."""
    path = Path(text)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"{option} {text}: expected a name that ends with .png, .pdf or .svg")
    return path
