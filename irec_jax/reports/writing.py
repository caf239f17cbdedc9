"""Functions that write reports: report.json, report.md, report.html and the figures beside them.

Every file is written atomically, figures first and report.json last, so a folder that contains a
report.json contains the complete report.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irec_jax.files import write_bytes, write_text
from irec_jax.remote import as_path
from irec_jax.reports.figures import encode
from irec_jax.reports.html import PICTURE_SCALE, to_html

#: Figure resolution in dots per inch; an inch on a page is 96 pixels.
DPI = 96 * PICTURE_SCALE


def write_captioned_report(
    folder: str | os.PathLike,
    report: Mapping,
    markdown_page: Callable[[Mapping, Mapping[str, str]], str],
    figures: Mapping[str, tuple[Figure, str]],
) -> Path:
    """Write a report with captioned figures; see `write_report`.

    Args:
        folder: path to the folder.
        report: content of report.json.
        markdown_page: function that returns the page, given the report and the captions by file
            name.
        figures: figures and captions by file name.
    """
    page = markdown_page(report, {name: caption for name, (_, caption) in figures.items()})
    drawn = {name: figure for name, (figure, _) in figures.items()}
    return write_report(folder, report, page, drawn)


def write_report(
    folder: str | os.PathLike, report: Mapping, page: str, figures: Mapping[str, Figure]
) -> Path:
    """Write a report to a folder, replacing any earlier report.

    Args:
        folder: path to the folder, which is created if needed.
        report, page: content of report.json, and content of report.md.
        figures: figures by file name. report.html embeds them, as well as any other pictures on
            the page that are already in the folder.

    Returns:
        The path to report.md.

    Raises:
        UserError: the folder is not writable or the disk is full.
    """
    folder = as_path(folder)
    write_page(folder / "report.html", page, figures)
    write_text(folder / "report.md", page)
    write_text(folder / "report.json", strict_json(report))
    return folder / "report.md"


def write_page(path: Path, page: str, figures: Mapping[str, Figure]) -> None:
    """Write a Markdown page as HTML with embedded figures, and write the figures beside it.

    See `write_report` for ``figures`` and for the errors raised.
    """
    for name, figure in figures.items():
        write_bytes(path.with_name(name), encode(figure, "png", dpi=DPI))
    pictures = {picture.name: picture.read_bytes() for picture in path.parent.glob("*.png")}
    write_text(path, to_html(page, pictures=pictures))


def strict_json(report: Mapping) -> str:
    """Encode a report as standard JSON, with NaN and infinity as null and arrays as lists."""
    return json.dumps(_to_json(report), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return _to_json(value.tolist())
    if isinstance(value, np.generic):
        return _to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
