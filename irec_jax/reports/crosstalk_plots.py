"""Figures of crosstalk between the tracks of a recording."""

from collections.abc import Mapping, Sequence

import matplotlib.colors
import matplotlib.patches
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from irec_jax.reports.plots import LIGHT_GREY, clock, time_locator

_WIDTH = 14.5
_SMALLEST_WEIGHT = 0.005  # shown as .01
_LOWEST_DB = -40.0
_SPECTROGRAM_DB = 70.0
_LOSS_DB = 30.0
# Below this part of a spectrogram's range nothing is heard: no loss is drawn there.
_AUDIBLE_DB = -60.0


def overview(
    names: Sequence[str],
    amplitudes: np.ndarray | None,
    delays_s: np.ndarray,
    weights: np.ndarray,
    *,
    weight_titles: Sequence[str],
    drawn: Sequence[int],
    losses_db: Sequence[float],
    before_after: Sequence[Sequence[np.ndarray]],
    frequencies_hz: np.ndarray,
    start_s: float,
    duration_s: float,
) -> Figure:
    """What was found in the tracks of a recording, and some of them before and after.

    Args:
        names: of the J tracks, short ones.
        amplitudes: (J, J) direct sound of track j in microphone l at [l, j], 0 for none found;
            None if it was not looked for.
        delays_s: (J, J) its delay in seconds.
        weights: (bands, J, J), lambda of the source.
        weight_titles: of the bands.
        drawn: numbers of the tracks in ``before_after``.
        losses_db: (J,) energy that each track lost.
        before_after: for each one drawn the power (F, N) before and after.
        frequencies_hz: edges of the F bands, in equal steps on a logarithmic axis.
        start_s, duration_s: what part of the recording the spectrograms show.
    """
    num_maps = len(weights) + (amplitudes is not None)
    side = min(7.0, 2.2 + 0.33 * len(names))
    columns = max(1, min(num_maps, 3, int(_WIDTH // side)))
    map_rows = -(-num_maps // columns)
    map_height, row_height = map_rows * (side + 0.5), 1.75 * len(drawn) + 0.6
    figure = Figure(figsize=(_WIDTH, map_height + row_height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=[map_height, max(row_height, 0.1)])
    axes = iter(np.ravel(upper.subplots(map_rows, columns, squeeze=False)))
    if amplitudes is not None:
        _direct_sound(next(axes), names, amplitudes, delays_s)
    for title, one in zip(weight_titles, weights, strict=True):
        _weights(next(axes), names, one, title=title[:1].upper() + title[1:])
    for unused in axes:
        unused.set_visible(False)
    if len(drawn):
        rows = lower.subplots(len(drawn), 3, squeeze=False, sharex=True, sharey=True)
        extent = (start_s, start_s + duration_s)
        for row, j, pair in zip(rows, drawn, before_after, strict=True):
            _before_after(row, names[j], losses_db[j], pair, frequencies_hz, extent)
        for title, axis in zip(("before", "after", "taken away"), rows[0], strict=True):
            axis.set_title(title, fontsize=11)
        rows[-1, 1].set_xlabel("time")
        _colour_bars(lower, rows)
        which = "Tracks" if len(drawn) == len(names) else "Tracks that lost most"
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
    """Estimates of the inverse mixing matrix, and one track on its way (Seipel 2018, figure 3.2).

    Args:
        names: of the J tracks.
        inverses: (J, J) by what they are called; drawn without their diagonals.
        spectra: magnitudes (frames, bins) of one track by what they are called.
        title: of the whole.
        sample_rate_hz: of the tracks.
        duration_s: of the tracks.
    """
    columns = max(len(inverses), len(spectra))
    figure = Figure(figsize=(3.6 * columns, 7.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, columns, squeeze=False)
    off = ~np.eye(len(names), dtype=bool)
    top = max(float(np.abs(one[off]).max()) for one in inverses.values())
    for axes, (name, inverse) in zip(upper, inverses.items(), strict=False):
        shown = np.ma.array(inverse, mask=~off)
        image = axes.imshow(shown, cmap="RdBu_r", vmin=-top, vmax=top)
        axes.set_title(name, fontsize=11)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names if axes is upper[0] else [], fontsize=7)
    figure.colorbar(image, ax=upper.tolist(), label="off the diagonal", shrink=0.8)
    loudest = max(float(one.max()) for one in spectra.values())
    for axes, (name, magnitudes) in zip(lower, spectra.items(), strict=False):
        levels = 20 * np.log10(np.maximum(magnitudes.T / loudest, 1e-6))
        khz = sample_rate_hz / 2000
        image = axes.imshow(
            levels, aspect="auto", origin="lower", extent=(0, duration_s, 0, khz), cmap="magma",
            vmin=-_SPECTROGRAM_DB, vmax=0, rasterized=True,
        )  # fmt: skip
        axes.set_ylim(0, min(khz, 8))
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("time in s")
    lower[0].set_ylabel("frequency in kHz")
    figure.colorbar(image, ax=lower.tolist(), label="dB", shrink=0.8)
    for unused in (*upper[len(inverses) :], *lower[len(spectra) :]):
        unused.set_visible(False)
    figure.suptitle(title, fontsize=13)
    return figure


def _direct_sound(axes, names: Sequence[str], amplitudes: np.ndarray, delays_s: np.ndarray) -> None:
    found = (amplitudes != 0) & ~np.eye(len(names), dtype=bool)
    levels_db = 20 * np.log10(np.where(found, np.abs(amplitudes), 1))
    shown = np.ma.array(levels_db, mask=~found)
    _map(
        axes,
        names,
        shown,
        [
            [f"{level:.0f}\n{1e3 * delay:.1f}" for level, delay in zip(*rows, strict=True)]
            for rows in zip(levels_db, delays_s, strict=True)
        ],
        label="dB",
        limits=(_LOWEST_DB, 0.0),
        title="Direct sound: dB, and delay in ms",
    )


def _weights(axes, names: Sequence[str], weights: np.ndarray, *, title: str) -> None:
    shown = np.ma.array(weights, mask=weights < _SMALLEST_WEIGHT)
    texts = [[f"{value:.2f}".lstrip("0") for value in row] for row in weights]
    top = max(0.1, float(weights.max()))
    _map(axes, names, shown, texts, label="weight λ", limits=(0.0, top), title=title)


def _map(axes, names, values, texts, *, label: str, limits: tuple[float, float], title: str):
    """A heat map: microphones in rows, sounding tracks in columns; the diagonal stays grey."""
    num = len(names)
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="white")
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    for row, j in np.argwhere(~np.ma.getmaskarray(values)):
        dark = (values[row, j] - limits[0]) / (limits[1] - limits[0]) > 0.55
        axes.text(
            j, row, texts[row][j], ha="center", va="center", linespacing=0.95,
            fontsize=8 if num <= 10 else 6.5 if num <= 16 else 5,
            color="white" if dark else "black",
        )  # fmt: skip
    for j in range(num):
        axes.add_patch(
            matplotlib.patches.Rectangle((j - 0.5, j - 0.5), 1, 1, color=LIGHT_GREY, linewidth=0)
        )
    axes.set_xticks(range(num), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num), names)
    axes.set_xticks(np.arange(num + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(num + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT_GREY, linewidth=0.6)
    axes.tick_params(which="both", length=0, labelsize=9 if num <= 16 else 8)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="of this track", ylabel="in this microphone")
    axes.set_title(title, fontsize=11)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.75, pad=0.02)


def _before_after(row, name: str, loss_db: float, pair, frequencies_hz, extent_s) -> None:
    loudest = max(float(pair[0].max()), 1e-30)
    before, after = (10 * np.log10(np.maximum(one / loudest, 1e-12)) for one in pair)
    lost = np.where(before > _AUDIBLE_DB, np.maximum(before - after, 0), 0)
    # Log-spaced bands are rows of equal height where the axis counts octaves.
    octaves = np.log2(frequencies_hz[[0, -1]])
    options = dict(aspect="auto", origin="lower", extent=(*extent_s, *octaves), rasterized=True)
    for axes, levels in zip(row, (before, after), strict=False):
        axes.imshow(levels, cmap="magma", vmin=-_SPECTROGRAM_DB, vmax=0, **options)
    row[2].imshow(lost, cmap="Blues", vmin=0, vmax=_LOSS_DB, **options)
    ticks_hz = [hz for hz in (50, 200, 1000, 4000, 16000) if hz < frequencies_hz[-1]]
    row[0].set_yticks(
        np.log2(ticks_hz), [f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in ticks_hz]
    )
    row[0].set_ylabel(f"{name}\n{-loss_db:+.1f} dB", fontsize=10)
    for axes in row:
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(time_locator(2 * (extent_s[1] - extent_s[0])))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(clock))


def _colour_bars(figure, rows) -> None:
    for columns, label in ((slice(0, 2), "dB, of the loudest"), (slice(2, 3), "dB less")):
        figure.colorbar(
            rows[0, columns.start].images[0],
            ax=rows[:, columns].ravel().tolist(),
            label=label,
            location="bottom",
            aspect=60,
            shrink=0.5,
            pad=0.02,
        )
