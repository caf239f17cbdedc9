"""Formatting of numbers, durations and names as text."""

import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from irec_jax.labels import IRMAS_NAMES

_MISSING = "–"


def is_finite(value: float | None) -> bool:
    """Return whether a value is present and finite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals; a dash if it is missing or not finite."""
    return f"{value:z.{digits}f}" if is_finite(value) else _MISSING


def decibels(value: float | None, digits: int = 2) -> str:
    """Return a level in dB, formatted like `number`; '∞' or '−∞' for infinite values."""
    if value is not None and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return number(value, digits)


def difference(value: float | None, digits: int = 3) -> str:
    """Return a number with its sign; a dash if it is missing or not finite."""
    return f"{value:+z.{digits}f}" if is_finite(value) else _MISSING


def interval(value: float | None, ends: Sequence[float | None] | None) -> str:
    """Return a number and its interval, such as '0.672 [0.651, 0.695]', or only the number."""
    if value is None or ends is None or not all(map(is_finite, ends)):
        return number(value)
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]"


def mean_sd(block: Mapping[str, float | None], digits: int = 2) -> str:
    """Return ``mean`` ± ``sd`` from a dict, such as '10.53 ± 2.11'; a dash if there is no mean."""
    mean, sd = number(block.get("mean"), digits), block.get("sd")
    return f"{mean} ± {sd:.{digits}f}" if mean != _MISSING and is_finite(sd) else mean


def plural(number: int, noun: str, many: str | None = None) -> str:
    """Return a count and its noun, '1 track' or '2 tracks'; ``many`` is an irregular plural."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def clock(seconds: float) -> str:
    """Return a time as m:ss, with hours and tenths of a second only if they are not zero."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    text = f"{tenths // 10:02d}" + (f".{tenths % 10}" if tenths % 10 else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def shorten(text: str, width: int, *, keep: str = "end") -> str:
    """Shorten a text to at most ``width`` characters with an ellipsis.

    ``keep`` selects which part is kept: the 'start', the 'end' (which often contains a number) or
    'both'.
    """
    if len(text) <= width:
        return text
    head = {"start": width - 1, "end": 0, "both": width // 2}[keep]
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def class_names(classes: Iterable[str]) -> list[str]:
    """Return class names with IRMAS codes written out ('cel' becomes 'cello')."""
    return [IRMAS_NAMES.get(name, name) for name in classes]


_MAX_NAMES = 4


def printable(name: str | bytes | os.PathLike) -> str:
    """Return a file name as one printable line (NFC), even if its bytes are not valid UTF-8."""
    return _replace_unprintable(unicodedata.normalize("NFC", to_unicode(os.fsdecode(name))))


def one_line(text: str) -> str:
    """Return a message as one printable line: line breaks and tabs become spaces."""
    return _replace_unprintable(_BREAKS.sub(" ", to_unicode(text).strip()))


def to_unicode(text: str) -> str:
    """Return text that can be encoded as UTF-8.

    Python represents the undecodable bytes of a file name as surrogates. These bytes are decoded as
    UTF-8; invalid ones become "�".
    """
    if text.isascii():
        return text
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that do not represent bytes
        encoded = text.encode("utf-8", "replace")
    return encoded.decode("utf-8", "replace")


_BREAKS = re.compile(r"[ \t]*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+[ \t]*|\t")


def _replace_unprintable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() or unicodedata.category(letter) == "Zs" else "�"
        for letter in text
    )


def join_names(names: Sequence[str]) -> str:
    """Return the first four names and the number of remaining ones: `a, b, c, d and 3 more`."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
