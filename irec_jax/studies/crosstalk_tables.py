"""The report of the crosstalk study as a page: the source's tables with its figures beside ours."""

from collections.abc import Mapping, Sequence

import numpy as np

from irec_jax.reports.page import provenance_table
from irec_jax.reports.tables import markdown_table
from irec_jax.studies.published import seipel as reported

_LEVELS = tuple(str(level_db) for level_db in reported.LEVELS_DB)
#: What the methods are called.
NAMES = {
    "aligned": "irec-jax (aligned, mask)",
    "source": "source's method (momentum)",
    "source_nnls": "source's method (exact)",
    "wiener": "Wiener filter as in KAMIR",
}


def page(report: Mapping, picture: str) -> str:
    """Markdown of a study's report, beside which lies a picture; see `studies.crosstalk`."""
    pieces = report["pieces"]
    methods = list(report["settings"]["methods"])
    parts = ["# Crosstalk reduction: tables 3.3 to 3.6 of Seipel (2018)"]
    if report["rendered"]:
        parts.append(
            "**Rendered music**, not the source's recordings: its figures stand beside ours for "
            "orientation, and cannot be compared one by one."
        )
    parts += [
        f"{len(pieces)} pieces of {report['settings']['dataset']}, crosstalk simulated as in the "
        "source: random symmetric mixing with at most -6, -12 and -18 dB, delays by distance"
        f"{_room(report['settings']['decay_s'])}. "
        f"Reported: {reported.CITATION}.",
        "## Averages over the pieces (table 3.4)",
        _averages(pieces, methods),
        "Means over tracks, then pieces; gains are over the mixtures. The only artifacts of the "
        "mixtures are delays beyond the 512 taps of BSS-Eval: tracks that have none, so that their "
        "SAR is infinite, are left out of its mean." + _silenced(pieces, methods),
        "## Correlation of the inverse mixing matrix with I - L (table 3.3)",
        _correlations(pieces, methods),
        "In brackets: without the diagonal; the source does not say which.",
        "## By piece (table 3.5)",
        _by_piece(pieces, methods),
        "## SIR of the mixtures (table 3.6)",
        _mixtures(pieces),
        "## An example",
        f"![inverse mixing matrix and its estimates; a track alone, mixed and reduced]({picture})",
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _room(decay_s: float) -> str:
    if not decay_s:
        return ""
    return (
        f"; unlike there in a room with a reverberation time of {decay_s:g} s, where crosstalk has "
        "as much diffuse sound as direct sound, and sources are scored as in their own microphones"
    )


def average(pieces: Mapping, method: str, level: str, key: str) -> float:
    """Mean over pieces of a score; NaN where a method has none."""
    values = [one["levels"][level][method][key] for one in pieces.values()]
    return float("nan") if None in values else float(np.mean(values))


def _silenced(pieces: Mapping, methods: Sequence[str]) -> str:
    found = {
        NAMES[method]: sum(
            one["levels"][level][method]["num_silent"]
            for one in pieces.values()
            for level in _LEVELS
        )
        for method in methods
    }
    told = ", ".join(f"{num} by {name}" for name, num in found.items() if num)
    return f" Tracks of which nothing was left, in no mean: {told}." if told else ""


def _levels(values: Sequence[float], digits: int = 2) -> list[str]:
    return ["–" if value is None or np.isnan(value) else f"{value:.{digits}f}" for value in values]


def _header(groups: Sequence[str]) -> list[str]:
    return [f"{group} {level} dB" for group in groups for level in _LEVELS]


def _averages(pieces: Mapping, methods: Sequence[str]) -> str:
    keys = ("sdr", "sir", "sar")
    rows = []
    for name, method in (("mixture", "mixture"), *((NAMES[m], m) for m in methods)):
        values = [average(pieces, method, level, key) for key in keys for level in _LEVELS]
        rows.append([name, *_levels(values)])
    for method in methods:
        gains = [
            average(pieces, method, level, key)
            for key in ("sdr_gain", "sir_gain")
            for level in _LEVELS
        ]
        rows.append([f"gain: {NAMES[method]}", *_levels(gains), *("–",) * len(_LEVELS)])
    known = reported.AVERAGES
    for name in ("mixture", "reduced"):
        rows.append([f"reported: {name}", *_levels([v for key in keys for v in known[name][key]])])
    gains = [
        after - before
        for key in keys[:2]
        for before, after in zip(known["mixture"][key], known["reduced"][key], strict=True)
    ]
    rows.append(["reported: gain", *_levels(gains), *("–",) * len(_LEVELS)])
    return markdown_table(["", *_header(("SDR", "SIR", "SAR"))], rows)


def _correlations(pieces: Mapping, methods: Sequence[str]) -> str:
    rows = []
    for method in methods:
        one = next(iter(pieces.values()))["levels"][_LEVELS[0]][method]
        if one["correlation"] is None:
            continue
        for name, chosen in (
            *((name, {name: piece}) for name, piece in pieces.items()),
            ("average", pieces),
        ):
            row = [f"{NAMES[method]}: {name}"]
            for level in _LEVELS:
                whole = average(chosen, method, level, "correlation")
                off = average(chosen, method, level, "correlation_off_diagonal")
                row.append("{} ({})".format(*_levels((whole, off), 3)))
            rows.append(row)
    for name, values in reported.CORRELATION.items():
        rows.append([f"reported: {name}", *_levels(values, 3)])
    return markdown_table(["", *(f"{level} dB" for level in _LEVELS)], rows)


def _by_piece(pieces: Mapping, methods: Sequence[str]) -> str:
    keys = ("sdr_gain", "sir_gain", "sar")
    rows = []
    for method in methods:
        for name, piece in pieces.items():
            values = [piece["levels"][level][method][key] for key in keys for level in _LEVELS]
            label = f"{NAMES[method]}: {name}, {piece['num_tracks']} tracks"
            rows.append([label, *_levels(values)])
    for name, scores in reported.PIECES.items():
        values = [value for key in ("sdr", "sir", "sar") for value in scores[key]]
        rows.append([f"reported: {name}", *_levels(values)])
    return markdown_table(["", *_header(("SDR gain", "SIR gain", "SAR"))], rows)


def _mixtures(pieces: Mapping) -> str:
    rows = [
        [name, *_levels([piece["levels"][level]["mixture"]["sir"] for level in _LEVELS])]
        for name, piece in pieces.items()
    ]
    rows += [
        [f"reported: {name}", *_levels(values)] for name, values in reported.MIXTURE_SIR.items()
    ]
    return markdown_table(["", *(f"{level} dB" for level in _LEVELS)], rows)
