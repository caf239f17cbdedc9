"""A recognition report on disk: `report.json`, `report.md` and plots beside them.

Every file is written beside its place and moved there whole, the plots first and report.json last:
where a report.json stands, all of its report does.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax.evaluation.recognition import KINDS
from irec_jax.files import write_bytes
from irec_jax.reports import plots
from irec_jax.reports import recognition_page as page


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
) -> dict:
    """The whole report of a run.

    Args:
        evaluation: of `recognition.evaluate`.
        system: what was evaluated: 'han'.
        provenance: of `provenance.collect`.
        rendered: whether the audio was rendered, which the report then says first of all.
        protocol: who trained, validated and tested, of `data.protocol`.
        best_epoch: of ``history``, the one whose parameters were evaluated; the report adds the
            ``test_accuracy`` to it.
        baselines: name to a report of `recognition.compact`.
        history: one dict per epoch with ``epoch``, ``train_loss`` and ``valid_loss``.
        reported: what was published about ``dataset``: ``dataset`` (builder's name), ``source``
            and ``rows``, each a dict of ``setting`` and any of ``micro_p``, ``micro_r``,
            ``micro_f1``, ``macro_p``, ``macro_r``, ``macro_f1``. Left out of the report of any
            other dataset, with whose figures it cannot be compared.
        repeats: of `summarize_repeats`.

    Returns:
        dict with ``system``, ``dataset`` (name), ``rendered``, all of ``evaluation``,
        ``provenance``, and those of the others that were given.
    """
    dataset = provenance["dataset"]["name"]
    if reported is not None and reported["dataset"] != dataset:
        reported = None
    if best_epoch:
        best_epoch = {**best_epoch, "test_accuracy": evaluation["predominant"]["accuracy"]}
    optional = {
        "protocol": protocol,
        "best_epoch": best_epoch,
        "baselines": baselines,
        "history": history,
        "reported": reported,
        "repeats": repeats,
    }
    return {
        "system": system,
        "dataset": dataset,
        "rendered": rendered,
        **evaluation,
        **{name: value for name, value in optional.items() if value},
        "provenance": provenance,
    }


def summarize_repeats(reports: Sequence[Mapping]) -> dict:
    """Mean and standard deviation over runs that differ in their seed.

    Args:
        reports: whole reports, one per run.

    Returns:
        dict: ``num_runs``, ``seeds``, and ``thresholds`` by kind: for ``micro`` and ``macro`` the
        ``precision``, ``recall`` and ``f1``; ``accuracy`` and ``balanced_accuracy`` of the
        single-label test clips, and ``train_accuracy`` and ``valid_accuracy`` of the epochs kept,
        where they are known. Each with ``mean``, ``sd`` (of a sample, n - 1; NaN for one run) and
        ``values``.
    """

    def spread(values: Sequence[float]) -> dict:
        values = [float(value) for value in values]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return {"mean": float(np.mean(values)), "sd": sd, "values": values}

    def summary(kind: str, average: str, name: str) -> dict:
        return spread([report["thresholds"][kind][average][name] for report in reports])

    accuracies = {
        name: spread([report["predominant"][name] for report in reports])
        for name in ("accuracy", "balanced_accuracy")
    }
    for side in ("train", "valid"):
        found = [report.get("best_epoch", {}).get(f"{side}_top1") for report in reports]
        if None not in found:
            accuracies[f"{side}_accuracy"] = spread(found)
    return {
        "num_runs": len(reports),
        "seeds": [report["provenance"]["seed"] for report in reports],
        **accuracies,
        "thresholds": {
            kind: {
                average: {
                    name: summary(kind, average, name) for name in ("precision", "recall", "f1")
                }
                for average in ("micro", "macro")
            }
            for kind in KINDS
        },
    }


def write(report: Mapping, folder: str | os.PathLike) -> Path:
    """Writes a report into a folder, which is made where it is missing.

    Args:
        report: of `assemble`.
        folder: where report.json, report.md and the plots go; those of an earlier report are
            replaced.

    Returns:
        The path of report.md.

    Raises:
        UserError: the folder cannot be written (rights, full disk).
    """
    folder = Path(folder)
    pictures = _plots(report)
    contents = {name: plots.encode(figure, "png") for name, (figure, _) in pictures.items()}
    captions = {name: caption for name, (_, caption) in pictures.items()}
    contents["report.md"] = page.markdown(report, captions).encode()
    contents["report.json"] = strict_json(report).encode()
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return folder / "report.md"


def strict_json(report: Mapping) -> str:
    """JSON that every parser reads: NaN and infinite numbers become null, arrays lists."""
    return json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value):
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _plots(report: Mapping) -> dict[str, tuple[Figure, str]]:
    """File name to figure and caption."""
    classes, blocks = report["classes"], report["thresholds"]
    score = report["aggregation"].upper()
    curve = report["aggregations"][report["aggregation"]]["curve"]
    shown = {kind: blocks[kind] for kind in ("fixed", "validation", "oracle")}
    bars = {f"{kind} ({score} ≥ {block['threshold']:.2f})": block for kind, block in shown.items()}
    baselines = {
        f"{name} (fixed)": one["thresholds"]["fixed"]
        for name, one in report.get("baselines", {}).items()
    }
    if baselines:
        best = max(baselines, key=lambda name: baselines[name]["micro"]["f1"])
        bars[best] = baselines[best]
    f1 = {name: [block["per_class"][c]["f1"] for c in classes] for name, block in bars.items()}
    found = {
        "class_f1.png": (plots.class_f1_bars(classes, f1), "F1 by class"),
        "thresholds.png": (
            plots.threshold_curve(
                curve["thresholds"],
                curve["micro_f1"],
                curve["macro_f1"],
                marks={kind: block["threshold"] for kind, block in shown.items()},
                name=score,
            ),
            "F1 against the threshold",
        ),
    }
    if report["predominant"]["num_clips"]:
        figure = plots.confusion(np.array(report["predominant"]["confusion"]), classes)
        found["confusion.png"] = (figure, "Confusion of predominant instruments")
    if report.get("history"):
        found["training.png"] = (plots.training_curves(report["history"]), "Training curves")
    return found
