"""Experiments of all tasks: repeats, training, checkpoints, the workdir."""

import abc
import contextlib
import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import jax
import numpy as np
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data, distributed
from irec_jax.checkpoints import state, workdir
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.config.checks import name_sections
from irec_jax.evaluation import provenance
from irec_jax.studies import published
from irec_jax.tasks import Task
from irec_jax.training import loop, mean_loss, optimizers, parallel, step
from irec_jax.training.logging import Logger, duration, log, parameter_table


class Experiment(abc.ABC):
    """A config with its dataset, its task, and one compiled step that all repeats share.

    Subclasses add the parts that depend on the task: the abstract methods, and `reports`, the
    module that assembles and writes reports.

    Args:
        name: of the config, such as 'han'.
        config: resolved and locked.
        task: of the config.
    """

    reports: ClassVar[ModuleType]

    def __init__(self, name: str, config: config_dict.ConfigDict, task: Task):
        self.name, self.config, self.task = name, config, task
        self.dataset = self.load()

    @abc.abstractmethod
    def load(self) -> Any:
        """Return the dataset; UserError for one that this task cannot use."""

    @abc.abstractmethod
    def describe_dataset(self) -> str:
        """Return the numbers of examples in the dataset, and its split, in a few words."""

    @abc.abstractmethod
    def describe_splits(self, splits: data.Splits) -> str:
        """Return the numbers of songs or tracks that train and validate, in a few words."""

    @abc.abstractmethod
    def split(self, seed: int) -> data.Splits:
        """Divide the dataset into training, validation and test splits."""

    @abc.abstractmethod
    def batches(self, examples: Any, *, seed: int = 0, shuffle: bool) -> Any:
        """Return this process's batches of a split: see `loop.TrainBatches`."""

    @abc.abstractmethod
    def report(
        self,
        params: Any,
        model_state: Any,
        splits: data.Splits,
        folder: Path,
        progress: loop.Progress,
        details: dict,
    ) -> dict:
        """Evaluate, write the report to a folder, log its summary, and return it.

        Args:
            params, model_state: on the host, not replicated.
            splits: of `split`.
            folder: of this repeat.
            progress: of the training.
            details: arguments of `provenance.collect` other than `split`; the time of the
                evaluation is added to its ``durations_s``.
        """

    @abc.abstractmethod
    def system(self) -> dict[str, Any]:
        """Return the entries of `system.json` that depend on the task."""

    @abc.abstractmethod
    def describe_repeats(self, report: Mapping) -> list[str]:
        """Return lines with the main scores of a report of several repeats."""

    @property
    def num_steps(self) -> int:
        """Largest number of training steps.

        It is that of the first seed's split, so that every seed gets the same schedule.
        """
        seed = self.config.seed
        batches = self.batches(self.split(seed).training, seed=seed, shuffle=True)
        return batches.steps_per_epoch * self.config.training.num_epochs

    @functools.cached_property
    def optimizer(self) -> tuple[Any, Any]:
        """Optimiser and schedule."""
        with name_sections("optimizer"):
            return optimizers.create_optimizer(self.config.optimizer.to_dict(), self.num_steps)

    @functools.cached_property
    def train_step(self) -> Any:
        """The training step, mapped over all devices."""
        device_step = functools.partial(
            step.train_step,
            loss=self.task.loss,
            optimizer=self.optimizer[0],
            l2=self.config.loss.l2,
        )
        return parallel.map_step(device_step, donate_state=True)

    def batch_settings(self, *, seed: int, shuffle: bool) -> dict[str, Any]:
        """Return the arguments that batches of all tasks take."""
        training = self.config.training
        return dict(
            window_samples=self.task.window_samples,
            batch_size=training.batch_size,
            seed=seed,
            shuffle=shuffle,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            min_steps_per_epoch=(shuffle and training.min_steps_per_epoch) or 0,
            max_steps_per_epoch=(shuffle and training.max_steps_per_epoch) or 0,
        )

    def report_arguments(
        self, split: str, protocol: Mapping, progress: loop.Progress, details: Mapping
    ) -> dict[str, Any]:
        """Return the arguments of `reports.assemble` that all tasks share.

        Args:
            split: description of the split.
            protocol: the data splits, for the report.
            progress, details: of `report`.
        """
        return dict(
            system=self.name,
            rendered=self.dataset.rendered,
            provenance=provenance.collect(split=split, **details),
            protocol=protocol,
            best_epoch=progress.best,
            history=progress.history,
            reported=published.RESULTS.get(self.name),
        )

    def summarize_repeats(self, reports: list[dict], folder: Path) -> dict:
        """Write and return the first repeat's report with a summary of all repeats."""
        final = reports[0] | {"repeats": self.reports.summarize_repeats(reports)}
        distributed.on_main(lambda: str(self.reports.write(final, folder)))
        for line in self.describe_repeats(final):
            log(line)
        return final

    def write_system(self, folder: Path, evaluated: Mapping[str, Any] | None = None) -> None:
        """Write `system.json`, which makes a checkpoint a complete system.

        Args:
            folder: of this repeat.
            evaluated: entries that only the evaluation knows.
        """
        config, dataset = self.config, self.dataset
        system = {
            "task": config.task,
            "name": self.name,
            "sample_rate_hz": dataset.sample_rate_hz,
            "window_s": config.data.window_s,
            "hop_s": config.evaluation.hop_s,
            "frontend": {"name": config.frontend.name} | dataclasses.asdict(self.task.frontend),
            "dataset": {
                "name": dataset.name,
                "version": dataset.version,
                "config": dataset.config,
                "rendered": dataset.rendered,
            },
            "config": config.to_dict(),
            "versions": provenance.versions(),
        }
        system |= self.system() | dict(evaluated or {})
        distributed.on_main(lambda: workdir.write_system(folder, system))

    def train(self, splits: data.Splits, folder: Path, seed: int) -> tuple[Any, Any, loop.Progress]:
        """Return the best parameters and model state, on the host, and the progress."""
        config, task = self.config, self.task
        batches = self.batches(splits.training, seed=seed, shuffle=True)
        valid_batches = self.batches(splits.validation, shuffle=False)
        optimizer, schedule = self.optimizer
        params, model_state = jax.jit(task.init)(jax.random.key(seed))
        # Before the first checkpoint, so that every checkpoint is a complete system.
        self.write_system(folder)
        log(parameter_table(params))
        log(
            f"{batches.num_windows} windows of {config.data.window_s:g} s, "
            f"{batches.steps_per_epoch} steps per epoch on {jax.device_count()} device(s); "
            f"{valid_batches.num_windows} validation windows; {self.describe_splits(splits)}; "
            f"tensorboard --logdir {folder / 'tensorboard'}"
        )
        with contextlib.closing(Logger(folder / "tensorboard")) as logger:
            best, progress = loop.fit(
                state.create(params, model_state, optimizer, task.scalars, seed),
                train_step=self.train_step,
                batches=batches,
                evaluate=mean_loss.create_evaluate(task.loss, valid_batches.iterate),
                settings=config.training,
                profile=config.profile,
                schedule=schedule,
                workdir=folder,
                logger=logger,
                summarize=_Summaries(task, valid_batches[0], logger, self.dataset.sample_rate_hz),
            )
        log(
            f"best epoch {progress.best['epoch']} of {len(progress.history)} by validation "
            f"{progress.best_by}, trained in {duration(progress.seconds)}"
        )
        return best.params, best.model_state, progress


