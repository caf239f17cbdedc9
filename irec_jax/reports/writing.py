"""Report files: report.json, report.md, report.html and the figures beside them.

Every file is written atomically, the figures first and report.json last: a folder with a
report.json holds the complete report.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irec_jax.files import write_bytes
from irec_jax.reports.figures import encode
from irec_jax.reports.html import to_html


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
        folder: path of the folder.
        report: content of report.json.
        page: content of report.md.
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
