"""HTML timeline of the instruments in a recording: rows of inline SVG with a playback cursor."""

import html
from collections.abc import Iterator
from typing import Any

import numpy as np

from irec_jax.inference.segments import runs
from irec_jax.reports.activity_rows import ActivityRow, activity_rows
from irec_jax.reports.time_ticks import tick_spacing_s
from irec_jax.text import clock, shorten

NUM_COLUMNS = 800
_NUM_SHADES = 10
_MAX_NAME = 20
_MAX_TICKS = 10


def timeline(result: Any, envelope: np.ndarray | None) -> str:
    """Return a figure with the waveform, a row for each active instrument, and a time axis.

    Instruments that are recognised but never active also have a row.

    Args:
        result: an `irec_jax.systems.recognized.Recognized`.
        envelope: (C,), peaks of the waveform (see `preview.Preview`); None for no waveform.
    """
    rows = activity_rows(result, NUM_COLUMNS)
    lanes = [_waveform(envelope)] if envelope is not None and len(envelope) else []
    lanes += [_lane(row) for row in rows]
    if not lanes:
        return ""
    return (
        f'<figure class="timeline" data-duration="{result.duration_s:.6f}">\n'
        + "".join(lanes)
        + f'<div class="axis" aria-hidden="true">{"".join(_ticks(result.duration_s))}</div>\n'
        + '<div class="seek"></div>\n</figure>\n'
    )


def _svg(kind: str, name: str, label: str, height: int, width: int, shapes: str) -> str:
    return (
        f'<div class="{kind}">\n<div class="name" title="{html.escape(name)}">'
        f"{html.escape(shorten(name, _MAX_NAME, keep='start'))}</div>"
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'preserveAspectRatio="none">{shapes}</svg>\n</div>\n'
    )


def _waveform(envelope: np.ndarray) -> str:
    heights = np.rint(50 * envelope / max(float(envelope.max()), 1e-9)).astype(int).tolist()
    upper = "".join(f"V{50 - height}h1" for height in heights)
    lower = "".join(f"V{50 + height}h-1" for height in reversed(heights))
    path = f'<path d="M0 50{upper}{lower}z"/>'
    return _svg("lane wave", "waveform", "waveform", 100, len(heights), path)


def _lane(row: ActivityRow) -> str:
    """Return the row of an instrument: opacity shows activity, and a bar marks active columns."""
    shades = np.rint(_NUM_SHADES * np.clip(row.activity, 0, 1)).astype(int)
    shapes = "".join(
        f'<path opacity="{shade / _NUM_SHADES:g}" d="{_rectangles(shades == shade, 0, 8)}"/>'
        for shade in range(1, _NUM_SHADES + 1)
        if (shades == shade).any()
    )
    shapes += f'<path class="active" d="{_rectangles(row.active, 8, 2)}"/>'
    share = f"active for {row.active.mean():.0%} of the time"
    return _svg("lane", row.name, f"{row.name}: {share}", 10, NUM_COLUMNS, shapes)


def _rectangles(mask: np.ndarray, top: int, height: int) -> str:
    return "".join(
        f"M{start} {top}h{stop - start}v{height}h{start - stop}z" for start, stop in runs(mask)
    )


def _ticks(duration_s: float) -> Iterator[str]:
    spacing_s = tick_spacing_s(duration_s, _MAX_TICKS)
    for time_s in np.arange(0, duration_s, spacing_s):
        yield f'<span style="left: {100 * time_s / duration_s:.3f}%">{clock(float(time_s))}</span>'
