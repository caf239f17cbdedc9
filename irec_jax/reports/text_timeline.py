"""Text timelines that show instrument activity in a terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from irec_jax.reports.activity_rows import ActivityRow, activity_rows
from irec_jax.text import clock, shorten

#: Characters in order of increasing activity.
BLOCKS, ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_MAX_WIDTH, _MAX_NAME, _MAX_ROWS = 100, 20, 8
_ACTIVE, _FAINT, _BOLD, _RESET = "\x1b[36m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


def timeline(result: Any, width: int, *, characters: str = BLOCKS, colour: bool = False) -> str:
    """Return a line for each recognised or active instrument, and a time axis.

    Instruments are sorted by score, and each character shows the activity by its height (`BLOCKS`)
    or density (`ASCII`). With ``colour``, characters are cyan where the instrument is active and
    faint elsewhere, and the names of recognised instruments are bold. At most 8 instruments are
    shown; recognised ones take precedence.

    Args:
        result: an `irec_jax.systems.recognized.Recognized`.
        width: width of the terminal in columns; at most 100 columns are used.
        characters: `BLOCKS` or `ASCII`.
        colour: whether to mark activity and names with ANSI escape codes.

    Returns:
        Indented lines, each ending with a line break; empty if no instrument is recognised or
        active.
    """
    names, num_hidden = _shown(activity_rows(result, 1))
    if not names:
        return ""
    indent = 2 + min(_MAX_NAME, max(map(len, names))) + 2
    num_columns = max(10, min(width, _MAX_WIDTH) - indent)
    lines = [
        _name(row, indent, colour) + _bar(row, characters, colour)
        for row in activity_rows(result, num_columns)
        if row.name in names
    ]
    if num_hidden:
        lines.append(f"  and {num_hidden} more")
    end = clock(round(result.duration_s))
    lines.append(" " * indent + f"0:00{end:>{num_columns - 4}}")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _shown(rows: Sequence[ActivityRow]) -> tuple[set[str], int]:
    """Return the names of the rows to show (recognised ones first) and the number of other rows."""
    names = [row.name for row in sorted(rows, key=lambda row: not row.is_label)]
    return set(names[:_MAX_ROWS]), len(names[_MAX_ROWS:])


def _name(row: ActivityRow, indent: int, colour: bool) -> str:
    name = shorten(row.name, _MAX_NAME)
    padding = " " * (indent - 2 - len(name))
    return f"  {_BOLD}{name}{_RESET}{padding}" if colour and row.is_label else f"  {name}{padding}"


def _bar(row: ActivityRow, characters: str, colour: bool) -> str:
    """Return one character per column, with escape codes where the colour changes."""
    heights = np.rint(np.clip(row.activity, 0, 1) * (len(characters) - 1)).astype(int)
    text, style = "", ""
    for height, is_active in zip(heights, row.active, strict=True):
        wanted = (_ACTIVE if is_active else _FAINT) if colour else ""
        if wanted != style:
            text += (_RESET if style else "") + wanted
            style = wanted
        text += characters[height]
    return text + (_RESET if style else "")
