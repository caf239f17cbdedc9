"""Recognition reports: report.json, report.md, report.html and figures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax.evaluation.recognition import KINDS
from irec_jax.reports import recognition_figures
from irec_jax.reports.page import CLIP_SCORES, mean_over_runs
from irec_jax.reports.recognition_page import markdown_page
from irec_jax.reports.writing import write_captioned_report


def assemble(
    evaluation: Mapping,
    *,
    system: str,
    provenance: Mapping,
    rendered: bool,
    protocol: Mapping | None = None,
    best_epoch: Mapping | None = None,
    baselines: Mapping[str, Mapping] | None = None,
    history: Sequence[Mapping] | None = None,
    reported: Mapping | None = None,
    repeats: Mapping | None = None,
    class_weights: Mapping | None = None,
    settings: Mapping | None = None,
    ema_decay: float | None = None,
    debug: bool = False,
) -> dict:
    """Return the complete report on a run.

    Args:
        evaluation: result of `irec_jax.evaluation.recognition.evaluate`.
        system: name of the evaluated system, such as 'han'.
        provenance: result of `provenance.collect`.
        rendered: whether the audio was rendered; if so, the page starts with a warning.
        protocol: description of the data splits, from `data.protocol`.
        best_epoch: entry of ``history`` for the epoch whose parameters were evaluated;
            ``test_accuracy`` is added to the entry.
        baselines: results of `irec_jax.evaluation.recognition.compact` by name.
        history: one dict per epoch with ``epoch``, ``train_loss`` and ``valid_loss``.
        reported: published scores, a dict with ``dataset`` (builder name), ``source`` and
            ``rows``. Each row is a dict with ``setting`` and any of ``micro_p``, ``micro_r``,
            ``micro_f1``, ``macro_p``, ``macro_r`` and ``macro_f1``. The scores are omitted from
            reports on other datasets, because they are not comparable.
        repeats: result of `summarize_repeats`.
        class_weights: class weights in the training loss, if any: their ``kind``, and the
            ``weights`` by class.
        settings: `evaluation` section of the config.
        ema_decay: decay of the moving average of the parameters, if they were averaged.
        debug: whether the run was too short to learn anything; if so, the page starts with a
            warning.

    Returns:
        dict: ``system``, ``dataset`` (name), ``rendered``, the entries of ``evaluation``,
        ``provenance``, and all optional arguments that were given.
    """
    dataset = provenance["dataset"]["name"]
    if reported and reported["dataset"] != dataset:
        reported = None
    if best_epoch:
        best_epoch = {**best_epoch, "test_accuracy": evaluation["predominant"]["accuracy"]}
    optional = dict(protocol=protocol, best_epoch=best_epoch, baselines=baselines)
    optional |= dict(history=history, reported=reported, repeats=repeats)
    optional |= dict(class_weights=class_weights, settings=settings)
    optional |= dict(ema_decay=ema_decay, debug=debug)
    return {
        "system": system,
        "dataset": dataset,
        "rendered": rendered,
        **evaluation,
        **{name: value for name, value in optional.items() if value},
        "provenance": provenance,
    }


def summarize_repeats(reports: Sequence[Mapping]) -> dict:
    """Return means and standard deviations over the reports on runs with different seeds.

    Returns:
        dict:

        - ``num_runs``, ``seeds``: number and random seeds of the runs.
        - ``thresholds``: for each kind of threshold, the ``micro`` and ``macro`` ``precision``,
          ``recall`` and ``f1``.
        - ``accuracy``, ``balanced_accuracy``: scores on single-label test clips.
        - ``train_accuracy``, ``valid_accuracy``: scores at the best epochs, if all runs have them.

        Each score has a ``mean``, a sample ``sd`` (n - 1; NaN for one run) and ``values``.
    """

    def over_runs(kind: str, average: str, name: str) -> dict:
        return mean_over_runs([report["thresholds"][kind][average][name] for report in reports])

    averages, names = ("micro", "macro"), ("precision", "recall", "f1")
    accuracies = {
        name: mean_over_runs([report["predominant"][name] for report in reports])
        for name in ("accuracy", "balanced_accuracy")
    }
    for split in ("train", "valid"):
        values = [report.get("best_epoch", {}).get(f"{split}_top1") for report in reports]
        if None not in values:
            accuracies[f"{split}_accuracy"] = mean_over_runs(values)
    return {
        "num_runs": len(reports),
        "seeds": [report["provenance"]["seed"] for report in reports],
        **accuracies,
        "thresholds": {
            kind: {a: {name: over_runs(kind, a, name) for name in names} for a in averages}
            for kind in KINDS
        },
    }


def write(report: Mapping, folder: str | os.PathLike) -> Path:
    """Write a report from `assemble` and return the path to report.md.

    See `writing.write_report`.
    """
    return write_captioned_report(folder, report, markdown_page, _figures(report))


def _figures(report: Mapping) -> dict[str, tuple[Figure, str]]:
    """Return the figures and their captions by file name."""
    classes, thresholds = report["classes"], report["thresholds"]
    score = CLIP_SCORES[report["aggregation"]][0]
    curve = report["aggregations"][report["aggregation"]]["curve"]
    values = {kind: thresholds[kind]["threshold"] for kind in ("fixed", "validation", "oracle")}
    bars = {f"{kind} ({score} ≥ {value:.2f})": thresholds[kind] for kind, value in values.items()}
    baselines = report.get("baselines", {}).items()
    if fixed := {name: baseline["thresholds"]["fixed"] for name, baseline in baselines}:
        best = max(fixed, key=lambda name: fixed[name]["micro"]["f1"])
        bars[f"{best} (fixed)"] = fixed[best]
    f1 = {name: [block["per_class"][c]["f1"] for c in classes] for name, block in bars.items()}
    curves = recognition_figures.threshold_curve(
        curve["thresholds"], curve["micro_f1"], curve["macro_f1"], marks=values, score=score
    )
    bars = recognition_figures.class_f1_bars(classes, f1)
    figures = {"class_f1.png": (bars, "F1 by class on the test split, at thresholds on " + score)}
    caption = f"Micro and macro F1 on the test split against the threshold on {score}"
    figures["thresholds.png"] = (curves, caption)
    if report["predominant"]["num_clips"]:
        counts = np.array(report["predominant"]["confusion"])
        confusion = recognition_figures.confusion_matrix(counts, classes)
        figures["confusion.png"] = (confusion, "Confusion matrix of test clips with one label")
    if report.get("history"):
        training = recognition_figures.training_curves(report["history"])
        figures["training.png"] = (training, "Training and validation loss by epoch")
    return figures
