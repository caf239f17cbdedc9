"""What commands have in common: places to write to, and words for the screen."""

import os
from pathlib import Path

from irec_jax.errors import UserError


def check_place(path: Path) -> None:
    """UserError where a file cannot be written: before hours of work, not after."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; name another one")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written, {existing} is no folder that takes files")


def plot_path(text: str | None, option: str = "--plot") -> Path | None:
    """The path of a plot; UserError for another ending than those of pictures."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"{option} {text}: a name that ends with .png, .pdf or .svg, please")
    return path


def one_line(file: Path) -> str:
    """A name on one line."""
    return str(file).replace("\n", "\\n")


def shorten(text: str, width: int) -> str:
    """The text, or its end after an ellipsis."""
    return text if len(text) <= width else "…" + text[1 - width :]


def clock(seconds: float) -> str:
    """`m:ss.s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
