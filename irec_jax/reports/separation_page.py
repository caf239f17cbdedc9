"""Markdown page for a separation report."""

from collections.abc import Mapping, Sequence

from irec_jax.evaluation.separation import SCORES
from irec_jax.reports.page import (
    averaging_note,
    debug_banner,
    measured_table,
    picture,
    provenance_table,
    rendered_banner,
    repeats_heading,
)
from irec_jax.reports.tables import escape
from irec_jax.text import clock, decibels, difference, is_finite, mean_sd, plural

#: Score used in the headline and to compare systems.
MAIN_SCORE = "amplitude_sdr_db"
_BOUNDS = {"mixture": "mixture (unprocessed)", "ideal": "ideal ratio mask (upper bound)"}
_TESTS = {"independent": "independent samples, as in Ligtenberg (2022)", "paired": "paired samples"}

#: Descriptions of the postprocessing options for reference and fill (`frontends.gate`).
POST_REFERENCES = {
    "absolute": "0 dB of the spectrogram",
    "track": "the maximum of the track",
    "segment": "the maximum of each segment",
}
POST_FILLS = {"floor": "silent", "zero": "0 dB"}
#: Description of `raw`; the description of `post` depends on the settings.
_RAW = "the output of the network"
#: Differences smaller than this count as zero on the page.
_PRINTED_DB = 0.005


