"""What was found, as text."""

import itertools
from collections.abc import Sequence

import numpy as np

from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.reports.text import shorten

_MAX_NAME = 16
_NONE = "·"


def tables(
    names: Sequence[str], crosstalk: Crosstalk, settings: Settings, sample_rate_hz: int
) -> str:
    """Tables of tracks by tracks: rows are microphones, columns what sounds in them.

    Direct sound in dB and its delay in ms, if it was looked for, then the weights of each band.
    With 20 tracks they are less than 120 letters wide.
    """
    parts = []
    if settings.align:
        found = (crosstalk.amplitudes != 0) & ~np.eye(len(names), dtype=bool)
        levels_db = 20 * np.log10(np.where(found, np.abs(crosstalk.amplitudes), 1))
        delays_ms = 1e3 * crosstalk.delays_samples / sample_rate_hz
        parts.append(_table("direct sound, dB", names, levels_db, found, ".0f"))
        parts.append(_table("its delay, ms", names, delays_ms, found, ".1f"))
    for title, weights in zip(weight_titles(settings), crosstalk.weights, strict=True):
        parts.append(_table(title, names, weights, weights >= 0.005, ".2f"))
    return "\n\n".join(parts)


def weight_titles(settings: Settings) -> list[str]:
    """What the weights of each band are."""
    what = "weights of what is left" if settings.align else "weights"
    edges_hz = settings.band_edges_hz
    if not edges_hz:
        return [what]
    bands = [f"{low:g} to {high:g} Hz" for low, high in itertools.pairwise(edges_hz)]
    bands = [f"below {edges_hz[0]:g} Hz", *bands, f"above {edges_hz[-1]:g} Hz"]
    return [f"{what}, {band}" for band in bands]


def _table(
    title: str, names: Sequence[str], values: np.ndarray, shown: np.ndarray, form: str
) -> str:
    numbers = [str(j + 1) for j in range(len(names))]
    cells = np.where(shown, np.vectorize(lambda value: _cell(value, form))(values), _NONE)
    np.fill_diagonal(cells, "")
    width = 1 + max(map(len, [*numbers, *cells.ravel()]))
    heads = [
        f"{number:>2} {shorten(name, _MAX_NAME)}"
        for number, name in zip(numbers, names, strict=True)
    ]
    left = max(map(len, heads))
    lines = [title, " " * left + "".join(f"{number:>{width}}" for number in numbers)]
    for head, row in zip(heads, cells, strict=True):
        lines.append(f"{head:<{left}}" + "".join(f"{text:>{width}}" for text in row))
    return "\n".join(lines)


def _cell(value: float, form: str) -> str:
    if form == ".2f" and value >= 10:  # of a track that is much softer
        return f"{min(value, 999):.0f}"
    text = f"{value:{form}}"
    return text[1:] if text.startswith("0.") and form == ".2f" else text
