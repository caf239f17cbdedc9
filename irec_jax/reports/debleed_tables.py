"""Tables of the estimated crosstalk between tracks: rows are microphones, columns are sources."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.text import shorten

_MAX_NAME = 16
_NONE = "·"


def crosstalk_tables(
    names: Sequence[str], crosstalk: Crosstalk, settings: Settings, sample_rate_hz: int
) -> str:
    """Return the tables from `crosstalk_cells` as plain text.

    A table for 20 tracks is at most 120 characters wide.
    """
    cells = crosstalk_cells(crosstalk, settings, sample_rate_hz)
    return "\n\n".join(_plain_table(title, names, table) for title, table in cells)


def crosstalk_cells(
    crosstalk: Crosstalk, settings: Settings, sample_rate_hz: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the title and the formatted cells (J, J) of each table.

    If the tracks were aligned, the first two tables hold the level of the direct sound in dB and
    its delay in ms. The remaining tables hold the weights of each band.
    """
    if settings.align:
        detected = (crosstalk.amplitudes != 0) & ~np.eye(len(crosstalk.amplitudes), dtype=bool)
        levels_db = 20 * np.log10(np.where(detected, np.abs(crosstalk.amplitudes), 1))
        delays_ms = 1e3 * crosstalk.delays_samples / sample_rate_hz
        yield "direct sound, dB", _cells(levels_db, detected, ".0f")
        yield "delay of the direct sound, ms", _cells(delays_ms, detected, ".1f")
    for title, weights in zip(weight_titles(settings), crosstalk.weights, strict=True):
        yield title, _cells(weights, weights >= 0.005, ".2f")


def weight_titles(settings: Settings) -> list[str]:
    """Return the title of each band's weight table."""
    title = "weights of the residual" if settings.align else "weights"
    if not (edges_hz := settings.band_edges_hz):
        return [title]
    bands = [f"{low:g} to {high:g} Hz" for low, high in itertools.pairwise(edges_hz)]
    bands = [f"below {edges_hz[0]:g} Hz", *bands, f"above {edges_hz[-1]:g} Hz"]
    return [f"{title}, {band}" for band in bands]


def _plain_table(title: str, names: Sequence[str], cells: np.ndarray) -> str:
    numbers = [str(j + 1) for j in range(len(names))]
    width = 1 + max(map(len, [*numbers, *cells.ravel()]))
    heads = [f"{j:>2} {shorten(name, _MAX_NAME)}" for j, name in enumerate(names, 1)]
    left = max(map(len, heads))
    lines = [title, " " * left + "".join(f"{number:>{width}}" for number in numbers)]
    for head, row in zip(heads, cells, strict=True):
        lines.append(f"{head:<{left}}" + "".join(f"{cell:>{width}}" for cell in row))
    return "\n".join(lines)


def _cells(values: np.ndarray, shown: np.ndarray, form: str) -> np.ndarray:
    """Format the values marked in ``shown``, and leave the diagonal empty."""
    cells = np.where(shown, np.vectorize(lambda value: _cell(value, form))(values), _NONE)
    np.fill_diagonal(cells, "")
    return cells


def _cell(value: float, form: str) -> str:
    if form == ".2f" and value >= 10:  # weights are large if a track is much softer than the others
        return f"{min(value, 999):.0f}"
    text = f"{value:{form}}"
    return text[1:] if text.startswith("0.") and form == ".2f" else text
