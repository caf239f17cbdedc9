"""Markdown page that describes the result of crosstalk reduction."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from irec_jax.crosstalk import Crosstalk, Settings
from irec_jax.reports.debleed_tables import crosstalk_cells
from irec_jax.reports.page import provenance_table
from irec_jax.reports.tables import captioned_table, escape
from irec_jax.text import clock, difference


def markdown_page(
    names: Sequence[str],
    crosstalk: Crosstalk,
    settings: Settings,
    *,
    sample_rate_hz: int,
    duration_s: float,
    losses_db: np.ndarray,
    num_clipped: np.ndarray,
    silent: np.ndarray,
    provenance: Mapping,
    picture: str,
) -> str:
    """Return a Markdown page that describes the result of crosstalk reduction for J tracks.

    Args:
        names: J track names.
        crosstalk, settings: estimated crosstalk, and the settings used to estimate it.
        sample_rate_hz, duration_s: sample rate and duration of the tracks.
        losses_db: (J,), energy lost by each track in dB.
        num_clipped: (J,), number of samples that exceed the integer range of the output file.
        silent: (J,), whether each track is silent throughout.
        provenance: result of `provenance.environment`.
        picture: file name of the figure drawn by `debleed_figure.draw`.
    """
    names = [escape(name) for name in names]
    tracks = f"{len(names)} tracks of {clock(duration_s)} at {sample_rate_hz} Hz"
    command = f"Data: {tracks}. Command: `{provenance['command']}`"

    def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        return captioned_table(f"{caption}\n{command}", header, rows)

    changes = [
        "silent" if is_silent else difference(-loss_db, 1)
        for loss_db, is_silent in zip(losses_db, silent, strict=True)
    ]
    rows = zip(names, changes, map(str, num_clipped), strict=True)
    matrices = [
        table(
            f"Estimated crosstalk: {title}. Rows are microphones, columns are sources.",
            ["microphone", *names],
            ([name, *row] for name, row in zip(names, cells, strict=True)),
        )
        for title, cells in crosstalk_cells(crosstalk, settings, sample_rate_hz)
    ]
    described = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(settings).items())
    parts = [
        f"# Crosstalk reduction for {len(names)} tracks",
        _headline(names, losses_db, silent, tracks),
        "![Estimated crosstalk, and the tracks that lost the most energy, before and after]"
        f"({picture})",
        "## Tracks",
        table("Change in the energy of each track.", ["track", "energy, dB", "clipped samples"],
              rows),
        "## Estimated crosstalk",
        *matrices,
        "## Provenance",
        provenance_table(provenance, {"settings": described}),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _headline(names: Sequence[str], losses_db: np.ndarray, silent: np.ndarray, tracks: str) -> str:
    """Return a sentence that states how much the energy of the audible tracks changed."""
    (audible,) = np.nonzero(~silent)
    if not len(audible):
        return f"**All tracks are silent** ({tracks})."
    most, least = (int(audible[choose(losses_db[audible])]) for choose in (np.argmax, np.argmin))
    without = f"; {int(silent.sum())} silent" if silent.any() else ""
    return (
        "**Removing crosstalk changed the energy of the tracks by "
        f"{difference(-losses_db[most], 1)} to {difference(-losses_db[least], 1)} dB**, with the "
        f"largest loss in {names[most]} ({tracks}{without})."
    )
