"""A separator's report on disk: report.json, report.md, report.html and figures beside them.

Every file is written beside its place and moved there whole, the figures first and report.json
last: where a report.json stands, all of its report does. report.html holds its figures within.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax.evaluation.separation import SCORES, Example
from irec_jax.files import write_bytes
from irec_jax.reports import plots, separation_plots
from irec_jax.reports.html import to_html
from irec_jax.reports.page import provenance_table, rendered_banner
from irec_jax.reports.recognition_report import strict_json
from irec_jax.reports.tables import markdown_table
from irec_jax.reports.text import decibels, mean_sd

_SYSTEM_TEXT = {
    "mixture": "mixture (do nothing)",
    "ideal": "ideal ratio mask (upper bound)",
}
_MAIN = "amplitude_sdr_db"


def assemble(
    evaluation: Mapping,
    *,
    system: str,
    target: Sequence[str],
    provenance: Mapping,
    rendered: bool,
    protocol: Mapping | None = None,
    best_epoch: Mapping | None = None,
    history: Sequence[Mapping] | None = None,
    reported: Mapping | None = None,
    repeats: Mapping | None = None,
    settings: Mapping | None = None,
) -> dict:
    """The whole report of a separator.

    Args:
        evaluation: of `separation.summarize`.
        system: what was evaluated: 'ligtenberg_unet'.
        target: stems that are to stay.
        provenance: of `provenance.collect`.
        rendered: whether the audio was rendered, which the report then says first of all.
        protocol: who trained, validated and tested: ``description`` in words, and ``sides``, side
            to a dict with ``num_tracks`` and ``duration_s``.
        best_epoch: of ``history``, the one whose parameters were evaluated.
        history: one dict per epoch with ``epoch``, ``train_loss``, ``valid_loss`` and perhaps
            ``valid_amplitude_sdr``.
        reported: published results, of `studies.published.RESULTS`. Left out of a report on
            rendered audio.
        repeats: of `summarize_repeats`.
        settings: how tracks were separated, the config section `evaluation`.
    """
    optional = {
        "settings": settings,
        "protocol": protocol,
        "best_epoch": best_epoch,
        "history": history,
        "reported": None if rendered else reported,
        "repeats": repeats,
    }
    return {
        "system": system,
        "task": "separation",
        "dataset": provenance["dataset"]["name"],
        "target": list(target),
        "rendered": rendered,
        **evaluation,
        **{name: value for name, value in optional.items() if value},
        "provenance": provenance,
    }


def summarize_repeats(reports: Sequence[Mapping]) -> dict:
    """Means over runs that differ in their seed.

    Args:
        reports: whole reports, one per run, on the same tracks.

    Returns:
        dict: ``num_runs``, ``seeds``, and ``summary[system][score]`` with ``mean`` and ``sd`` (of a
        sample, n - 1; NaN for one run) of the runs' means over tracks, and these as ``values``.
    """

    def over_runs(system: str, score: str) -> dict:
        values = [float(report["summary"][system][score]["mean"]) for report in reports]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return {"mean": float(np.mean(values)), "sd": sd, "values": values}

    return {
        "num_runs": len(reports),
        "seeds": [report["provenance"]["seed"] for report in reports],
        "summary": {
            system: {score: over_runs(system, score) for score in SCORES}
            for system in reports[0]["systems"]
        },
    }


def write(report: Mapping, folder: str | os.PathLike, *, example: Example | None = None) -> Path:
    """Writes a report into a folder, which is made where it is missing.

    Args:
        report: of `assemble`.
        folder: where the files go; those of an earlier report are replaced.
        example: of `separation.example`, to be drawn.

    Returns:
        The path of report.md.

    Raises:
        UserError: the folder cannot be written (rights, full disk).
    """
    folder = Path(folder)
    pictures = _figures(report, example)
    contents = {name: plots.encode(figure, "png") for name, (figure, _) in pictures.items()}
    captions = {name: caption for name, (_, caption) in pictures.items()}
    page = markdown(report, captions)
    title = f"{report['system']} on {report['dataset']}"
    contents["report.html"] = to_html(page, title=title, pictures=dict(contents)).encode()
    contents["report.md"] = page.encode()
    contents["report.json"] = strict_json(report).encode()
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return folder / "report.md"


def markdown(report: Mapping, captions: Mapping[str, str]) -> str:
    """The page.

    Args:
        report: of `assemble`.
        captions: file name of each figure, beside the page, to its caption.
    """

    def picture(name: str) -> list[str]:
        return [f"![{captions[name]}]({name})"] if name in captions else []

    target = " + ".join(report["target"])
    parts = [
        f"# {report['system']} on {report['dataset']}: separation of {target}",
        *rendered_banner(report, "MUSDB18"),
        _headline(report),
        *_sides(report),
        "## Scores on the test tracks",
        _score_table(report),
        _explanation(report),
        *_repeats(report),
        *_tests(report),
        "## By track",
        *picture("sdr_per_track.png"),
        _track_table(report),
        *(["## What it looks like"] if "spectrograms.png" in captions else []),
        *picture("spectrograms.png"),
        *(["## Training"] if "training.png" in captions else []),
        *picture("training.png"),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _name(system: str) -> str:
    return _SYSTEM_TEXT.get(system, f"**{system}**")


def _main(report: Mapping) -> str:
    """The separator's first system."""
    return next(name for name in report["systems"] if name not in _SYSTEM_TEXT)


