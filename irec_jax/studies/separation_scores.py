"""Table 4.2 of Ligtenberg (2022): areas under ROC curves of three classifiers of the same clips."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from irec_jax.errors import UserError
from irec_jax.metrics import multilabel, significance


def compare(
    names: Mapping[str, Mapping[str, str]],
    reports: Mapping[str, Mapping],
    folder: Path,
    *,
    seed: int = 0,
) -> tuple[dict, dict[str, np.ndarray]]:
    """Table 4.2 of what the classifiers said of the test clips.

    Args:
        names: system -> L2 weight -> name of its run.
        reports: of the runs that are done, by name.
        folder: where the runs lie.
        seed: of the bootstrap.

    Returns:
        dict: ``classes``; ``num_clips``, ``num_songs`` and ``num_positives`` by class, of test;
        ``systems``: of each ``l2``, what it was chosen from (``choices``: L2 weight ->
        ``validation_auc``, ``best_epoch``, ``num_epochs``), ``auc``, ``standard_error`` by class
        and ``macro``, ``macro_standard_error``, ``macro_interval`` (bootstrap), and but for base
        ``d`` by class, ``macro_d``, ``difference`` of the macro area and base's,
        ``difference_interval``, ``share_better``. And the arrays: ``labels`` (N, K) and the
        scores (N, K) of each system.
    """
    held, choices = {}, {}
    for system, by_l2 in names.items():
        choices[system] = {}
        for l2, name in by_l2.items():
            if name not in reports:
                continue
            with np.load(folder / name / "predictions.npz") as file:
                found = dict(file)
            best = reports[name]["best_epoch"]
            choices[system][l2] = {
                "validation_auc": multilabel.mean_roc_auc(
                    found["validation_labels"], found["validation_scores"]
                ),
                "validation_loss": best["valid_loss"],
                "best_epoch": best["epoch"],
                "num_epochs": len(reports[name]["history"]),
            }
            held[system, l2] = found
    kept = {
        system: max(by_l2, key=lambda l2: _or_least(by_l2[l2]["validation_auc"]))
        for system, by_l2 in choices.items()
    }
    base = held["base", kept["base"]]
    labels, songs = base["test_labels"], base["test_songs"]
    for system, l2 in kept.items():
        if held[system, l2]["test_ids"].tolist() != base["test_ids"].tolist():
            raise UserError(f"{folder}: base and {system} were tested on different clips")
    scores = {system: held[system, l2]["test_scores"] for system, l2 in kept.items()}
    stacked = np.stack([scores[system] for system in names]).astype(np.float64)
    bootstrap = significance.auc_bootstrap(labels, stacked, songs, seed=seed)
    num_positives = labels.sum(axis=0)
    systems = {}
    for s, system in enumerate(names):
        auc = multilabel.roc_auc(labels, stacked[s])
        error = significance.auc_standard_error(auc, num_positives, len(labels) - num_positives)
        systems[system] = {
            "l2": kept[system],
            "choices": choices[system],
            "auc": auc.tolist(),
            "standard_error": error.tolist(),
            "macro": float(bootstrap.macro[s]),
            "macro_standard_error": significance.mean_standard_error(error),
            "macro_interval": bootstrap.macro_intervals[s].tolist(),
        }
        if not s:
            continue
        first, own = systems["base"], systems[system]
        d = significance.d_score(auc, error, first["auc"], first["standard_error"])
        own |= {
            "d": d.tolist(),
            "macro_d": float(
                significance.d_score(
                    own["macro"],
                    own["macro_standard_error"],
                    first["macro"],
                    first["macro_standard_error"],
                )
            ),
            "difference": float(bootstrap.differences[s]),
            "difference_interval": bootstrap.difference_intervals[s].tolist(),
            "share_better": float(bootstrap.share_better[s]),
        }
    report = {
        "classes": base["classes"].tolist(),
        "num_clips": len(labels),
        "num_songs": len(set(songs.tolist())),
        "num_positives": num_positives.tolist(),
        "systems": systems,
    }
    return report, {"labels": labels, **scores}


def _or_least(value: float) -> float:
    return value if np.isfinite(value) else -1.0
