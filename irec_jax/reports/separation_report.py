"""Report of a separation experiment: report.json, report.md, report.html and figures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from irec_jax.evaluation.separation import SCORES, Example
from irec_jax.reports import separation_figures
from irec_jax.reports.page import mean_over_runs
from irec_jax.reports.separation_page import MAIN_SCORE, markdown_page
from irec_jax.reports.writing import write_report


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
    """Return the complete report of a separator.

    Args:
        evaluation: result of `irec_jax.evaluation.separation.summarize`.
        system: name of the evaluated system: 'ligtenberg_unet'.
        target: stems that make up the target.
        provenance: result of `irec_jax.evaluation.provenance.collect`.
        rendered: whether the audio was rendered, which the page then states first.
        protocol: data splits: ``description``, and ``sides``, each split to a dict with
            ``num_tracks`` and ``duration_s``.
        best_epoch: the epoch of ``history`` whose parameters were evaluated.
        history: one dict per epoch with ``epoch``, ``train_loss``, ``valid_loss`` and optionally
            ``valid_amplitude_sdr``.
        reported: published scores, from `studies.published.RESULTS`. Omitted from reports on
            rendered audio.
        repeats: result of `summarize_repeats`.
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
    """Return means and standard deviations over runs that differ in their seed.

    Args:
        reports: complete reports, one per run, on the same tracks.

    Returns:
        dict: ``num_runs``, ``seeds``, and ``summary[system][score]`` with ``mean`` and ``sd`` (of a
        sample, n - 1; NaN for one run) of the runs' means over tracks, and these as ``values``.
    """
    return {
        "num_runs": len(reports),
        "seeds": [report["provenance"]["seed"] for report in reports],
        "summary": {
            system: {
                score: mean_over_runs(
                    [report["summary"][system][score]["mean"] for report in reports]
                )
                for score in SCORES
            }
            for system in reports[0]["systems"]
        },
    }


def write(report: Mapping, folder: str | os.PathLike, *, example: Example | None = None) -> Path:
    """Write the report of `assemble` to a folder; see `writing.write_report`.

    Args:
        report: result of `assemble`.
        folder: path of the folder.
        example: result of `irec_jax.evaluation.separation.example`, to be drawn.

    Returns:
        The path of report.md.
    """
    figures = _figures(report, example)
    page = markdown_page(report, {name: caption for name, (_, caption) in figures.items()})
    return write_report(
        folder, report, page, {name: figure for name, (figure, _) in figures.items()},
        html_title=f"{report['system']} on {report['dataset']}",
    )  # fmt: skip


def _figures(report: Mapping, example: Example | None) -> dict[str, tuple[Figure, str]]:
    """Return file name to figure and caption."""
    tracks = report["tracks"]
    data = f"{report['dataset']}{', rendered audio' if report['rendered'] else ''}"
    by_system = {
        system: [track["scores"][system][MAIN_SCORE] for track in tracks]
        for system in report["systems"]
    }
    figure = separation_figures.sdr_per_track(
        [track["name"] for track in tracks], by_system, title=f"Amplitude SDR by track, {data}"
    )
    figures = {"sdr_per_track.png": (figure, "Amplitude SDR by track")}
    if example:
        figure = separation_figures.spectrograms(
            example.levels_db,
            frame_s=example.frame_s,
            bin_hz=example.bin_hz,
            start_s=example.start_s,
            title=f"{example.track} ({data})",
        )
        figures["spectrograms.png"] = (figure, f"Spectrograms of {example.track}")
    if report.get("history"):
        system, best = report["system"], report.get("best_epoch")
        figure = separation_figures.learning_curves(
            {system: report["history"]}, kept={system: best["epoch"]} if best else None
        )
        figures["training.png"] = (figure, "Training curves")
    return figures
