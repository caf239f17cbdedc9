"""Table 4.2 of Ligtenberg (2022): ROC AUC of three classifiers on the same clips."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from irec_jax.errors import UserError
from irec_jax.files import seekable
from irec_jax.metrics import multilabel, significance


def compare(
    names: Mapping[str, Mapping[str, str]],
    reports: Mapping[str, Mapping],
    folder: Path,
    *,
    seed: int,
) -> tuple[dict, dict[str, np.ndarray]]:
    """Compare the classifiers of all systems on the test clips.

    For each system, the L2 weight with the highest AUC on the validation clips is selected.

    Args:
        names: system -> L2 weight -> run name.
        reports: reports of the completed runs, by run name.
        folder: folder that contains the runs.
        seed: seed for the bootstrap.

    Returns:
        A dict with the results, and arrays by name: ``labels`` (N, K), and the scores (N, K) of
        each system.

        The results contain ``classes``; ``num_clips``, ``num_songs`` and ``num_positives`` (by
        class) for the test split; and ``systems``. Each system has ``l2``, the selected weight;
        ``choices``, which maps each L2 weight to ``validation_auc``, ``validation_loss``,
        ``best_epoch``, ``num_epochs`` and ``history``, the ``valid_auc`` after each ``epoch``;
        ``auc`` and ``standard_error`` by class; ``macro``, ``macro_standard_error`` and
        ``macro_interval`` (bootstrap). All systems except base also have the D scores ``d`` (by
        class) and ``macro_d``; ``difference``, the macro AUC minus the macro AUC of base, with
        ``difference_interval``; and ``share_better``, the share of bootstrap samples in which the
        system is better than base.

    Raises:
        UserError: the systems were tested on different clips.
    """
    predictions = {system: {} for system in names}
    for system, by_l2 in names.items():
        for l2, name in by_l2.items():
            if name in reports:
                with np.load(seekable(folder / name / "predictions.npz")) as file:
                    predictions[system][l2] = dict(file)
    choices = {
        system: {
            l2: _describe_choice(arrays, reports[names[system][l2]]) for l2, arrays in by_l2.items()
        }
        for system, by_l2 in predictions.items()
    }
    selected = {
        system: max(by_l2, key=lambda l2: np.nan_to_num(by_l2[l2]["validation_auc"], nan=-1.0))
        for system, by_l2 in choices.items()
    }
    best = {system: predictions[system][l2] for system, l2 in selected.items()}
    base = best["base"]
    labels, songs = base["test_labels"], base["test_songs"]
    for system, arrays in best.items():
        if arrays["test_ids"].tolist() != base["test_ids"].tolist():
            raise UserError(
                f"{folder}: base and {system} were tested on different clips; delete their runs "
                "and repeat the study"
            )
    scores = {system: arrays["test_scores"] for system, arrays in best.items()}
    stacked = np.stack(list(scores.values())).astype(np.float64)
    bootstrap = significance.auc_bootstrap(labels, stacked, songs, seed=seed)
    systems = {}
    for index, system in enumerate(names):
        systems[system] = {
            "l2": selected[system],
            "choices": choices[system],
            **_areas(labels, stacked[index]),
            "macro": float(bootstrap.macro[index]),
            "macro_interval": bootstrap.macro_intervals[index].tolist(),
        }
        if index:
            systems[system] |= {
                **_d_scores(systems[system], systems["base"]),
                "difference": float(bootstrap.differences[index]),
                "difference_interval": bootstrap.difference_intervals[index].tolist(),
                "share_better": float(bootstrap.share_better[index]),
            }
    report = {
        "classes": base["classes"].tolist(),
        "num_clips": len(labels),
        "num_songs": len(set(songs.tolist())),
        "num_positives": labels.sum(axis=0).tolist(),
        "systems": systems,
    }
    return report, {"labels": labels, **scores}


def count_labels(report: Mapping) -> dict[str, dict]:
    """Count the labels in a classifier's training and test clips (Ligtenberg 2022, section 3.1).

    Args:
        report: report of the classifier's run.

    Returns:
        dict: ``training`` (which includes the validation clips) and ``test``, each with
        ``num_clips``, ``num_labels`` and ``per_class``, the number of clips with each class.
    """
    splits, counts = report["protocol"]["sides"], {}
    for name, parts in {"training": ("training", "validation"), "test": ("test",)}.items():
        per_class = {
            label: sum(splits[part]["per_class"][label] for part in parts)
            for label in report["classes"]
        }
        counts[name] = {
            "num_clips": sum(splits[part]["num_examples"] for part in parts),
            "num_labels": sum(per_class.values()),
            "per_class": per_class,
        }
    return counts


def _describe_choice(predictions: Mapping[str, np.ndarray], report: Mapping) -> dict:
    """Return the validation scores and epochs of a run."""
    best = report["best_epoch"]
    labels, scores = (predictions[f"validation_{name}"] for name in ("labels", "scores"))
    return {
        "validation_auc": multilabel.mean_roc_auc(labels, scores),
        "validation_loss": best["valid_loss"],
        "best_epoch": best["epoch"],
        "num_epochs": len(report["history"]),
        "history": [{key: row[key] for key in ("epoch", "valid_auc")} for row in report["history"]],
    }


def _areas(labels: np.ndarray, scores: np.ndarray) -> dict:
    """Return the AUC and standard error of each class, and the standard error of the mean AUC."""
    num_positives = labels.sum(axis=0)
    auc = multilabel.roc_auc(labels, scores)
    error = significance.auc_standard_error(auc, num_positives, len(labels) - num_positives)
    return {
        "auc": auc.tolist(),
        "standard_error": error.tolist(),
        "macro_standard_error": significance.mean_standard_error(error),
    }


def _d_scores(system: Mapping, base: Mapping) -> dict:
    """Return the D scores of a system relative to base, by class and for the macro AUC."""

    def d_score(*keys: str) -> np.ndarray:
        areas = (block[key] for block in (system, base) for key in keys)
        return np.asarray(significance.d_score(*areas))

    return {
        "d": d_score("auc", "standard_error").tolist(),
        "macro_d": float(d_score("macro", "macro_standard_error")),
    }
