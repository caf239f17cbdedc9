"""Experiments, which train and evaluate the system that a config describes and write a report."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import jax
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data, distributed, job_array, models
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints import workdir
from irec_jax.checkpoints.lock import run_lock
from irec_jax.errors import UserError
from irec_jax.experiment import repeats
from irec_jax.experiment.base import Experiment, Trained
from irec_jax.experiment.initial import load_initial
from irec_jax.experiment.multi_instance import MultiInstanceExperiment
from irec_jax.experiment.recognition import RecognitionExperiment
from irec_jax.experiment.separation import SeparationExperiment
from irec_jax.files import expand_home, read_json, write_json
from irec_jax.training import loop
from irec_jax.training.logging import log

__all__ = ["EXPERIMENTS", "RecognitionExperiment", "SeparationExperiment", "run"]

EXPERIMENTS: dict[str, type[Experiment]] = {
    "multi_instance": MultiInstanceExperiment,
    "recognition": RecognitionExperiment,
    "separation": SeparationExperiment,
}


def run(
    name: str,
    config: config_dict.ConfigDict,
    folder: str | os.PathLike,
    mode: str,
    *,
    part: tuple[int, int] | None = None,
    collect: bool = False,
) -> dict:
    """Train and evaluate every repeat of a config.

    Args:
        name: name of the config, such as 'han'.
        config: the resolved and locked config.
        folder: the workdir, which may be a URL; if there are several repeats, they are stored in
            its `seed_N` folders.
        mode: 'train' trains (resuming from a checkpoint if there is one) and evaluates; 'eval' only
            evaluates the trained parameters.
        part: (I, N) to run only every N-th repeat, starting with the I-th, as one job in an array.
        collect: whether to report on the repeats that have finished instead of running any.

    Returns:
        The report. If there are several repeats, this is the first repeat's report with a summary
        of all repeats under `repeats`. If only a part of the repeats is run, the dict is empty.

    Raises:
        UserError: the config, dataset or workdir is invalid, or another run uses the workdir.
    """
    folder, flat = expand_home(folder, urls=True), configs.flatten(config)
    resolved = _resolve_dtype(config, folder)
    task, _, sample_rate_hz = configs.check_config(resolved)
    distributed.on_main(
        lambda: workdir.check_workdir(folder, flat, mode, ignored=configs.NOT_COMPARED)
    )
    folders, initial = repeats.run_folders(config, folder), None
    if part or collect:
        repeats.check_repeats(config)
    if collect:
        with run_lock(folder):
            return _collect(EXPERIMENTS[config.task](name, config, task), folders, folder)
    folders = dict(job_array.select(list(folders.items()), part))
    if mode == "train" and not distributed.on_main(lambda: _all_begun(folders)):
        initial = load_initial(config, task, sample_rate_hz)
    # The jobs of an array share this folder, so each repeat is locked instead.
    with contextlib.nullcontext() if part else run_lock(folder):
        experiment = EXPERIMENTS[config.task](name, config, task, initial)
        reports = _run(experiment, folders, folder, mode, configs.flatten(resolved))
        if part:
            log(
                f"finished repeats of this task: {len(reports)}; run with --collect to report on "
                "all repeats"
            )
            return {}
        if config.training.repeats == 1:
            return reports[0]
        return _summarize(experiment, reports, folder)


def _resolve_dtype(config: config_dict.ConfigDict, folder: Path) -> config_dict.ConfigDict:
    """Return the config with an explicit `model.dtype`.

    None is replaced by the dtype recorded in the workdir or, in a new workdir, by this device's
    default dtype.
    """
    if config.model.get("dtype", "") is not None:
        return config
    recorded = distributed.on_main(lambda: workdir.recorded_dtype(folder))
    default = distributed.on_main(models.default_dtype)
    if recorded and recorded != default:
        log(
            f"the network computes in {recorded}, as when training in this workdir began (this "
            f"device's default: {default})"
        )
    resolved = config.copy_and_resolve_references()
    with resolved.unlocked(), resolved.ignore_type():
        resolved.model.dtype = recorded or default
    return resolved


def _all_begun(folders: dict[int, Path]) -> bool:
    """Return whether every repeat has a checkpoint to resume from."""
    return all(map(workdir.has_checkpoint, folders.values()))


def _collect(experiment: Experiment, folders: dict[int, Path], folder: Path) -> dict:
    """Report on the repeats that have finished and return the report."""
    settings = experiment.config.evaluation.to_dict()
    reports = distributed.on_main(lambda: list(repeats.read_reports(folders, settings).items()))
    missing = folders.keys() - {seed for seed, _ in reports}
    if missing:
        names = ", ".join(folders[seed].name for seed in sorted(missing))
        log(f"{len(reports)} of {len(folders)} repeats have finished; unfinished: {names}")
    return _summarize(experiment, [report for _, report in reports], folder)


def _summarize(experiment: Experiment, reports: list[dict], folder: Path) -> dict:
    """Write the report on several repeats and return it."""
    final = experiment.summarize_repeats(reports, folder)
    log(f"report: {folder / 'report.html'}")
    return final


def _run(
    experiment: Experiment,
    folders: dict[int, Path],
    folder: Path,
    mode: str,
    flat: dict[str, Any],
) -> list[dict]:
    """Train and evaluate repeats; return their reports. See `run`.

    Args:
        experiment: the experiment.
        folders, folder: the folder of each repeat by seed, and the workdir.
        mode: see `run`.
        flat: the config to record, from `config.flatten`.
    """
    began, config = time.perf_counter(), experiment.config
    dataset = experiment.dataset
    durations_s = {"data": time.perf_counter() - began}
    if mode == "train":
        distributed.on_main(lambda: workdir.lock_workdir(folder, flat))
    rendered = ", rendered audio" if dataset.rendered else ""
    log(
        f"{dataset.name} {dataset.version} ({dataset.config}){rendered}: "
        f"{experiment.describe_dataset()}"
    )
    reports, num_repeats = [], config.training.repeats
    for seed, run_folder in folders.items():
        if num_repeats > 1:
            log(f"repeat {seed - config.seed + 1} of {num_repeats}, seed {seed}")
        with run_lock(run_folder) if num_repeats > 1 else contextlib.nullcontext():
            reports.append(_run_once(experiment, run_folder, seed, mode, dict(durations_s)))
    return reports


def _run_once(
    experiment: Experiment, folder: Path, seed: int, mode: str, durations_s: dict[str, float]
) -> dict:
    """Train and evaluate one repeat; return its report."""
    splits = experiment.split(seed)
    note = distributed.on_main(lambda: _check_data(experiment.dataset, splits, folder, mode))
    if note:
        log(note)
    if mode == "train":
        params, model_state, progress = experiment.train(splits, folder, seed)
        durations_s["training"] = progress.seconds
    else:
        variables = jax.eval_shape(experiment.task.init, jax.random.key(0))
        params, model_state = checkpoints.load_best_variables(folder / "checkpoints", variables)
        history = checkpoints.load_history(folder / "checkpoints")
        progress = loop.Progress(loop.kept_by(experiment.config.training), history=history)
    trained = Trained(params, model_state, splits, folder, seed, progress, durations_s)
    report = experiment.report(trained)
    log(f"report: {folder / 'report.html'}")
    return report


def _check_data(
    dataset: data.Dataset | data.StemDataset, splits: data.Splits, folder: Path, mode: str
) -> str:
    """Before training, record the data; afterwards, compare the current data with this record.

    Returns:
        A line for the user if the data have changed but can still be used, otherwise "". Systems
        trained with earlier versions have no such record, so nothing is compared for them.

    Raises:
        UserError: the data have changed, and either training would resume on different data or the
            classes differ from the system's classes.
    """
    file, current = folder / "dataset.json", data.fingerprint(dataset, splits)
    if mode == "train" and not workdir.has_checkpoint(folder):
        write_json(file, current)
        return ""
    if not file.exists():
        return ""
    earlier = read_json(file)
    try:
        changes, num_leaked = data.changes(earlier, current), data.num_trained_on(earlier, splits)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: damaged; restore it from a copy, or delete it") from None
    if not changes:
        return ""
    described = f"{folder}: the data have changed since training ({'; '.join(changes)})"
    if mode == "train":
        raise UserError(
            f"{described}; restore the data, train on the new data in another --workdir, or "
            "evaluate on the new data with --mode=eval"
        )
    if earlier["classes"] != current["classes"]:
        raise UserError(f"{described}; restore the classes, or train again in another --workdir")
    leaked = f"; {num_leaked} of the test songs were trained on" if num_leaked else ""
    return f"{described}; the scores are for the current test examples{leaked}"
