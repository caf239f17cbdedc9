"""Report page for the crosstalk study: Seipel's tables with measured and published values."""

from collections.abc import Mapping, Sequence

import numpy as np

from irec_jax.reports.page import measured_table
from irec_jax.reports.tables import escape
from irec_jax.studies import pages
from irec_jax.studies.published import seipel as published
from irec_jax.text import number, plural

_LEVELS = tuple(str(level_db) for level_db in published.LEVELS_DB)
#: Method -> name in tables.
NAMES = {
    "aligned": "irec-jax (aligned, mask)",
    "source": "Seipel's method (momentum)",
    "source_nnls": "Seipel's method (exact)",
    "wiener": "Wiener filter as in KAMIR",
    "aligned_mmse": "irec-jax (aligned, Ephraim-Malah)",
    "source_mmse": "Seipel's method, Ephraim-Malah",
    "aligned_smooth": "irec-jax (aligned, mask, smoothed)",
    "source_smooth": "Seipel's method, smoothed",
}


def repeats_estimate(method: str, methods: Sequence[str]) -> bool:
    """Return whether a method is a variant of another listed method with the same estimate."""
    name, _, variant = method.rpartition("_")
    return variant in ("mmse", "smooth") and name in methods


def markdown_page(report: Mapping, picture: str, restarts: str) -> str:
    """Return the report of `studies.crosstalk` as a Markdown page.

    Args:
        report: the study's report.
        picture: file name of the example figure.
        restarts: file name of the figure that shows descents from random weights.
    """
    pieces, settings = report["pieces"], report["settings"]
    methods = list(settings["methods"])
    warning = (
        "> **Rendered music**, not the recordings used in the paper: the published scores are "
        "shown for orientation only and are not comparable."
    )
    introduction = [
        *([warning] if report["rendered"] else []),
        _headline(pieces, methods),
        "![Inverse mixing matrix and its estimates; dry, mixed and reduced versions of a track]"
        f"({picture})",
        f"{plural(len(pieces), 'piece')} of {settings['dataset']} with simulated crosstalk as in "
        "the paper: a random symmetric mixing matrix, crosstalk of at most -6, -12 or -18 dB, and "
        f"delays derived from distances.{_room(settings['decay_s'])}"
        + (" The tracks of each instrument are summed." if settings.get("sum_players") else ""),
        _averages(report, methods),
        "In the mixtures, the only artifacts are delays beyond the 512 taps of BSS-Eval: tracks "
        "without such delays have an infinite SAR and are excluded from the mean SAR."
        + _silent_tracks(pieces, methods),
    ]
    sections = [
        "## Musical noise (section 3.4)",
        _musical_noise(report, methods),
        "## Correlation of the inverse mixing matrix with I - L (table 3.3)",
        _correlations(report, methods),
        "## Scores by piece (table 3.5)",
        _by_piece(report, methods),
        "## SIR of the mixtures (table 3.6)",
        _mixtures(report),
        "## Descents from random weights (section 3.4)",
        f"![Cost during descents from random weights, and the final weights]({restarts})",
        _restarts(report),
    ]
    title = "Crosstalk reduction: tables 3.3 to 3.6 of Seipel (2018)"
    return pages.compose(title, report, introduction, sections)


def _headline(pieces: Mapping, methods: Sequence[str]) -> str:
    """Return the SIR gains of all methods as text, with those of the first method in bold."""

    def gains(method: str) -> str:
        values = [average(pieces, method, level, "sir_gain") for level in _LEVELS]
        return f"{NAMES[method]} {' / '.join(number(value, 1) for value in values)} dB"

    first, *others = map(gains, methods)
    comparison = f" For comparison: {'; '.join(others)}." if others else ""
    levels = " / ".join(_LEVELS)
    return f"**SIR gain: {first}** at {levels} dB of crosstalk.{comparison}"


def _room(decay_s: float) -> str:
    if not decay_s:
        return ""
    return (
        f" Unlike in the paper, the tracks are played in a room with a reverberation time of "
        f"{decay_s:g} s, where crosstalk contains equal amounts of diffuse and direct sound. The "
        "references are the sources as picked up by their own microphones."
    )


def average(pieces: Mapping, method: str, level: str, key: str) -> float:
    """Return a score averaged over the pieces; NaN if it is missing for any piece."""
    values = [piece["levels"][level][method][key] for piece in pieces.values()]
    return float("nan") if None in values else float(np.mean(values))


def _silent_tracks(pieces: Mapping, methods: Sequence[str]) -> str:
    listed = []
    for method in methods:
        levels = [piece["levels"][level] for piece in pieces.values() for level in _LEVELS]
        if count := sum(level[method]["num_silent"] for level in levels):
            listed.append(f"{count} with {NAMES[method]}")
    return f" Silent estimates, excluded from all means: {', '.join(listed)}." if listed else ""