def _headline(report: Mapping) -> str:
    summary, main = report["summary"], _main(report)
    beside = [f"the mixture itself {mean_sd(summary['mixture'][_MAIN])}"]
    others = [name for name in report["systems"] if name not in (main, *_SYSTEM_TEXT)]
    beside += [f"{name} {mean_sd(summary[name][_MAIN])}" for name in others]
    beside.append(f"the ideal ratio mask {mean_sd(summary['ideal'][_MAIN])}")
    num, silent = report["num_tracks"], report["num_silent"]
    without = f", {silent} of them without a score, their target being silent" if silent else ""
    return (
        f"**Amplitude SDR {mean_sd(summary[main][_MAIN])} dB** ({main}; mean ± standard deviation "
        f"over {num} test track{'s' if num > 1 else ''} of {report['dataset']}{without}). "
        f"Beside it: {'; '.join(beside)}."
    )


def _sides(report: Mapping) -> list[str]:
    protocol = report.get("protocol")
    if not protocol:
        return []
    rows = [
        [side, str(one["num_tracks"]), f"{one['duration_s'] / 60:.1f}"]
        for side, one in protocol["sides"].items()
    ]
    best = report.get("best_epoch")
    text = f"Split: {protocol['description']}."
    if best:
        text += f" The parameters of epoch {best['epoch']} were kept."
    return [
        "## Who trained and who tested",
        text,
        markdown_table(["side", "tracks", "minutes"], rows),
    ]


def _score_table(report: Mapping) -> str:
    reported = report.get("reported")
    header = ["system", *(f"{text}, dB" for text in SCORES.values())]
    if reported:
        header.append(f"published amplitude SDR, on {reported['dataset']}")
    rows = []
    for system in report["systems"]:
        row = [_name(system), *(mean_sd(report["summary"][system][score]) for score in SCORES)]
        if reported:
            row.append(mean_sd(reported[_MAIN].get(system, {})))
        rows.append(row)
    return markdown_table(header, rows)


def _explanation(report: Mapping) -> str:
    lines = [
        "Mean ± standard deviation over tracks. The kinds of SDR are not comparable with one "
        "another.",
        "Amplitude SDR: amplitude spectrograms of the mean of the channels; phase does not count, "
        "so it says nothing about how an estimate sounds. BSS-Eval (version 3, 512 taps) and "
        "SI-SDR: waveforms, mean of the channels, up to a filter or a gain. MDX SDR: all channels "
        "as they are.",
        "SIR: the target's energy in an estimate against that of what has leaked of the other "
        "stems; the mixture's is where it began.",
        "The ideal ratio mask knows the stems: a bound for what scales the mixture's amplitudes, "
        "not a result.",
    ]
    if settings := report.get("settings"):
        phase = f"phase of the waveforms: {settings['phase']}"
        if settings["phase"] == "griffin-lim":
            phase += f", {settings['griffin_lim_iterations']} iterations"
        lines.append(
            f"Windows every {settings['hop_s']:g} s, averaged; {phase}; post: what lies below "
            f"{settings['post_db']:g} dB is removed."
        )
    if report["num_silent"]:
        lines.append(
            f"{report['num_silent']} tracks have a target that is silent throughout: they have no "
            "scores and are in no mean."
        )
    lacking = {
        f"{system}, {text}": block["num_infinite"]
        for system in report["systems"]
        for score, text in SCORES.items()
        if (block := report["summary"][system][score])["num_infinite"]
    }
    if lacking:
        cases = "; ".join(f"{name}: {count}" for name, count in lacking.items())
        lines.append(f"Infinite scores, left out of means and deviations: {cases}.")
    if reported := report.get("reported"):
        lines.append(
            f"Published elsewhere, not measured by this run: {reported['source']}, on "
            f"{reported['dataset']}."
        )
    return "\n".join(f"- {line}" for line in lines)


