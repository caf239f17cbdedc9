"""Figures that show what a recogniser responds to: class activation maps and deconvolution."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.colors
import matplotlib.patches
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irec_jax.reports import figures
from irec_jax.reports.figures import BLUE, VERMILION

#: Colours of positive and negative values, which are drawn over a greyscale spectrogram.
POSITIVE, NEGATIVE = VERMILION, BLUE
# Values whose magnitude reaches this quantile of the non-zero magnitudes are fully opaque.
_OPAQUE_QUANTILE = 0.98
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16_000)
_MIN_TICK_DISTANCE = 0.06  # as a fraction of the axis length


class UnitPicture(NamedTuple):
    """Picture (bands, frames) of what a network unit responds to, with a caption."""

    caption: str
    values: np.ndarray


class SegmentPicture(NamedTuple):
    """Spectrogram (bands, frames) of a segment, and pictures of each block's units."""

    title: str
    start_s: float
    end_s: float
    spectrogram: np.ndarray
    units: Sequence[Sequence[UnitPicture]]


def draw_class_activation(
    spectrogram: np.ndarray,
    class_activation: Mapping[str, np.ndarray],
    frequencies_hz: np.ndarray,
    *,
    duration_s: float,
    title: str,
) -> Figure:
    """Draw a spectrogram and, below it, the activation map of each class over the same spectrogram.

    Args:
        spectrogram: (bands, columns), log-magnitudes, lowest band first.
        class_activation: signed values (bands, columns) by caption.
        frequencies_hz: (bands,), band centres.
        duration_s: duration of the spectrogram.
        title: title of the figure.
    """
    count = 1 + len(class_activation)
    figure = figures.new_figure(11.0, 0.9 + 2.3 * count)
    rows = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    extent = (0.0, duration_s, 0.0, float(len(spectrogram)))
    _spectrogram(rows[0], spectrogram, extent, cmap="magma")
    _caption(rows[0], "spectrogram")
    for axes, (caption, values) in zip(rows[1:], class_activation.items(), strict=True):
        _overlay(axes, spectrogram, values, extent)
        _caption(axes, caption)
    for axes in rows:
        _frequency_axis(axes, frequencies_hz)
    figures.time_axis(rows[-1], duration_s)
    _finish(figure, title, "evidence for the class", "evidence against the class")
    return figure


def draw_deconvolution(
    segments: Sequence[SegmentPicture], frequencies_hz: np.ndarray, *, title: str = ""
) -> Figure:
    """Draw segments side by side, each with its spectrogram above a row of unit pictures per block.

    Args:
        segments: segments with the same number of blocks.
        frequencies_hz: (bands,), band centres.
        title: title of the figure.
    """
    num_blocks = len(segments[0].units)
    num_units = max(len(units) for segment in segments for units in segment.units)
    figure = figures.new_figure(
        max(7.0, 3.6 * num_units * len(segments)), 0.9 + 2.1 * (1 + num_blocks)
    )
    grid = figure.add_gridspec(1 + num_blocks, num_units * len(segments))
    for number, segment in enumerate(segments):
        first = number * num_units
        extent = (segment.start_s, segment.end_s, 0.0, float(len(segment.spectrogram)))
        top = figure.add_subplot(grid[0, first : first + num_units])
        _spectrogram(top, segment.spectrogram, extent, cmap="magma")
        _caption(top, segment.title)
        panels = [top]
        for row, units in enumerate(segment.units, 1):
            for column, unit in enumerate(units):
                axes = figure.add_subplot(grid[row, first + column])
                _overlay(axes, segment.spectrogram, unit.values, extent)
                _caption(axes, unit.caption)
                panels.append(axes)
                if row == num_blocks:
                    axes.set_xlabel("time (s)")
        for axes in panels:
            spec = axes.get_subplotspec()
            assert spec is not None
            _frequency_axis(axes, frequencies_hz, labels=spec.is_first_col())
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    _finish(figure, title, "positive", "negative")
    return figure


def _spectrogram(axes: Axes, levels: np.ndarray, extent: figures.Extent, *, cmap: str) -> None:
    """Draw a spectrogram whose colours range from its smallest to its largest value."""
    low, high = float(levels.min()), float(levels.max())
    figures.spectrogram(axes, levels, extent, low=low, high=max(high, low + 1e-6), cmap=cmap)


def _overlay(
    axes: Axes, spectrogram: np.ndarray, values: np.ndarray, extent: figures.Extent
) -> None:
    """Draw values over a grey spectrogram; larger values are more opaque."""
    softened = matplotlib.colors.LinearSegmentedColormap.from_list("soft", ["white", "0.45"])
    _spectrogram(axes, spectrogram, extent, cmap=softened)  # pyright: ignore[reportArgumentType]
    magnitudes = np.abs(values)
    largest = (
        float(np.quantile(magnitudes[magnitudes > 0], _OPAQUE_QUANTILE)) if values.any() else 0.0
    )
    pixels = np.zeros((*values.shape, 4))
    pixels[values > 0, :3] = matplotlib.colors.to_rgb(POSITIVE)
    pixels[values < 0, :3] = matplotlib.colors.to_rgb(NEGATIVE)
    pixels[..., 3] = np.clip(magnitudes / largest, 0, 1) if largest else 0
    style: Any = dict(aspect="auto", origin="lower", rasterized=True, interpolation="nearest")
    axes.imshow(pixels, extent=extent, **style)


def _caption(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9, parse_math=False)


def _frequency_axis(axes: Axes, frequencies_hz: np.ndarray, *, labels: bool = True) -> None:
    """Mark round frequencies on a y axis whose unit is the band index."""
    num_bands, positions, texts = len(frequencies_hz), [], []
    for hz in _TICKS_HZ:
        position = float(np.interp(hz, frequencies_hz, 0.5 + np.arange(num_bands)))
        far = not positions or position - positions[-1] >= _MIN_TICK_DISTANCE * num_bands
        if frequencies_hz[0] <= hz <= frequencies_hz[-1] and far:
            positions.append(position)
            texts.append(figures.frequency_label(hz))
    axes.set_yticks(positions, texts if labels else [])
    if labels:
        axes.set_ylabel("frequency (Hz)", fontsize=9)
    axes.tick_params(labelsize=8)


def _finish(figure: Figure, title: str, positive: str, negative: str) -> None:
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    handles = [
        matplotlib.patches.Patch(color=POSITIVE, label=positive),
        matplotlib.patches.Patch(color=NEGATIVE, label=negative),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
