"""Markdown tables."""

import re
from collections.abc import Iterable, Sequence


def escape(name: str) -> str:
    """Escape Markdown characters in external text, such as a file name."""
    return re.sub(r"[\\`*<>&\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", name)


def captioned_table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    num_text_columns: int = 1,
) -> str:
    """Return a caption paragraph followed by a Markdown table; see `markdown_table`."""
    return f"{caption}\n\n{markdown_table(header, rows, num_text_columns)}"


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], num_text_columns: int = 1
) -> str:
    """Return a Markdown table whose columns are also aligned in plain text.

    Args:
        header: column titles.
        rows: cells of each row; vertical bars in cells are escaped.
        num_text_columns: number of leading columns that hold text and are left-aligned; the
            remaining columns hold numbers and are right-aligned.
    """
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    if num_text_columns >= len(widths):
        widths[-1] = 3  # long text would pad every row
    rule = ["-" * (width - 1) + ("-" if i < num_text_columns else ":")
            for i, width in enumerate(widths)]  # fmt: skip
    align = [str.ljust if i < num_text_columns else str.rjust for i in range(len(widths))]
    lines = [
        [pad(cell, width) for pad, cell, width in zip(align, line, widths, strict=True)]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
