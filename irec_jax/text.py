"""Numbers, durations and names as text."""

import math
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from irec_jax.labels import IRMAS_NAMES

_MISSING = "–"


def is_finite(value: float | None) -> bool:
    """Return whether a value is present and finite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals; a dash if it is missing or not finite."""
    return f"{value:.{digits}f}" if is_finite(value) else _MISSING


def decibels(value: float | None, digits: int = 2) -> str:
    """Return a level in dB as `number` does, with '∞' or '−∞' for infinite values."""
    if value is not None and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return number(value, digits)


def difference(value: float | None, digits: int = 3) -> str:
    """Return a number with its sign; a dash if it is missing or not finite."""
    return f"{value:+.{digits}f}" if is_finite(value) else _MISSING


def interval(value: float | None, ends: Sequence[float | None] | None) -> str:
    """Return a number with its interval, '0.672 [0.651, 0.695]', or alone if it has none."""
    if value is None or ends is None or not all(map(is_finite, ends)):
        return number(value)
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]"


def mean_sd(block: Mapping[str, float | None], digits: int = 2) -> str:
    """Return ``mean`` ± ``sd`` of a dict, '10.53 ± 2.11'; a dash if it has no mean."""
    mean, sd = number(block.get("mean"), digits), block.get("sd")
    return f"{mean} ± {sd:.{digits}f}" if mean != _MISSING and is_finite(sd) else mean


def clock(seconds: float) -> str:
    """Return a time as m:ss, with hours or tenths of a second where they are not zero."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    text = f"{tenths // 10:02d}" + (f".{tenths % 10}" if tenths % 10 else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def shorten(text: str, width: int, *, keep: str = "end") -> str:
    """Return the text, shortened to at most ``width`` characters with an ellipsis.

    Keeps its 'start', its 'end' (where players are numbered) or 'both'.
    """
    if len(text) <= width:
        return text
    head = {"start": width - 1, "end": 0, "both": width // 2}[keep]
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def class_names(classes: Iterable[str]) -> list[str]:
    """Return class names with the codes of IRMAS written out ('cel' becomes 'cello')."""
    return [IRMAS_NAMES.get(name, name) for name in classes]


_MAX_NAMES = 4


def printable(name: str | os.PathLike) -> str:
    """Return a file name as one printable line (NFC), even if its bytes are not valid UTF-8."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def join_names(names: Sequence[str]) -> str:
    """Return `a, b, c, d and 3 more`."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
