"""Experiments: from a config to a trained system and its report in a workdir."""

import time
from pathlib import Path

import jax
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import distributed
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints import workdir
from irec_jax.experiment.base import Experiment, Trained
from irec_jax.experiment.recognition import RecognitionExperiment
from irec_jax.experiment.separation import SeparationExperiment
from irec_jax.files import expand_home
from irec_jax.training import loop
from irec_jax.training.logging import log

__all__ = ["EXPERIMENTS", "RecognitionExperiment", "SeparationExperiment", "run"]

EXPERIMENTS: dict[str, type[Experiment]] = {
    "recognition": RecognitionExperiment,
    "separation": SeparationExperiment,
}


def run(name: str, config: config_dict.ConfigDict, folder: Path, mode: str) -> dict:
    """Train and evaluate every repeat of a config.

    Args:
        name: name of the config, such as 'han'.
        config: the resolved and locked config.
        folder: the workdir; repeats are stored in its folders `seed_N`.
        mode: 'train' trains, resuming if there is a checkpoint, and evaluates; 'eval' evaluates
            the trained parameters.

    Returns:
        The report; for several repeats the first one's, with a summary of all under `repeats`.

    Raises:
        UserError: an invalid config, dataset or workdir.
    """
    task, _, _ = configs.check_config(config)
    folder, flat = expand_home(folder), configs.flatten(config)
    distributed.on_main(
        lambda: workdir.check_workdir(folder, flat, mode, ignored=configs.NOT_COMPARED)
    )
    began = time.perf_counter()
    experiment = EXPERIMENTS[config.task](name, config, task)
    durations_s = {"data": time.perf_counter() - began}
    if mode == "train":
        distributed.on_main(lambda: workdir.lock_workdir(folder, flat))
    dataset = experiment.dataset
    rendered = ", rendered audio" if dataset.rendered else ""
    log(
        f"{dataset.name} {dataset.version} ({dataset.config}){rendered}: "
        f"{experiment.describe_dataset()}"
    )
    seeds = range(config.seed, config.seed + config.training.repeats)
    reports = []
    for seed in seeds:
        if len(seeds) > 1:
            log(f"repeat {len(reports) + 1} of {len(seeds)}, seed {seed}")
        run_folder = folder / f"seed_{seed}" if len(seeds) > 1 else folder
        reports.append(_run_once(experiment, run_folder, seed, mode, dict(durations_s)))
    if len(reports) == 1:
        return reports[0]
    final = experiment.summarize_repeats(reports, folder)
    log(f"report: {folder / 'report.html'}")
    return final


def _run_once(
    experiment: Experiment, folder: Path, seed: int, mode: str, durations_s: dict[str, float]
) -> dict:
    """Train and evaluate one repeat; return its report."""
    splits = experiment.split(seed)
    if mode == "train":
        params, model_state, progress = experiment.train(splits, folder, seed)
        durations_s["training"] = progress.seconds
    else:
        variables = jax.eval_shape(experiment.task.init, jax.random.key(0))
        params, model_state = checkpoints.load_best_variables(folder / "checkpoints", variables)
        history = checkpoints.load_history(folder / "checkpoints")
        progress = loop.Progress(best_by=experiment.config.training.best_by, history=history)
    trained = Trained(params, model_state, splits, folder, seed, progress, durations_s)
    report = experiment.report(trained)
    log(f"report: {folder / 'report.html'}")
    return report
