"""Separation reports: report.json, report.md, report.html and figures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from irec_jax.evaluation.separation import SCORES, Example
from irec_jax.reports import separation_figures
from irec_jax.reports.page import mean_over_runs
from irec_jax.reports.separation_page import MAIN_SCORE, markdown_page
from irec_jax.reports.writing import write_captioned_report


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
    ema_decay: float | None = None,
    debug: bool = False,
) -> dict:
    """Return the complete report on a separator.

    Args:
        evaluation: result of `irec_jax.evaluation.separation.summarize`.
        target: stems that make up the target.
        protocol: data splits, a dict with ``description`` and ``sides``, which maps each split to
            a dict with ``num_tracks`` and ``duration_s``.
        history: one dict per epoch with ``epoch``, ``train_loss``, ``valid_loss`` and optionally
            ``valid_amplitude_sdr``.
        reported: published scores, from `studies.published.RESULTS`. They are omitted from reports
            on rendered audio.
        settings: `evaluation` section of the config, which defines how tracks were separated.

    For the other arguments, see `recognition_report.assemble`.
    """
    optional = dict(settings=settings, protocol=protocol, best_epoch=best_epoch, history=history)
    optional |= dict(reported=None if rendered else reported, repeats=repeats)
    optional |= dict(ema_decay=ema_decay, debug=debug)
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
    """Return means and standard deviations over runs with different seeds.

    Args:
        reports: complete reports on the same tracks, one per run.

    Returns:
        dict: ``num_runs``, ``seeds``, and ``summary[system][score]``, which holds the mean over the
        tracks for each run as ``values``, and the ``mean`` and sample ``sd`` (n - 1; NaN for one
        run) of these values.
    """

    def over_runs(system: str, score: str) -> dict:
        return mean_over_runs([report["summary"][system][score]["mean"] for report in reports])

    return {
        "num_runs": len(reports),
        "seeds": [report["provenance"]["seed"] for report in reports],
        "summary": {
            system: {score: over_runs(system, score) for score in SCORES}
            for system in reports[0]["systems"]
        },
    }


def write(report: Mapping, folder: str | os.PathLike, *, example: Example | None = None) -> Path:
    """Write a report from `assemble` and return the path to report.md.

    See `writing.write_report`. If ``example``, a result of
    `irec_jax.evaluation.separation.example`, is given, its spectrograms are drawn.
    """
    return write_captioned_report(folder, report, markdown_page, _figures(report, example))


def _figures(report: Mapping, example: Example | None) -> dict[str, tuple[Figure, str]]:
    """Return the figures and their captions by file name."""
    tracks = report["tracks"]
    data = f"{report['dataset']}{', rendered audio' if report['rendered'] else ''}"
    names, systems = [track["name"] for track in tracks], report["systems"]
    scores = {s: [track["scores"][s][MAIN_SCORE] for track in tracks] for s in systems}
    title = f"Amplitude SDR by track, {data}"
    figure = separation_figures.sdr_per_track(names, scores, title=title)
    figures = {"sdr_per_track.png": (figure, "Amplitude SDR of the test tracks")}
    if example:
        figure = separation_figures.spectrograms(
            example.levels_db, frame_s=example.frame_s, bin_hz=example.bin_hz,
            start_s=example.start_s, title=f"{example.track} ({data})",
        )  # fmt: skip
        caption = f"Spectrograms of {example.track}: {', '.join(example.levels_db)}"
        figures["spectrograms.png"] = (figure, caption)
    if report.get("history"):
        system, best = report["system"], report.get("best_epoch")
        kept = {system: best["epoch"]} if best else None
        figure = separation_figures.learning_curves({system: report["history"]}, kept=kept)
        figures["training.png"] = (figure, "Training and validation loss by epoch")
    return figures
