"""Numbers and tables of studies, aligned as plain text too."""

import math
from collections.abc import Iterable, Mapping, Sequence

from irec_jax.reports import recognition_page as pages
from irec_jax.reports.recognition_page import number


def interval(value: float | None, ends: Sequence[float | None] | None) -> str:
    """A number with its 95 % interval, '0.672 [0.651, 0.695]'; without, where there is none."""
    if value is None or ends is None or None in ends:
        return number(value)
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]"


def difference(value: float | None) -> str:
    """A number with its sign; a dash for one that is not there."""
    return "–" if value is None or not math.isfinite(value) else f"{value:+.3f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], num_text: int = 1) -> str:
    """`page.table` with columns of even width: the first ``num_text`` to the left, others right."""
    rows = [list(row) for row in rows]
    widths = [max(3, *(len(row[i]) for row in [list(header), *rows])) for i in range(len(header))]

    def pad(row: Sequence[str]) -> list[str]:
        return [
            cell.ljust(width) if i < num_text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]

    return pages.table(pad(header), [pad(row) for row in rows], num_text)


def failures(found: Mapping[str, str]) -> list[str]:
    """A paragraph on the runs that failed, if any did."""
    if not found:
        return []
    lines = [f"- {name}: {reason}" for name, reason in found.items()]
    return ["**Failed** (the same command tries them again):", "\n".join(lines)]