def _cells(values: Sequence[float | None], digits: int = 2) -> list[str]:
    return [number(value, digits) for value in values]


def _table(
    report: Mapping,
    caption: str,
    groups: Sequence[str],
    rows: Sequence,
    reported: Mapping,
    digits: int = 2,
) -> str:
    """Return a table with a column per group and level; published values are in the last rows."""
    header = ["", *(f"{group} {level} dB".strip() for group in groups for level in _LEVELS)]
    published_rows = [[f"reported: {k}", *_cells(v, digits)] for k, v in reported.items()]
    caption = f"{caption} Reported: {published.CITATION}."
    return measured_table(report, caption, header, [*rows, *published_rows])


def _join(scores: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the published SDR, SIR and SAR at all levels as the values of one row."""
    return [value for key in ("sdr", "sir", "sar") for value in scores[key]]


def _averages(report: Mapping, methods: Sequence[str]) -> str:
    pieces, missing = report["pieces"], [None] * len(_LEVELS)

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
    caption = (
        "BSS-Eval scores in dB by crosstalk level, averaged over tracks and then over pieces "
        "(table 3.4). Gains are relative to the mixtures."
    )
    return _table(report, caption, ("SDR", "SIR", "SAR"), rows, reported)


def _correlations(report: Mapping, methods: Sequence[str]) -> str:
    pieces = report["pieces"]
    groups = {name: {name: piece} for name, piece in pieces.items()} | {"average": pieces}
    first, keys, rows = next(iter(pieces.values())), ("correlation", "correlation_off_diagonal"), []
    for method in methods:
        has_estimate = first["levels"][_LEVELS[0]][method]["correlation"] is not None
        if not has_estimate or repeats_estimate(method, methods):
            continue
        for name, group in groups.items():
            row = [f"{NAMES[method]}: {escape(name)}"]
            for level in _LEVELS:
                values = [average(group, method, level, key) for key in keys]
                row.append("{} ({})".format(*_cells(values, 3)))
            rows.append(row)
    caption = (
        "Correlation by crosstalk level, with values that exclude the diagonal in brackets. The "
        "paper does not state which of the two it reports."
    )
    return _table(report, caption, [""], rows, published.CORRELATION, 3)


def _by_piece(report: Mapping, methods: Sequence[str]) -> str:
    pieces, keys, rows = report["pieces"], ("sdr_gain", "sir_gain", "sar"), []
    for method in methods:
        for name, piece in pieces.items():
            values = [piece["levels"][level][method][key] for key in keys for level in _LEVELS]
            label = f"{NAMES[method]}: {escape(name)}, {piece['num_tracks']} tracks"
            rows.append([label, *_cells(values)])
    reported = {name: _join(scores) for name, scores in published.PIECES.items()}
    caption = "Gains over the mixture, and SAR, in dB for each piece and crosstalk level."
    return _table(report, caption, ("SDR gain", "SIR gain", "SAR"), rows, reported)


def _musical_noise(report: Mapping, methods: Sequence[str]) -> str:
    pieces, rows = report["pieces"], []
    for method in methods:
        keys = ("log_kurtosis_ratio", "attenuation")
        values = [average(pieces, method, level, key) for key in keys for level in _LEVELS]
        rows.append([NAMES[method], *_cells(values)])
    groups = ("log kurtosis ratio", "attenuation in dB")
    header = ["", *(f"{group}, {level} dB" for group in groups for level in _LEVELS)]
    caption = (
        "Residual crosstalk during pauses in the tracks, by crosstalk level. The log kurtosis "
        "ratio (Uemura et al. 2008) is 0 if the crosstalk has only become quieter; it is higher if "
        "the residue contains more isolated bins, which are heard as musical noise. The values are "
        "averaged over the tracks with pauses and then over pieces."
    )
    return measured_table(report, caption, header, rows)


def _restarts(report: Mapping) -> str:
    keys = ("cost_excess", "weight_difference")
    rows = [
        [escape(name), *(f"{piece['restarts'][key]:.1e}" for key in keys)]
        for name, piece in report["pieces"].items()
    ]
    caption = (
        f"Distance between the results of Seipel's solver and the exact minimum at {_LEVELS[0]} "
        "dB, for one start from zero weights and ten from random weights between 0 and 1: maximum "
        "over runs and tracks. According to the paper, such runs end in the same minimum."
    )
    header = ["", "relative excess cost", "weight difference"]
    return measured_table(report, caption, header, rows)


def _mixtures(report: Mapping) -> str:
    rows = [
        [escape(name), *_cells([piece["levels"][level]["mixture"]["sir"] for level in _LEVELS])]
        for name, piece in report["pieces"].items()
    ]
    caption = "SIR of the mixtures in dB, by crosstalk level."
    return _table(report, caption, [""], rows, published.MIXTURE_SIR)