class _Summaries:
    """Writes the summaries of a batch to TensorBoard, later only those that have changed."""

    def __init__(self, task: Task, batch: Mapping, logger: Logger, sample_rate_hz: int):
        self._task, self._batch, self._logger = task, batch, logger
        self._sample_rate_hz, self._written = sample_rate_hz, {}

    def __call__(self, step: int, params: Any, model_state: Any) -> None:
        if not distributed.is_main():
            return
        params, model_state = parallel.first((params, model_state))
        arrays = self._task.summaries(params, model_state, self._batch)
        changed = {k: v for k, v in arrays.items() if not np.array_equal(v, self._written.get(k))}
        self._written |= changed
        self._logger.summaries(step, changed, self._sample_rate_hz)


def run(
    kinds: Mapping[str, type[Experiment]],
    name: str,
    config: config_dict.ConfigDict,
    folder: Path,
    mode: str,
) -> dict:
    """Run an experiment: see `irec_jax.experiment.run`; `kinds` maps tasks to experiments."""
    task, _, _ = configs.check_config(config)
    folder, flat = Path(folder).expanduser(), configs.flatten(config)
    distributed.on_main(
        lambda: workdir.check_workdir(folder, flat, mode, ignored=configs.NOT_COMPARED)
    )
    began = time.perf_counter()
    experiment = kinds[config.task](name, config, task)
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
    log(f"report: {folder / 'report.md'}")
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
    dataset = experiment.dataset
    details = dict(
        dataset=dataset.name,
        version=dataset.version,
        config=dataset.config,
        seed=seed,
        durations_s=durations_s,
    )
    report = experiment.report(params, model_state, splits, folder, progress, details)
    log(f"report: {folder / 'report.md'}")
    return report
