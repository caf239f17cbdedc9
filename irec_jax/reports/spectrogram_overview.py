"""Spectrograms with logarithmically spaced bands, and overviews of separated recordings."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from irec_jax.dsp.stft import power, stft
from irec_jax.dsp.window_functions import get_window
from irec_jax.reports import figures

_FRAME_S = 0.085
_MAX_COLUMNS = 800
_EXCERPT_COLUMNS = 600
_FRAMES_PER_STEP = 64
_NUM_BANDS = 200
_LOWEST_HZ = 30.0
_RANGE_DB = 80.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


class SpectrogramOverview:
    """Power spectrogram of a recording that is read in blocks.

    Frames are averaged into at most `_MAX_COLUMNS` columns, whatever the length of the recording.
    """

    def __init__(self, sample_rate_hz: int, num_samples: int):
        self._rate_hz = sample_rate_hz
        self._length = _frame_length(sample_rate_hz)
        self._hop = min(max(num_samples // _MAX_COLUMNS, self._length // 16), self._length // 2)
        self._window = get_window("hann", self._length).astype(np.float32)[:, None]
        self._num_frames = 1 + num_samples // self._hop
        num_columns = min(self._num_frames, _MAX_COLUMNS)
        self._column_of = np.arange(self._num_frames) * num_columns // self._num_frames
        self._sums = np.zeros((num_columns, self._length // 2 + 1))
        self._pending = np.zeros((self._length // 2, 0), np.float32)
        self._num_done = 0

    def add(self, block: np.ndarray) -> None:
        """Add the next samples, float32 (T, C)."""
        if not self._pending.shape[1]:  # the first block
            self._pending = np.zeros((self._length // 2, block.shape[1]), np.float32)
        self._pending = np.concatenate([self._pending, block])
        num_frames = (len(self._pending) - self._length) // self._hop + 1
        # Spectra take several times as much memory as the samples, so only a few frames are
        # transformed at a time.
        for first in range(0, num_frames, _FRAMES_PER_STEP):
            self._transform(first, min(first + _FRAMES_PER_STEP, num_frames))
        self._pending = self._pending[max(0, num_frames) * self._hop :]

    def powers(self) -> np.ndarray:
        """Return the powers (bands, columns), averaged over channels.

        Call this method after the last block.
        """
        self.add(np.zeros((self._length, self._pending.shape[1]), np.float32))
        counts = np.bincount(self._column_of, minlength=len(self._sums))
        return octave_bands((self._sums / counts[:, None]).T, self._rate_hz)

    def _transform(self, first: int, end: int) -> None:
        end = min(end, first + self._num_frames - self._num_done)
        if end <= first:
            return
        starts = np.arange(first, end) * self._hop
        frames = self._pending[starts[:, None] + np.arange(self._length)]
        spectra = np.fft.rfft(frames * self._window, axis=1)
        powers = np.mean(np.square(spectra.real) + np.square(spectra.imag), axis=2)
        columns = self._column_of[self._num_done : self._num_done + end - first]
        np.add.at(self._sums, columns, powers)
        self._num_done += end - first


def band_edges_hz(rate_hz: int) -> np.ndarray:
    """Return the edges (bands + 1,) of frequency bands that are equally wide in octaves."""
    return np.geomspace(min(_LOWEST_HZ, rate_hz / 100), rate_hz / 2, _NUM_BANDS + 1)


def band_powers(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return the power spectrogram (bands, columns) of samples (T,); see `octave_bands`."""
    length = _frame_length(rate_hz)
    hop = max(1, len(samples) // _EXCERPT_COLUMNS, length // 16)
    spectrum = stft(samples, frame_length=length, hop_length=hop, window="hann")
    return octave_bands(np.asarray(power(spectrum), np.float64).T, rate_hz)


def octave_bands(powers: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return the mean power (bands, columns) in bands that are equally wide in octaves.

    ``powers``, float64 (bins, columns), covers 0 Hz to half the sample rate. It is interpolated
    linearly between bins and integrated, because low bands are narrower than a bin.
    """
    edges = band_edges_hz(rate_hz) / (rate_hz / 2) * (len(powers) - 1)
    integral = np.zeros_like(powers)
    np.cumsum((powers[1:] + powers[:-1]) / 2, axis=0, out=integral[1:])
    low = np.minimum(edges.astype(int), len(powers) - 2)
    fraction = (edges - low)[:, None]
    slope = powers[low + 1] - powers[low]
    at_edges = integral[low] + powers[low] * fraction + slope * fraction**2 / 2
    # Rounding errors may cause negative values.
    return np.maximum(np.diff(at_edges, axis=0), 0) / np.diff(edges)[:, None]


def draw_overview(
    powers: Mapping[str, np.ndarray], *, title: str, sample_rate_hz: int, duration_s: float
) -> Figure:
    """Draw vertically stacked spectrograms in dB relative to the maximum of the first one.

    ``powers`` maps names to results of `SpectrogramOverview.powers`, with the mixture first.
    """
    figure = figures.new_figure(12.0, 1.2 + 2.6 * len(powers))
    rows = figure.subplots(len(powers), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges_hz = band_edges_hz(sample_rate_hz)
    extent = (0, duration_s, *np.log2(edges_hz[[0, -1]]))
    loudest = next(iter(powers.values())).max()
    images = []
    for axes, (name, bands) in zip(rows, powers.items(), strict=True):
        levels_db = figures.relative_db(bands, loudest)
        images.append(figures.spectrogram(axes, levels_db, extent, low=-_RANGE_DB))
        axes.set_title(name.replace("_", " + "), fontsize=11, loc="left")
        axes.set_ylabel("frequency (Hz)")
    figures.octave_ticks(rows[0], _TICKS_HZ, edges_hz)
    figures.time_axis(rows[-1], duration_s)
    figure.colorbar(
        images[-1], ax=rows.tolist(), label="level (dB re maximum)", pad=0.01, aspect=40
    )
    figure.suptitle(title, fontsize=13)
    return figure


def _frame_length(rate_hz: int) -> int:
    """Return the frame length in samples, the power of two closest to `_FRAME_S` seconds."""
    return 1 << max(4, round(np.log2(_FRAME_S * rate_hz)))
