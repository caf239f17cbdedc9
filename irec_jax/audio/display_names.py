"""File names in messages and reports."""

import os
import unicodedata
from collections.abc import Sequence

_MAX_NAMES = 4


def printable(name: str | os.PathLike) -> str:
    """Return a file name as one printable line (NFC), even if its bytes are not valid UTF-8."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def join_names(names: Sequence[str]) -> str:
    """Return `a, b, c, d and 3 more`."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
