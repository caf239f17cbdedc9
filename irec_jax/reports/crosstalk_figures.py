"""Figures that show the crosstalk between the tracks of a recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from irec_jax.reports import figures
from irec_jax.text import clock

_WIDTH = 14.5
_SMALLEST_WEIGHT = 0.005  # rounds to .01
_LOWEST_DB = -40.0
#: Maximum number of panels side by side.
_MAX_COLUMNS = 5
_SPECTROGRAM_DB = 70.0
_LOSS_DB = 30.0
#: Losses are inaudible, and therefore not drawn, where a track is below this level relative to its
#: loudest point.
_AUDIBLE_DB = -60.0
_SMALLEST_EXCESS = 1e-12  # anything smaller is rounding error
_TICKS_HZ = (50, 200, 1000, 4000, 16000)


def overview(
    names: Sequence[str],
    amplitudes: np.ndarray | None,
    delays_s: np.ndarray,
    weights: np.ndarray,
    *,
    weight_titles: Sequence[str],
    drawn: Sequence[int],
    losses_db: Sequence[float] | np.ndarray,
    before_after: Sequence[Sequence[np.ndarray]],
    edges_hz: np.ndarray,
    start_s: float,
    duration_s: float,
) -> Figure:
    """Draw the crosstalk between tracks, and some tracks before and after its removal.

    Args:
        names: J short track names.
        amplitudes: (J, J); element [l, j] is the amplitude of source j's direct sound in
            microphone l, or 0 if none was detected. None if the tracks were not aligned.
        delays_s: (J, J), direct-sound delays in seconds.
        weights: (bands, J, J), the weights lambda from Seipel (2018).
        weight_titles: band titles.
        drawn: indices of the tracks in ``before_after``.
        losses_db: (J,), energy lost by each track in dB.
        before_after: for each drawn track, the powers (F, N) before and after removal.
        edges_hz: (F + 1,), edges of frequency bands that are equally wide in octaves.
        start_s, duration_s: start and duration of the excerpt that the spectrograms show.
    """
    num_maps = len(weights) + (amplitudes is not None)
    size = min(7.0, 2.2 + 0.33 * len(names))
    columns = max(1, min(num_maps, 3, int(_WIDTH // size)))
    map_rows = -(-num_maps // columns)
    map_height, row_height = map_rows * (size + 0.5), 1.75 * len(drawn) + 0.6
    figure = figures.new_figure(_WIDTH, map_height + row_height)
    top = 1 - 0.15 / figure.get_figheight()  # otherwise, subfigures cut off heat-map titles
    figure.set_layout_engine("constrained", rect=(0, 0, 1, top))
    heights = [map_height, max(row_height, 0.1)]
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = iter(np.ravel(upper.subplots(map_rows, columns, squeeze=False)))
    if amplitudes is not None:
        _draw_direct_sound(next(axes), names, amplitudes, delays_s)
    for title, band in zip(weight_titles, weights, strict=True):
        texts = np.vectorize(lambda weight: f"{weight:.2f}".lstrip("0"))(band)
        _draw_heat_map(
            next(axes), names, band, texts, band >= _SMALLEST_WEIGHT, label="weight λ",
            title=title[:1].upper() + title[1:], high=max(0.1, float(band.max())),
        )  # fmt: skip
    for unused in axes:
        unused.set_visible(False)
    if len(drawn):
        rows = lower.subplots(len(drawn), 3, squeeze=False, sharex=True, sharey=True)
        extent = (start_s, start_s + duration_s, *np.log2(edges_hz[[0, -1]]))
        for row, j, pair in zip(rows, drawn, before_after, strict=True):
            _draw_before_after(row, pair, extent)
            row[0].set_ylabel(f"{names[j]}\n{-losses_db[j]:+z.1f} dB\nfrequency (Hz)", fontsize=9)
        for title, column in zip(("before", "after", "removed"), rows[0], strict=True):
            column.set_title(title, fontsize=11)
        figures.octave_ticks(rows[0, 0], _TICKS_HZ, edges_hz)
        figures.time_axis(rows[-1, 1], 2 * duration_s)  # narrow panels have room for fewer ticks
        _add_colour_bars(lower, rows)
        which = "Tracks" if len(drawn) == len(names) else "Tracks that lost the most energy"
        end = clock(start_s + duration_s)
        lower.suptitle(f"{which}, {clock(start_s)} to {end}", fontsize=13)
    return figure


def example(
    names: Sequence[str],
    inverses: Mapping[str, np.ndarray],
    spectra: Mapping[str, np.ndarray],
    *,
    title: str,
    sample_rate_hz: float,
    duration_s: float,
) -> Figure:
    """Draw estimates of the inverse mixing matrix and of one track (Seipel 2018, figure 3.2).

    Args:
        names: J track names.
        inverses: matrices (J, J) by name, drawn without their diagonals.
        spectra: magnitude spectrograms (frames, bins) of one track, by name.
        title: title of the figure.
        sample_rate_hz, duration_s: sample rate and duration of the tracks.
    """
    columns = min(_MAX_COLUMNS, max(len(inverses), len(spectra)))
    num_upper, num_lower = (-(-len(panels) // columns) for panels in (inverses, spectra))
    figure = figures.new_figure(3.6 * columns, 3.8 * (num_upper + num_lower))
    grid = figure.subplots(num_upper + num_lower, columns, squeeze=False)
    upper, lower = grid[:num_upper].ravel(), grid[num_upper:].ravel()
    off_diagonal = ~np.eye(len(names), dtype=bool)
    top = max(float(np.abs(inverse[off_diagonal]).max()) for inverse in inverses.values())
    images = []
    for axes, (name, inverse) in zip(upper, inverses.items(), strict=False):
        values = np.ma.array(inverse, mask=~off_diagonal)
        images.append(axes.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top))
        axes.set_title(name, fontsize=11)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        is_first = axes in upper[::columns]
        axes.set_yticks(range(len(names)), names if is_first else [], fontsize=7)
    figure.colorbar(images[-1], ax=upper.tolist(), label="off-diagonal element", shrink=0.8)
    loudest = max(float(magnitudes.max()) for magnitudes in spectra.values())
    nyquist_khz = sample_rate_hz / 2000
    for axes, (name, magnitudes) in zip(lower, spectra.items(), strict=False):
        levels_db = figures.relative_db(magnitudes.T**2, loudest**2)
        extent = (0, duration_s, 0, nyquist_khz)
        images.append(figures.spectrogram(axes, levels_db, extent, low=-_SPECTROGRAM_DB))
        axes.set_ylim(0, min(nyquist_khz, 8))
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("time (s)")
    for axes in lower[::columns]:
        axes.set_ylabel("frequency (kHz)")
    figure.colorbar(images[-1], ax=lower.tolist(), label="level (dB re maximum)", shrink=0.8)
    for unused in (*upper[len(inverses) :], *lower[len(spectra) :]):
        unused.set_visible(False)
    figure.suptitle(title, fontsize=13)
    return figure


def restarts(
    steps: Sequence[int],
    excess: np.ndarray,
    exact: np.ndarray,
    weights: np.ndarray,
    *,
    title: str,
) -> Figure:
    """Draw gradient-descent runs with different initial weights; the run from zero is black.

    Args:
        steps: (S,), step counts.
        excess: (runs, S), ratio of the cost to the minimum cost, minus 1.
        exact: (W,), weights at the minimum.
        weights: (runs, W), weights at the end of each run.
        title: title of the figure.
    """
    figure = figures.new_figure(11.0, 4.6)
    left, right = figure.subplots(1, 2)
    for run, (values, ends) in enumerate(zip(excess, weights, strict=True)):
        style: Any = dict(color="black", zorder=3) if run == 0 else dict(color=f"C{(run - 1) % 10}")
        label = {0: "from zero", 1: "from random weights"}.get(run)
        values = np.maximum(values, _SMALLEST_EXCESS)
        left.plot(steps, values, linewidth=1.2, label=label, **style)
        right.plot(exact, ends, ".", markersize=4, **style)
    left.set(xscale="symlog", yscale="log", xlabel="step", xlim=(0, steps[-1]))
    left.set_ylabel("cost above the minimum (relative)")
    left.legend(frameon=False)
    left.axhline(_SMALLEST_EXCESS, color=figures.LIGHT_GREY, linewidth=0.8)
    high = max(float(exact.max(initial=0)), float(weights.max(initial=0)), 0.01)
    right.plot([0, high], [0, high], color=figures.LIGHT_GREY, linewidth=0.8, zorder=0)
    right.set(xlabel="weight at the exact minimum", ylabel="weight at the end of a descent")
    right.set_aspect("equal")
    figure.suptitle(title, fontsize=13)
    return figure


def _draw_direct_sound(
    axes: Axes, names: Sequence[str], amplitudes: np.ndarray, delays_s: np.ndarray
) -> None:
    detected = (amplitudes != 0) & ~np.eye(len(names), dtype=bool)
    levels_db = 20 * np.log10(np.where(detected, np.abs(amplitudes), 1))
    texts = np.vectorize("{:.0f}\n{:.1f}".format)(levels_db, 1e3 * delays_s)
    _draw_heat_map(
        axes, names, levels_db, texts, detected, label="level (dB)",
        title="Direct sound: dB, and delay in ms", low=_LOWEST_DB, high=0,
    )  # fmt: skip


def _draw_heat_map(
    axes: Axes,
    names: Sequence[str],
    values: np.ndarray,
    texts: np.ndarray,
    shown: np.ndarray,
    *,
    label: str,
    title: str,
    **limits: float,
) -> None:
    """Draw a matrix with microphones in rows, sources in columns and a grey diagonal.

    Only the values marked in ``shown`` are drawn.
    """
    num = len(names)
    image = figures.heat_map(
        axes, np.ma.array(values, mask=~shown), np.where(shown, texts, ""), linespacing=0.95,
        fontsize=8 if num <= 10 else 6.5 if num <= 16 else 5, **limits,
    )  # fmt: skip
    grey = figures.LIGHT_GREY
    for j in range(num):
        axes.add_patch(matplotlib.patches.Rectangle((j - 0.5, j - 0.5), 1, 1, color=grey, lw=0))
    axes.set_xticks(range(num), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num), names)
    axes.set_xticks(np.arange(num + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(num + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=grey, linewidth=0.6)
    axes.tick_params(labelsize=9 if num <= 16 else 8)
    axes.set(xlabel="source track", ylabel="microphone")
    axes.set_title(title, fontsize=11)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.75, pad=0.02)


def _draw_before_after(
    row: Sequence[Axes], powers: Sequence[np.ndarray], extent: figures.Extent
) -> None:
    """Draw the spectrograms (F, N) before and after removal, and the loss, in three plots."""
    before_db, after_db = (figures.relative_db(p, powers[0].max()) for p in powers)
    loss_db = np.where(before_db > _AUDIBLE_DB, np.maximum(before_db - after_db, 0), 0)
    figures.spectrogram(row[0], before_db, extent, low=-_SPECTROGRAM_DB)
    figures.spectrogram(row[1], after_db, extent, low=-_SPECTROGRAM_DB)
    figures.spectrogram(row[2], loss_db, extent, low=0, high=_LOSS_DB, cmap="Blues")
    for axes in row:
        axes.tick_params(labelsize=8)


def _add_colour_bars(figure: SubFigure, rows: np.ndarray) -> None:
    style: Any = dict(location="bottom", aspect=60, shrink=0.5, pad=0.02)
    for panels, label in ((rows[:, :2], "level (dB re maximum)"), (rows[:, 2:], "loss (dB)")):
        figure.colorbar(panels[0, 0].images[0], ax=panels.ravel().tolist(), label=label, **style)
