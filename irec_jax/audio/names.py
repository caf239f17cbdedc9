"""Names of files as a person reads them."""

import os
import unicodedata
from collections.abc import Sequence

_SHOWN = 4


def printable(name: str | os.PathLike) -> str:
    """A name on one line, with composed letters, whatever bytes it is made of."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def listed(names: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