def _repeats(report: Mapping) -> list[str]:
    repeats = report.get("repeats")
    if not repeats:
        return []
    rows = [
        [_name(system), *(mean_sd(block[score]) for score in SCORES)]
        for system, block in repeats["summary"].items()
    ]
    seeds = ", ".join(map(str, repeats["seeds"]))
    return [
        f"## Mean ± standard deviation of {repeats['num_runs']} runs (seeds {seeds})",
        "Of the runs' means over tracks: how much the draw of a training decides.",
        markdown_table(["system", *(f"{text}, dB" for text in SCORES.values())], rows),
    ]


def _tests(report: Mapping) -> list[str]:
    if not report.get("tests"):
        return []
    kinds = {"independent": "independent samples, as in the source", "paired": "paired"}
    rows = []
    for score, tests in report["tests"].items():
        for kind, text in kinds.items():
            one = tests[kind]
            low, high = one["interval"]
            interval = f" [{low:+.2f}, {high:+.2f}]" if _known(low) else ""
            t = f"t({one['df']:g}) = {one['t']:.2f}" if _known(one["t"]) else "–"
            p_value = one["p_value"]
            p = "–" if not _known(p_value) else "< .001" if p_value < 1e-3 else f"{p_value:.3f}"
            rows.append(
                [SCORES[score], text, str(one["num_tracks"]), f"{one['difference']:+.2f}{interval}",
                 t, p]
            )  # fmt: skip
    text = (
        "Student's t-tests of raw against post. The same tracks stand on both sides: the paired "
        "test is the one that fits."
    )
    if reported := report.get("reported"):
        one = reported["independent"]
        text += (
            f" Published on {reported['dataset']}, independent samples: t({one['df']}) = "
            f"{one['t']:.2f}, p = {one['p_value']:.3f}."
        )
    header = ["score", "test", "tracks", "raw - post, dB [95 %]", "t", "p"]
    return [
        "## Does postprocessing change it?",
        text,
        markdown_table(header, rows, num_text_columns=2),
    ]


def _track_table(report: Mapping) -> str:
    """Amplitude SDR of every system, and all other scores of the separator's first one."""
    main = _main(report)
    others = [score for score in SCORES if score != _MAIN]
    header = ["track", "length", *(f"{name}, dB" for name in report["systems"])]
    header += [f"{SCORES[score]}, {main}" for score in others]
    rows = []
    for track in sorted(report["tracks"], key=lambda one: one["name"]):
        name = track["name"] + (" (silent target)" if track["silent"] else "")
        name += f" ({track['errata']})" if track["errata"] else ""
        scores = track["scores"]
        rows.append(
            [name, plots.clock(round(track["duration_s"], 1))]
            + [decibels(scores[system][_MAIN]) for system in report["systems"]]
            + [decibels(scores[main][score]) for score in others]
        )
    return f"Amplitude SDR, then the other scores of {main}.\n\n" + markdown_table(header, rows)


def _figures(report: Mapping, example: Example | None) -> dict[str, tuple[Figure, str]]:
    """File name to figure and caption."""
    tracks = report["tracks"]
    where = f"{report['dataset']}{', rendered audio' if report['rendered'] else ''}"
    by_system = {
        system: [track["scores"][system][_MAIN] for track in tracks] for system in report["systems"]
    }
    figure = separation_plots.sdr_per_track(
        [track["name"] for track in tracks], by_system, title=f"Amplitude SDR by track, {where}"
    )
    found = {"sdr_per_track.png": (figure, "Amplitude SDR by track")}
    if example:
        figure = separation_plots.spectrograms(
            example.levels_db,
            frame_s=example.frame_s,
            bin_hz=example.bin_hz,
            start_s=example.start_s,
            title=f"{example.track} ({where})",
        )
        found["spectrograms.png"] = (figure, f"Spectrograms of {example.track}")
    if report.get("history"):
        name, best = report["system"], report.get("best_epoch")
        figure = separation_plots.loss_curves(
            {name: report["history"]}, kept={name: best["epoch"]} if best else None
        )
        found["training.png"] = (figure, "Training curves")
    return found
