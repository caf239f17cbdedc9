"""Figure that shows the estimated crosstalk, and tracks before and after its reduction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax import audio
from irec_jax.audio.tracks import Track, prefetch
from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.reports import crosstalk_figures
from irec_jax.reports.debleed_tables import weight_titles
from irec_jax.reports.spectrogram_overview import band_edges_hz, band_powers
from irec_jax.text import shorten

#: Maximum length of the excerpt that is drawn, in seconds.
EXCERPT_S = 30
#: Maximum number of tracks to draw; the tracks that lost the most energy are selected.
MAX_DRAWN = 6
_MAX_NAME = 18


def draw(
    tracks: Sequence[Track],
    paths: Sequence[Path],
    crosstalk: Crosstalk,
    settings: Settings,
    losses_db: np.ndarray,
    energies: np.ndarray,
) -> Figure:
    """Draw heat maps of the crosstalk, and spectrograms of the tracks that lost the most energy.

    Args:
        tracks, paths: J input tracks, and the paths of the J output files.
        crosstalk, settings: estimated crosstalk, and the settings used to estimate it.
        losses_db: (J,), energy lost by each track in dB.
        energies: (2, J, seconds), energy per second before and after the reduction.
    """
    rate_hz, start_s = tracks[0].sample_rate_hz, excerpt_start_s(energies)
    span = slice(start_s * rate_hz, min((start_s + EXCERPT_S) * rate_hz, tracks[0].num_samples))
    audible = np.flatnonzero(energies[0, :, start_s : start_s + EXCERPT_S].sum(1))
    drawn = sorted(audible[np.argsort(-losses_db[audible], kind="stable")][:MAX_DRAWN])
    files = [(tracks[j].path, paths[j]) for j in drawn]
    return crosstalk_figures.overview(
        [shorten(track.name, _MAX_NAME) for track in tracks],
        crosstalk.amplitudes if settings.align else None,
        crosstalk.delays_samples / rate_hz,
        crosstalk.weights,
        weight_titles=weight_titles(settings),
        drawn=drawn,
        losses_db=losses_db,
        before_after=[[band_powers(_read(path, span), rate_hz) for path in pair] for pair in files],
        edges_hz=band_edges_hz(rate_hz),
        start_s=start_s,
        duration_s=(span.stop - span.start) / rate_hz,
    )


def excerpt_start_s(energies: np.ndarray) -> int:
    """Return the start, in seconds, of the excerpt in which the tracks lost the most energy.

    The excerpt lasts `EXCERPT_S`. Losses are relative to the total energy of each track.
    ``energies`` (2, J, seconds) is described in `draw`.
    """
    before, after = energies
    total = before.sum(1, keepdims=True)
    lost = np.divide(before - after, total, out=np.zeros_like(before), where=total > 0).sum(0)
    if len(lost) <= EXCERPT_S:
        return 0
    sums = np.concatenate([[0], np.cumsum(lost)])
    return int(np.argmax(sums[EXCERPT_S:] - sums[:-EXCERPT_S]))


def _read(path: Path, span: slice) -> np.ndarray:
    """Return a range of samples from a file, averaged over channels: float32 (T,)."""
    parts, num_read = [], 0
    for block in prefetch(audio.blocks(path)):
        if num_read + len(block) > span.start:
            parts.append(block[max(0, span.start - num_read) : span.stop - num_read, 0])
        num_read += len(block)
        if num_read >= span.stop:
            break
    return np.concatenate(parts)
