"""Colours and axis styles that all figures share, and functions that encode and save figures.

Figures are created without pyplot, so that Matplotlib's global state does not change. The colours
are from the Okabe-Ito palette and can be distinguished by colour-blind readers.
"""

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from irec_jax.errors import UserError
from irec_jax.files import write_bytes
from irec_jax.reports.time_ticks import tick_spacing_s
from irec_jax.text import class_names, clock

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7F7F7F", "#D9D9D9"
Extent = tuple[float, float, float, float]  #: Left, right, bottom and top edges of an image.


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of the given size in inches, with a single plot."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def encode(figure: Figure, file_format: str, *, dpi: float | None = None) -> bytes:
    """Encode a figure as 'png', 'pdf' or 'svg'.

    ``dpi`` is the resolution of raster images; None selects the figure's own resolution.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Missing glyphs are drawn as boxes, so the warning is not needed.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=file_format, dpi=dpi or figure.dpi)
    return buffer.getvalue()


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure atomically, in the format given by the file's suffix.

    Raises:
        UserError: the suffix is not .png, .pdf or .svg, or the file cannot be written.
    """
    file_format = Path(path).suffix.lower().removeprefix(".")
    if file_format not in ("png", "pdf", "svg"):
        raise UserError(
            f"{path}: unknown picture format; use a name that ends with .png, .pdf or .svg"
        )
    write_bytes(path, encode(figure, file_format))


def grid(axes: Axes, which: Literal["both", "x", "y"] = "both") -> None:
    """Draw light grid lines behind the data, for the 'x' axis, the 'y' axis or 'both'."""
    axes.grid(True, axis=which, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)


def epoch_axis(axes: Axes) -> None:
    """Format the x axis for epochs, draw a grid, and hide the top and right spines."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    grid(axes)


def class_axis(axes: Axes, classes: Iterable[str]) -> None:
    """Label the positions 0, 1, ... of the x axis with class names."""
    names = class_names(classes)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.tick_params(axis="x", length=0)


def heat_map(
    axes: Axes, values: np.ndarray, texts: np.ndarray, *, high: float, low: float = 0, **style: Any
) -> AxesImage:
    """Draw a matrix in shades of blue, with the given text in each cell.

    The colours range from white at ``low`` to dark blue at ``high``; masked cells are white.
    ``style`` is passed to `Axes.text`.
    """
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="white")
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high)
    for (row, column), text in np.ndenumerate(texts):
        if text:
            dark = (values[row, column] - low) / (high - low) > 0.55
            style["color"] = "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", **style)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return image


def relative_db(powers: np.ndarray, loudest: float) -> np.ndarray:
    """Return powers in dB relative to ``loudest``, with a floor of -120 dB."""
    return 10 * np.log10(np.maximum(powers / max(float(loudest), 1e-30), 1e-12))


def spectrogram(
    axes: Axes, levels_db: np.ndarray, extent: Extent, *, low: float, high: float = 0, cmap="magma"
) -> AxesImage:
    """Draw levels (bands, columns) in dB, with low frequencies at the bottom.

    The colours range from ``low`` to ``high`` dB. ``extent`` holds the start time, the end time,
    the lowest frequency and the highest frequency, in the units of the axes.
    """
    scale: Any = dict(vmin=low, vmax=high, cmap=cmap)
    return axes.imshow(
        levels_db, extent=extent, aspect="auto", origin="lower", rasterized=True, **scale
    )


def time_axis(axes: Axes, duration_s: float) -> None:
    """Format an x axis in seconds as m:ss, with about ten ticks at round times."""
    axes.set_xlabel("time (m:ss)")
    locator = matplotlib.ticker.MultipleLocator(tick_spacing_s(duration_s, 12))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda time_s, _: clock(time_s)))


def octave_ticks(axes: Axes, ticks_hz: Sequence[int], edges_hz: np.ndarray) -> None:
    """Set the ticks of a y axis in octaves (log2 of Hz); ticks outside ``edges_hz`` are omitted."""
    shown_hz = [hz for hz in ticks_hz if edges_hz[0] <= hz <= edges_hz[-1]]
    axes.set_yticks(np.log2(shown_hz), [frequency_label(hz) for hz in shown_hz])


def frequency_label(hz: int) -> str:
    """Format a frequency as '500' or '2 k'."""
    return f"{hz // 1000} k" if hz >= 1000 else str(hz)
