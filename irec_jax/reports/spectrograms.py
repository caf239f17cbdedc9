"""Spectrograms of a mixture and of what it was separated into, of bounded size."""

from collections.abc import Mapping

import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from irec_jax.dsp.window_functions import get_window
from irec_jax.reports.debleed_figure import band_edges_hz, in_bands
from irec_jax.reports.plots import clock, time_locator

_FRAME_S = 0.085
_NUM_COLUMNS = 800
_RANGE_DB = 80.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


class Overview:
    """The mean powers of a recording that comes in blocks, in at most `_NUM_COLUMNS` columns.

    Args:
        sample_rate_hz: of the recording.
        num_samples: of the recording.
    """

    def __init__(self, sample_rate_hz: int, num_samples: int):
        self._rate_hz = sample_rate_hz
        self._length = 1 << max(4, round(np.log2(_FRAME_S * sample_rate_hz)))
        self._hop = min(max(num_samples // _NUM_COLUMNS, self._length // 16), self._length // 2)
        self._window = get_window("hann", self._length).astype(np.float32)[:, None]
        self._num_frames = 1 + num_samples // self._hop
        num_columns = min(self._num_frames, _NUM_COLUMNS)
        self._column_of = np.arange(self._num_frames) * num_columns // self._num_frames
        self._sums = np.zeros((num_columns, self._length // 2 + 1))
        self._held: np.ndarray | None = None
        self._num_done = 0

    def add(self, block: np.ndarray) -> None:
        """Takes the next samples, float32 (n, C)."""
        if self._held is None:
            self._held = np.zeros((self._length // 2, block.shape[1]), np.float32)
        self._held = np.concatenate([self._held, block])
        num_frames = (len(self._held) - self._length) // self._hop + 1
        # Some at a time: their spectra take several times the room of the samples.
        for first in range(0, num_frames, 64):
            self._transform(first, min(first + 64, num_frames))
        self._held = self._held[max(0, num_frames) * self._hop :]

    def powers(self) -> np.ndarray:
        """Means over channels and the time of a column, at the end: (bands, columns)."""
        self.add(np.zeros((self._length, self._held.shape[1]), np.float32))
        counts = np.bincount(self._column_of, minlength=len(self._sums))
        return in_bands((self._sums / counts[:, None]).T, self._rate_hz)

    def _transform(self, first: int, end: int) -> None:
        end = min(end, first + self._num_frames - self._num_done)
        if end <= first:
            return
        starts = np.arange(first, end) * self._hop
        frames = self._held[starts[:, None] + np.arange(self._length)]
        spectra = np.fft.rfft(frames * self._window, axis=1)
        powers = np.mean(np.square(spectra.real) + np.square(spectra.imag), axis=2)
        columns = self._column_of[self._num_done : self._num_done + end - first]
        np.add.at(self._sums, columns, powers)
        self._num_done += end - first


def draw(
    powers: Mapping[str, np.ndarray], *, title: str, sample_rate_hz: int, duration_s: float
) -> Figure:
    """Spectrograms one below the other, in dB of the loudest place of the first one.

    Args:
        powers: (bands, columns) of `Overview`, by what they are called; the mixture first.
        title: of the whole.
        sample_rate_hz, duration_s: of the recording.
    """
    figure = Figure(figsize=(12.0, 1.2 + 2.6 * len(powers)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(powers), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges_hz = band_edges_hz(sample_rate_hz)
    octaves = np.log2(edges_hz[[0, -1]])  # bands are rows of equal height there
    loudest = max(float(next(iter(powers.values())).max()), 1e-30)
    for axes, (name, one) in zip(rows, powers.items(), strict=True):
        image = axes.imshow(
            10 * np.log10(np.maximum(one / loudest, 1e-12)), aspect="auto", origin="lower",
            cmap="magma", vmin=-_RANGE_DB, vmax=0, extent=(0, duration_s, *octaves),
            rasterized=True,
        )  # fmt: skip
        axes.set_title(name.replace("_", " + "), fontsize=11, loc="left")
        axes.set_ylabel("frequency in Hz")
    ticks_hz = [hz for hz in _TICKS_HZ if edges_hz[0] <= hz <= edges_hz[-1]]
    rows[0].set_yticks(
        np.log2(ticks_hz), [f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in ticks_hz]
    )
    rows[-1].set_xlabel("time")
    rows[-1].xaxis.set_major_locator(time_locator(duration_s))
    rows[-1].xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(clock))
    figure.colorbar(image, ax=rows.tolist(), label="dB, of the loudest", pad=0.01, aspect=40)
    figure.suptitle(title, fontsize=13)
    return figure
