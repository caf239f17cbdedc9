"""Estimated crosstalk as plain-text tables."""

import itertools
from collections.abc import Sequence

import numpy as np

from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.text import shorten

_MAX_NAME = 16
_NONE = "·"


def crosstalk_tables(
    names: Sequence[str], crosstalk: Crosstalk, settings: Settings, sample_rate_hz: int
) -> str:
    """Return tables of tracks by tracks: rows are microphones, columns the sources in them.

    If the tracks were aligned, the level of the direct sound in dB and its delay in ms, then the
    weights of each band. Tables of 20 tracks are less than 120 characters wide.
    """
    parts = []
    if settings.align:
        detected = (crosstalk.amplitudes != 0) & ~np.eye(len(names), dtype=bool)
        levels_db = 20 * np.log10(np.where(detected, np.abs(crosstalk.amplitudes), 1))
        delays_ms = 1e3 * crosstalk.delays_samples / sample_rate_hz
        parts.append(_table("direct sound, dB", names, levels_db, detected, ".0f"))
        parts.append(_table("delay of the direct sound, ms", names, delays_ms, detected, ".1f"))
    for title, weights in zip(weight_titles(settings), crosstalk.weights, strict=True):
        parts.append(_table(title, names, weights, weights >= 0.005, ".2f"))
    return "\n\n".join(parts)


def weight_titles(settings: Settings) -> list[str]:
    """Return the title of each band's weights."""
    title = "weights of the residual" if settings.align else "weights"
    if not (edges_hz := settings.band_edges_hz):
        return [title]
    bands = [f"{low:g} to {high:g} Hz" for low, high in itertools.pairwise(edges_hz)]
    bands = [f"below {edges_hz[0]:g} Hz", *bands, f"above {edges_hz[-1]:g} Hz"]
    return [f"{title}, {band}" for band in bands]


def _table(
    title: str, names: Sequence[str], values: np.ndarray, shown: np.ndarray, form: str
) -> str:
    numbers = [str(j + 1) for j in range(len(names))]
    cells = np.where(shown, np.vectorize(lambda value: _cell(value, form))(values), _NONE)
    np.fill_diagonal(cells, "")
    width = 1 + max(map(len, [*numbers, *cells.ravel()]))
    heads = [f"{j:>2} {shorten(name, _MAX_NAME)}" for j, name in enumerate(names, 1)]
    left = max(map(len, heads))
    lines = [title, " " * left + "".join(f"{number:>{width}}" for number in numbers)]
    for head, row in zip(heads, cells, strict=True):
        lines.append(f"{head:<{left}}" + "".join(f"{cell:>{width}}" for cell in row))
    return "\n".join(lines)


def _cell(value: float, form: str) -> str:
    if form == ".2f" and value >= 10:  # the weight in a track that is much softer
        return f"{min(value, 999):.0f}"
    text = f"{value:{form}}"
    return text[1:] if text.startswith("0.") and form == ".2f" else text
