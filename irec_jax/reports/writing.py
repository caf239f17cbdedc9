"""Report files: report.json, report.md, report.html and the figures beside them.

Every file is written atomically, the figures first and report.json last: a folder with a
report.json holds the complete report.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irec_jax.files import write_bytes
from irec_jax.reports.figures import encode
from irec_jax.reports.html import to_html


def write_captioned_report(
    folder: str | os.PathLike,
    report: Mapping,
    markdown_page: Callable[[Mapping, Mapping[str, str]], str],
    figures: Mapping[str, tuple[Figure, str]],
    **options: Any,
) -> Path:
    """Write a report whose page shows figures with captions; see `write_report`.

    Args:
        markdown_page: function of the report and file name to caption that returns the page.
        figures: file name to figure and caption.
    """
    page = markdown_page(report, {name: caption for name, (_, caption) in figures.items()})
    drawn = {name: figure for name, (figure, _) in figures.items()}
    return write_report(folder, report, page, drawn, **options)


def write_report(
    folder: str | os.PathLike,
    report: Mapping,
    page: str,
    figures: Mapping[str, Figure],
    *,
    html_title: str | None = None,
) -> Path:
    """Write a report to a folder, which is created if needed, and replace an earlier report.

    Args:
        folder: its path.
        report, page: content of report.json and of report.md.
        figures: file name to figure.
        html_title: title of report.html, which embeds the figures; None writes no report.html.

    Returns:
        The path of report.md.

    Raises:
        UserError: the folder is not writable or the disk is full.
    """
    folder = Path(folder)
    contents = {name: encode(figure, "png") for name, figure in figures.items()}
    if html_title is not None:
        html = to_html(page, title=html_title, pictures=dict(contents))
        contents["report.html"] = html.encode()
    contents["report.md"] = page.encode()
    contents["report.json"] = strict_json(report).encode()
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return folder / "report.md"


def strict_json(report: Mapping) -> str:
    """Return standard JSON: NaN and infinite numbers become null, arrays become lists."""
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
