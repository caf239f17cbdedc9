"""The report of a debleeding: what was found, and tracks before and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax import audio
from irec_jax.audio.track_reader import Track, prefetch
from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.dsp.stft import power, stft
from irec_jax.reports import crosstalk_plots
from irec_jax.reports.debleed_tables import weight_titles
from irec_jax.reports.text import shorten

#: Of longer recordings so many seconds are drawn.
EXCERPT_S = 30
#: So many tracks are drawn, those that lost most.
MAX_DRAWN = 6
_MAX_NAME = 18
_FRAME_S = 0.085
_NUM_COLUMNS = 600
_NUM_BANDS = 200
_LOWEST_HZ = 30.0


def draw(
    tracks: Sequence[Track],
    paths: Sequence[Path],
    crosstalk: Crosstalk,
    settings: Settings,
    losses_db: np.ndarray,
    energies: np.ndarray,
) -> Figure:
    """Heat maps of what was found, and spectrograms of the tracks that lost most.

    Args:
        tracks: J files that were read.
        paths: the J files that were written.
        crosstalk, settings: what was found, and how.
        losses_db: (J,) energy that each track lost.
        energies: (2, J, seconds) before and after.
    """
    rate_hz = tracks[0].sample_rate_hz
    start_s = excerpt_start_s(energies)
    span = slice(start_s * rate_hz, min((start_s + EXCERPT_S) * rate_hz, tracks[0].num_samples))
    audible = np.flatnonzero(energies[0, :, start_s : start_s + EXCERPT_S].sum(1))
    drawn = sorted(audible[np.argsort(-losses_db[audible], kind="stable")][:MAX_DRAWN])
    before_after, frequencies_hz = [], band_edges_hz(rate_hz)
    for j in drawn:
        pair = (_read(tracks[j].path, span), _read(paths[j], span))
        before_after.append([band_powers(samples, rate_hz) for samples in pair])
    return crosstalk_plots.overview(
        [shorten(track.name, _MAX_NAME) for track in tracks],
        crosstalk.amplitudes if settings.align else None,
        crosstalk.delays_samples / rate_hz,
        crosstalk.weights,
        weight_titles=weight_titles(settings),
        drawn=drawn,
        losses_db=losses_db,
        before_after=before_after,
        frequencies_hz=frequencies_hz,
        start_s=start_s,
        duration_s=(span.stop - span.start) / rate_hz,
    )


def excerpt_start_s(energies: np.ndarray) -> int:
    """Second at which the `EXCERPT_S` begin in which the tracks lost most.

    Each track counts by the part of its own energy.

    Args:
        energies: (2, J, seconds) before and after.
    """
    before, after = energies
    total = before.sum(1, keepdims=True)
    lost = np.divide(before - after, total, out=np.zeros_like(before), where=total > 0).sum(0)
    if len(lost) <= EXCERPT_S:
        return 0
    sums = np.concatenate([[0], np.cumsum(lost)])
    return int(np.argmax(sums[EXCERPT_S:] - sums[:-EXCERPT_S]))


def band_edges_hz(rate_hz: int) -> np.ndarray:
    """Edges (bands + 1,) of bands of equal width on the logarithmic axis."""
    return np.geomspace(min(_LOWEST_HZ, rate_hz / 100), rate_hz / 2, _NUM_BANDS + 1)


def band_powers(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """A spectrogram in bands of equal width on the logarithmic axis: (bands, columns).

    Args:
        samples: float32 (T,).
        rate_hz: in Hz.
    """
    frame_length = 1 << max(4, round(np.log2(_FRAME_S * rate_hz)))
    spectrum = stft(
        samples,
        frame_length=frame_length,
        hop_length=max(1, len(samples) // _NUM_COLUMNS, frame_length // 16),
        window="hann",
    )
    return in_bands(np.asarray(power(spectrum), np.float64).T, rate_hz)


def in_bands(powers: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mean power of the bins around each band: (bands, columns).

    Args:
        powers: float64 (bins, columns), from 0 Hz to half of the rate.
        rate_hz: in Hz.
    """
    edges = band_edges_hz(rate_hz) / (rate_hz / 2) * (len(powers) - 1)
    # The integral over a band of the powers, linear between bins: low bands are narrower than bins.
    bins = np.arange(len(powers))
    integral = np.concatenate(
        [np.zeros((1, powers.shape[1])), np.cumsum((powers[1:] + powers[:-1]) / 2, axis=0)]
    )
    low = np.minimum(edges.astype(int), len(bins) - 2)
    part = (edges - low)[:, None]
    slope = powers[low + 1] - powers[low]
    at_edges = integral[low] + powers[low] * part + slope * part**2 / 2
    return np.maximum(np.diff(at_edges, axis=0), 0) / np.diff(edges)[:, None]  # may round below 0


def _read(path: Path, span: slice) -> np.ndarray:
    """The mean of the channels of a part of a file: float32 (T,)."""
    found, num_read = [], 0
    for block in prefetch(audio.blocks(path)):
        if num_read + len(block) > span.start:
            found.append(block[max(0, span.start - num_read) : span.stop - num_read, 0])
        num_read += len(block)
        if num_read >= span.stop:
            break
    return np.concatenate(found)
