"""Page of the crosstalk study: Seipel's tables, measured and published."""

from collections.abc import Mapping, Sequence

import numpy as np

from irec_jax.reports.tables import markdown_table
from irec_jax.studies import pages
from irec_jax.studies.published import seipel as published
from irec_jax.text import number

_LEVELS = tuple(str(level_db) for level_db in published.LEVELS_DB)
#: Method -> its name in tables.
NAMES = {
    "aligned": "irec-jax (aligned, mask)",
    "source": "Seipel's method (momentum)",
    "source_nnls": "Seipel's method (exact)",
    "wiener": "Wiener filter as in KAMIR",
}


def markdown_page(report: Mapping, picture: str) -> str:
    """Return the report of a study as Markdown; see `studies.crosstalk`.

    Args:
        report: report of the study.
        picture: file name of the example's figure.
    """
    pieces, settings = report["pieces"], report["settings"]
    methods = list(settings["methods"])
    warning = (
        "**Rendered music**, not the recordings of the paper: the published figures are shown "
        "for orientation and are not comparable."
    )
    introduction = [
        *([warning] if report["rendered"] else []),
        f"{len(pieces)} pieces of {settings['dataset']} with simulated crosstalk, as in "
        "the paper: random symmetric mixing matrix with at most -6, -12 and -18 dB, delays by "
        f"distance{_room(settings['decay_s'])}. Averages over the pieces (table 3.4), "
        f"in dB. Reported: {published.CITATION}.",
        _averages(pieces, methods),
        "Means over tracks, then over pieces; gains are relative to the mixtures. The mixtures' "
        "only artifacts are delays beyond the 512 taps of BSS-Eval: tracks without such delays "
        "have an infinite SAR and are excluded from its mean." + _silent_tracks(pieces, methods),
    ]
    sections = [
        "## Correlation of the inverse mixing matrix with I - L (table 3.3)",
        _correlations(pieces, methods),
        "In brackets: without the diagonal. The paper does not state which of the two it reports.",
        "## Scores by piece in dB (table 3.5)",
        _by_piece(pieces, methods),
        "## SIR of the mixtures in dB (table 3.6)",
        _mixtures(pieces),
        "## Example",
        f"![inverse mixing matrix and its estimates; a track dry, mixed and reduced]({picture})",
    ]
    title = "Crosstalk reduction: tables 3.3 to 3.6 of Seipel (2018)"
    return pages.compose(title, report, introduction, sections)


def _room(decay_s: float) -> str:
    if not decay_s:
        return ""
    return (
        f"; unlike the paper, in a room with a reverberation time of {decay_s:g} s, where "
        "crosstalk has as much diffuse as direct sound, and the references are the sources as "
        "picked up by their own microphones"
    )


def average(pieces: Mapping, method: str, level: str, key: str) -> float:
    """Return the mean of a score over pieces; NaN if the method has no such score."""
    values = [piece["levels"][level][method][key] for piece in pieces.values()]
    return float("nan") if None in values else float(np.mean(values))


def _silent_tracks(pieces: Mapping, methods: Sequence[str]) -> str:
    listed = []
    for method in methods:
        levels = [piece["levels"][level] for piece in pieces.values() for level in _LEVELS]
        if count := sum(level[method]["num_silent"] for level in levels):
            listed.append(f"{count} with {NAMES[method]}")
    return f" Silent results, excluded from all means: {', '.join(listed)}." if listed else ""


def _cells(values: Sequence[float | None], digits: int = 2) -> list[str]:
    return [number(value, digits) for value in values]


def _table(groups: Sequence[str], rows: Sequence, reported: Mapping, digits: int = 2) -> str:
    """Return a table with a column per group and level, and rows of published values by name."""
    header = ["", *(f"{group} {level} dB".strip() for group in groups for level in _LEVELS)]
    published_rows = [[f"reported: {k}", *_cells(v, digits)] for k, v in reported.items()]
    return markdown_table(header, [*rows, *published_rows])


def _join(scores: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the published SDR, SIR and SAR as the columns of a row."""
    return [value for key in ("sdr", "sir", "sar") for value in scores[key]]


def _averages(pieces: Mapping, methods: Sequence[str]) -> str:
    missing = [None] * len(_LEVELS)

    def averages(method: str, keys: Sequence[str]) -> list[str]:
        return _cells([average(pieces, method, level, key) for key in keys for level in _LEVELS])

    rows = [
        [NAMES.get(method, method), *averages(method, ("sdr", "sir", "sar"))]
        for method in ("mixture", *methods)
    ]
    for method in methods:
        gains = averages(method, ("sdr_gain", "sir_gain"))
        rows.append([f"gain: {NAMES[method]}", *gains, *_cells(missing)])
    averaged = {name: _join(scores) for name, scores in published.AVERAGES.items()}
    pairs = zip(averaged["mixture"], averaged["reduced"], strict=True)
    gains = [after - before for before, after in pairs]
    reported = averaged | {"gain": [*gains[: -len(_LEVELS)], *missing]}
    return _table(("SDR", "SIR", "SAR"), rows, reported)


def _correlations(pieces: Mapping, methods: Sequence[str]) -> str:
    groups = {name: {name: piece} for name, piece in pieces.items()} | {"average": pieces}
    first, keys, rows = next(iter(pieces.values())), ("correlation", "correlation_off_diagonal"), []
    for method in methods:
        if first["levels"][_LEVELS[0]][method]["correlation"] is None:
            continue
        for name, group in groups.items():
            row = [f"{NAMES[method]}: {name}"]
            for level in _LEVELS:
                values = [average(group, method, level, key) for key in keys]
                row.append("{} ({})".format(*_cells(values, 3)))
            rows.append(row)
    return _table([""], rows, published.CORRELATION, 3)


def _by_piece(pieces: Mapping, methods: Sequence[str]) -> str:
    keys, rows = ("sdr_gain", "sir_gain", "sar"), []
    for method in methods:
        for name, piece in pieces.items():
            values = [piece["levels"][level][method][key] for key in keys for level in _LEVELS]
            label = f"{NAMES[method]}: {name}, {piece['num_tracks']} tracks"
            rows.append([label, *_cells(values)])
    reported = {name: _join(scores) for name, scores in published.PIECES.items()}
    return _table(("SDR gain", "SIR gain", "SAR"), rows, reported)


def _mixtures(pieces: Mapping) -> str:
    rows = [
        [name, *_cells([piece["levels"][level]["mixture"]["sir"] for level in _LEVELS])]
        for name, piece in pieces.items()
    ]
    return _table([""], rows, published.MIXTURE_SIR)