def markdown_page(report: Mapping, captions: Mapping[str, str]) -> str:
    """Return the Markdown page for a report from `separation_report.assemble`.

    The figures are stored beside the page; ``captions`` maps their file names to captions.
    """
    target = " + ".join(report["target"])
    headline = "spectrograms.png" if "spectrograms.png" in captions else "sdr_per_track.png"
    others = {name: caption for name, caption in captions.items() if name != headline}
    parts = [
        f"# {report['system']} on {report['dataset']}: separation of {target}",
        *rendered_banner(report, "MUSDB18"),
        *debug_banner(report),
        _headline(report),
        *picture(captions, headline),
        "## Scores on the test tracks",
        _score_table(report),
        _explanation(report),
        *_repeats(report),
        *_significance(report),
        "## Scores by track",
        *picture(others, "sdr_per_track.png"),
        _track_table(report),
        *_data_splits(report),
        *picture(others, "training.png", heading="## Training"),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _main_system(report: Mapping) -> str:
    """Return the name of the separator's first output."""
    return next(name for name in report["systems"] if name not in _BOUNDS)


def _headline(report: Mapping) -> str:
    main, num, num_silent = _main_system(report), report["num_tracks"], report["num_silent"]
    scores = {
        system: f"{mean_sd(block[MAIN_SCORE])} dB" for system, block in report["summary"].items()
    }
    others = [name for name in report["systems"] if name not in (main, *_BOUNDS)]
    comparison = [
        f"the mixture itself {scores['mixture']}",
        *(f"{name} {scores[name]}" for name in others),
        f"the ideal ratio mask {scores['ideal']}",
    ]
    name = f"{main}: {_RAW}" if main == "raw" else main
    tracks = f"{'mean ± standard deviation over ' * (num > 1)}{plural(num, 'test track')}"
    silent = f", {num_silent} of them without a score because the target is silent"
    return (
        f"**Amplitude SDR {scores[main]}** ({name}; {tracks} of "
        f"{report['dataset']}{silent if num_silent else ''}). "
        f"For comparison: {'; '.join(comparison)}."
    )


def _data_splits(report: Mapping) -> list[str]:
    if not (protocol := report.get("protocol")):
        return []
    rows = [
        [split, str(sizes["num_tracks"]), f"{sizes['duration_s'] / 60:.1f}"]
        for split, sizes in protocol["sides"].items()
    ]
    text = f"Split: {protocol['description']}."
    if best := report.get("best_epoch"):
        text += f" The parameters of epoch {best['epoch']} were kept."
    text += averaging_note(report)
    header = ["split", "tracks", "duration, min"]
    return ["## Data splits", measured_table(report, text, header, rows)]


def _score_table(report: Mapping) -> str:
    """Return a table of all scores, with a column for published scores if there are any."""
    summary = report["summary"]
    columns = _score_columns(summary)
    caption = "Scores in dB on the test tracks: mean ± standard deviation over tracks."
    if report["num_tracks"] == 1:
        caption = "Scores in dB on the test track."
    if reported := report.get("reported"):
        published = [mean_sd(reported[MAIN_SCORE].get(system, {})) for system in summary]
        columns[f"published amplitude SDR, dB, on {reported['dataset']}"] = published
    return _columns_table(report, caption, columns)


def _score_columns(summary: Mapping) -> dict[str, list[str]]:
    """Return the columns of the score table by title."""
    columns = {"system": [_BOUNDS.get(system, f"**{system}**") for system in summary]}
    for score, text in SCORES.items():
        columns[f"{text}, dB"] = [mean_sd(block[score]) for block in summary.values()]
    return columns


def _columns_table(report: Mapping, caption: str, columns: Mapping[str, Sequence[str]]) -> str:
    rows = zip(*columns.values(), strict=True)
    return measured_table(report, caption, list(columns), rows)


def _explanation(report: Mapping) -> str:
    lines = [
        *_definitions(report),
        "The SDR variants are not comparable with one another.",
        "Amplitude SDR compares amplitude spectrograms of the mono mixdown. It ignores the phase "
        "and therefore says nothing about how an estimate sounds. BSS-Eval (version 3, 512 taps) "
        "compares mono waveforms up to a filter, and SI-SDR compares them up to a gain. MDX SDR "
        "compares all channels sample by sample.",
        "SIR is the energy of the target in an estimate relative to the energy that leaked from "
        "the other stems; compare it with the SIR of the mixture.",
        "The ideal ratio mask is computed from the true stems. It is not a result but an upper "
        "bound for methods that scale the amplitudes of the mixture.",
    ]
    if settings := report.get("settings"):
        phase = f"phase of the waveforms: {settings['phase']}"
        if settings["phase"] == "griffin-lim":
            phase += f", {settings['griffin_lim_iterations']} iterations"
        windows = f"Windows every {settings['hop_s']:g} s, averaged where they overlap"
        if settings.get("windows") == "side_by_side":
            windows = "Non-overlapping windows, concatenated"
        lines.append(f"{windows}; {phase}.")
    if report["num_silent"]:
        lines.append(
            f"{plural(report['num_silent'], 'track has', 'tracks have')} a target that is silent "
            "throughout, and therefore no scores. The means exclude such tracks."
        )
    infinite = [
        f"{system}, {text}: {count}"
        for system in report["systems"]
        for score, text in SCORES.items()
        if (count := report["summary"][system][score]["num_infinite"])
    ]
    if infinite:
        counts = "; ".join(infinite)
        lines.append(f"Infinite scores, excluded from means and standard deviations: {counts}.")
    if reported := report.get("reported"):
        lines.append(
            f"Published scores, not measured by this run: {reported['source']}, on "
            f"{reported['dataset']}."
        )
    return "\n".join(f"- {line}" for line in lines)


def _definitions(report: Mapping) -> list[str]:
    """Return a sentence that defines `raw` and `post`; empty if the report has neither."""
    post = f": {describe_post(report['settings'])}" if "settings" in report else ""
    texts = {"raw": _RAW, "post": f"`raw` after postprocessing{post}"}
    defined = [f"`{name}`: {text}" for name, text in texts.items() if name in report["systems"]]
    return [f"{'; '.join(defined)}."] if defined else []


def _repeats(report: Mapping) -> list[str]:
    if not (repeats := report.get("repeats")):
        return []
    caption = (
        "Mean scores over tracks in dB: mean ± standard deviation over the runs, which differ only "
        "in their random seeds."
    )
    table = _columns_table(report, caption, _score_columns(repeats["summary"]))
    return [repeats_heading(repeats), table]


def _significance(report: Mapping) -> list[str]:
    if not report.get("tests"):
        return []
    tested = [test for tests in report["tests"].values() for test in tests.values()]
    if not any(is_finite(test["difference"]) and test["num_tracks"] > 1 for test in tested):
        return []
    if all(_is_printed_as_zero(test) for test in tested):
        return [
            "## Effect of postprocessing",
            f"None: on average, `raw` and `post` differ by less than {_PRINTED_DB:g} dB in every "
            "score.",
        ]
    rows = [
        [SCORES[score], text, *_test_cells(tests[kind])]
        for score, tests in report["tests"].items()
        for kind, text in _TESTS.items()
    ]
    text = (
        "Student's t-tests of `raw` against `post`. Both are measured on the same tracks, so the "
        "paired test is appropriate."
    )
    if reported := report.get("reported"):
        test = reported["independent"]
        text += (
            f" Published for {reported['dataset']}, with independent samples: t({test['df']}) = "
            f"{test['t']:.2f}, p = {test['p_value']:.3f}."
        )
    header = ["score", "test", "tracks", "raw - post, dB [95 %]", "t", "p"]
    return ["## Effect of postprocessing", measured_table(report, text, header, rows, 2)]


def describe_post(settings: Mapping) -> str:
    """Describe the postprocessing in a config's `evaluation` section or in `system.json`."""
    reference = POST_REFERENCES[settings.get("post_reference", "absolute")]
    fill = POST_FILLS[settings.get("post_fill", "floor")]
    return f"values below {settings['post_db']:g} dB, relative to {reference}, become {fill}"


def paired_difference(test: Mapping) -> str:
    """Format a test's mean difference in dB, with its interval."""
    low, high = test["interval"]
    ends = f" [{low:+.2f}, {high:+.2f}]" if is_finite(low) else ""
    return difference(test["difference"], 2) + ends


def _is_printed_as_zero(test: Mapping) -> bool:
    return is_finite(test["difference"]) and abs(test["difference"]) < _PRINTED_DB


def _test_cells(test: Mapping) -> list[str]:
    """Return the number of tracks, the difference with its interval, t and p.

    If the difference counts as zero, t and p are omitted, because rounding errors in a few bins can
    be systematic, and hence statistically significant, without being relevant.
    """
    if _is_printed_as_zero(test):
        return [str(test["num_tracks"]), f"below {_PRINTED_DB:g}", "–", "–"]
    t, p = f"t({test['df']:g}) = {test['t']:.2f}" if is_finite(test["t"]) else "–", test["p_value"]
    p = "–" if not is_finite(p) else "< .001" if p < 1e-3 else f"{p:.3f}"
    return [str(test["num_tracks"]), paired_difference(test), t, p]


def _track_table(report: Mapping) -> str:
    """Return a table with the amplitude SDR of all systems and all scores of the main system."""
    main = _main_system(report)
    others = [score for score in SCORES if score != MAIN_SCORE]
    header = ["track", "length, m:ss", *(f"{system}, dB" for system in report["systems"])]
    header += [f"{SCORES[score]} of {main}, dB" for score in others]
    rows = []
    for track in sorted(report["tracks"], key=lambda track: track["name"]):
        name = escape(track["name"]) + (" (silent target)" if track["silent"] else "")
        name += f" ({track['errata']})" if track["errata"] else ""
        scores = [track["scores"][system][MAIN_SCORE] for system in report["systems"]]
        scores += [track["scores"][main][score] for score in others]
        rows.append([name, clock(round(track["duration_s"], 1)), *map(decibels, scores)])
    caption = f"Amplitude SDR of each system by track, and the other scores of {main}."
    return measured_table(report, caption, header, rows)
