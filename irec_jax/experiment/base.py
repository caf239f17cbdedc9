"""Base class for experiments: training, checkpoints, reports and the workdir."""

import abc
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

import jax
from ml_collections import config_dict

from irec_jax import data, distributed
from irec_jax.checkpoints import state, storage, workdir
from irec_jax.config import flatten
from irec_jax.config.checks import name_sections
from irec_jax.data.splits import Examples
from irec_jax.errors import UserError
from irec_jax.experiment.initial import Initial
from irec_jax.reports import provenance
from irec_jax.studies import published
from irec_jax.tasks import Recognition, Separation
from irec_jax.text import plural
from irec_jax.training import dispatch, loop, optimizers, parallel, step
from irec_jax.training.logging import Logger, duration, log, parameter_table

TaskT = TypeVar("TaskT", Recognition, Separation)
DatasetT = TypeVar("DatasetT", data.Dataset, data.StemDataset)


#: Runs with at most this many training steps count as debug runs; `debug` configs take 6 steps.
_DEBUG_STEPS = 30


@dataclasses.dataclass
class Trained(Generic[Examples]):
    """The trained parameters of one repeat, and the data for its report.

    Attributes:
        params, model_state: parameters and state on the host, not replicated.
        splits: result of `Experiment.split`.
        folder: folder of this repeat.
        seed: seed of this repeat.
        progress: training progress.
        durations_s: duration of each phase in seconds.
    """

    params: Any
    model_state: Any
    splits: data.Splits[Examples]
    folder: Path
    seed: int
    progress: loop.Progress
    durations_s: dict[str, float]


class Experiment(abc.ABC, Generic[TaskT, DatasetT, Examples]):
    """A config with its dataset, its task, and a compiled training step that all repeats share.

    Subclasses add the task-specific parts: the abstract methods, and `reports`, the module that
    assembles and writes reports. `unit` names the training examples.

    Args:
        name: name of the config, such as 'han'.
        config: the resolved and locked config.
        task: the config's task.
        initial: parameters of a trained system that training starts from, if the config names one.
    """

    reports: ClassVar[ModuleType]
    unit: ClassVar[str] = "windows"

    def __init__(
        self,
        name: str,
        config: config_dict.ConfigDict,
        task: TaskT,
        initial: Initial | None = None,
    ):
        self.name, self.config, self.task, self.initial = name, config, task, initial
        self._train_steps: dict[tuple[bool, bool], Any] = {}

    @functools.cached_property
    def dataset(self) -> DatasetT:
        """The dataset, prepared on first use."""
        return self.load()

    @abc.abstractmethod
    def load(self) -> DatasetT:
        """Return the dataset; raise UserError if this task cannot use it."""

    @abc.abstractmethod
    def describe_dataset(self) -> str:
        """Return a short description of the dataset: its number of examples and its split."""

    @abc.abstractmethod
    def describe_splits(self, splits: data.Splits[Examples]) -> str:
        """Return a short text with the numbers of training and validation songs or tracks."""

    @abc.abstractmethod
    def split(self, seed: int) -> data.Splits[Examples]:
        """Divide the dataset into training, validation and test splits."""

    @abc.abstractmethod
    def batches(self, examples: Examples, *, seed: int = 0, shuffle: bool) -> Any:
        """Return the batches of a split for this process; see `loop.TrainBatches`."""

    def training_batches(self, examples: Examples, folder: Path, *, seed: int) -> Any:
        """Return the training batches; subclasses may store settings in the repeat's folder."""
        del folder
        return self.batches(examples, seed=seed, shuffle=True)

    @abc.abstractmethod
    def report(self, trained: Trained[Examples]) -> dict:
        """Evaluate a repeat, write the report to its folder, log a summary, and return the report.

        The duration of the evaluation is added to `trained.durations_s`.
        """

    @abc.abstractmethod
    def system(self) -> dict[str, Any]:
        """Return the entries of `system.json` that depend on the task."""

    @abc.abstractmethod
    def describe_repeats(self, report: Mapping) -> list[str]:
        """Return lines with the main scores from a report on several repeats."""

    @property
    def num_steps(self) -> int:
        """Maximum number of training steps.

        It is computed from the first seed's split, so that every seed gets the same schedule.
        """
        seed = self.config.seed
        batches = self.batches(self.split(seed).training, seed=seed, shuffle=True)
        return batches.steps_per_epoch * self.config.training.num_epochs

    @functools.cached_property
    def optimizer(self) -> tuple[Any, Any]:
        """The optimiser and its learning-rate schedule."""
        with name_sections("optimizer"):
            return optimizers.create_optimizer(self.config.optimizer.to_dict(), self.num_steps)

    def train_step(self, cut: Callable[[Any, Any], Any] | None, *, scan: bool) -> Any:
        """Return the training step, mapped over all devices and compiled once for all repeats.

        Args:
            cut, scan: see `step.several_steps`; `cut` must be the same for all repeats.
        """
        kind = cut is not None, scan
        if kind not in self._train_steps:
            single = functools.partial(
                step.train_step,
                loss=self.task.loss,
                optimizer=self.optimizer[0],
                l2=self.config.loss.l2,
                ema_decay=self.config.training.get("ema_decay"),
            )
            several = step.several_steps(single, scan=scan, cut=cut)
            self._train_steps[kind] = parallel.map_step(several, donate_state=True)
        return self._train_steps[kind]

    def batch_settings(self, *, seed: int, shuffle: bool) -> dict[str, Any]:
        """Return the arguments for `Batches` and `StemBatches` that all tasks share."""
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
        self, trained: Trained[Examples], split: str, protocol: Mapping
    ) -> dict[str, Any]:
        """Return the arguments for `reports.assemble` that all tasks share.

        Args:
            trained: the evaluated repeat.
            split: description of the split.
            protocol: description of the data splits for the report.
        """
        dataset = self.dataset
        return dict(
            system=self.name,
            rendered=dataset.rendered,
            provenance=provenance.collect(
                dataset=dataset.name,
                version=dataset.version,
                config=dataset.config,
                split=split,
                seed=trained.seed,
                durations_s=trained.durations_s,
            ),
            protocol=protocol,
            best_epoch=trained.progress.best,
            history=trained.progress.history,
            reported=published.RESULTS.get(self.name),
            settings=self.config.evaluation.to_dict(),
            ema_decay=self.config.training.get("ema_decay"),
            debug=_is_debug_run(self.config.training),
        )

    def summarize_repeats(self, reports: list[dict], folder: Path) -> dict:
        """Write and return the first repeat's report with a summary of all repeats."""
        final = reports[0] | {"repeats": self.reports.summarize_repeats(reports)}
        distributed.on_main(lambda: str(self.reports.write(final, folder)))
        for line in self.describe_repeats(final):
            log(line)
        return final

    def update_system(self, folder: Path, evaluated: Mapping[str, Any] | None = None) -> None:
        """Add the entries that are known only after the evaluation to `system.json`.

        If `--mode=eval` is run with different evaluation settings, `system.json` does not change,
        so that applying the system gives the same results as before. A restarted training run
        writes its settings when it starts.
        """

        def differences() -> list[str]:
            try:
                stored = workdir.read_system(folder)["config"]["evaluation"]
            except (UserError, KeyError):  # a missing or damaged file is replaced
                return []
            ours, theirs = (flatten(s, "evaluation.") for s in (self.config.evaluation, stored))
            return workdir.differences(ours, theirs)

        if differing := distributed.on_main(differences):
            log(f"the system keeps its settings; the report uses {'; '.join(differing)}")
        else:
            self.write_system(folder, evaluated)

    def write_system(self, folder: Path, evaluated: Mapping[str, Any] | None = None) -> None:
        """Write `system.json`, which turns a checkpoint into a complete system.

        Args:
            folder: folder of this repeat.
            evaluated: entries that are known only after the evaluation.
        """
        config, dataset = self.config, self.dataset
        frontend: Any = self.task.frontend  # a dataclass
        system = {
            "task": config.task,
            "name": self.name,
            "sample_rate_hz": dataset.sample_rate_hz,
            "window_s": config.data.window_s,
            "hop_s": config.evaluation.hop_s,
            "frontend": {"name": config.frontend.name} | dataclasses.asdict(frontend),
            "dataset": {
                key: getattr(dataset, key) for key in ("name", "version", "config", "rendered")
            },
            "config": config.to_dict(),
            "versions": provenance.versions(),
        }
        system |= self.system() | dict(evaluated or {})
        distributed.on_main(lambda: workdir.write_system(folder, system))

    def _create_validation(
        self, batches: Any, store: Any
    ) -> Callable[[Any, Any], dict[str, float]]:
        """Return the function that validates the model after each epoch.

        The function also computes the scores that training monitors.

        Args:
            batches: the batches of the validation split.
            store: audio of the validation split on the devices; None if it stays on the host.
        """
        task, training = self.task, self.config.training
        watched = {training.best_by, training.stop_by} & {*task.split_scores}
        return step.create_evaluate(
            task.loss,
            functools.partial(batches.iterate, positions=store is not None),
            cut=None if store is None else batches.cut,
            store=store,
            predict=task.predict,
            score=task.score_split if watched else None,
        )

    def train(
        self, splits: data.Splits[Examples], folder: Path, seed: int
    ) -> tuple[Any, Any, loop.Progress]:
        """Train a model; return the parameters and state to keep (on the host) and the progress."""
        config, task = self.config, self.task
        batches = self.training_batches(splits.training, folder, seed=seed)
        valid_batches = self.batches(splits.validation, shuffle=False)
        optimizer, schedule = self.optimizer
        params, model_state = task.init(jax.random.key(seed))
        if self.initial:  # replaced if this run resumes from its own checkpoint
            params, model_state = self.initial.apply(params, model_state)
        # Written before the first checkpoint, so that every checkpoint is a complete system.
        self.write_system(folder)
        log(parameter_table(params))
        log(
            f"{batches.num_windows} {self.unit} of {config.data.window_s:.4g} s, "
            f"{plural(batches.steps_per_epoch, 'step')} per epoch on "
            f"{plural(jax.device_count(), 'device')}; "
            f"{valid_batches.num_windows} validation {self.unit}; {self.describe_splits(splits)}; "
            f"tensorboard --logdir {folder / 'tensorboard'}"
        )
        # If training has already finished, the data are not loaded onto the devices.
        finished = storage.has_finished(folder / "checkpoints")
        placement = "host" if finished else config.data.get("placement", "auto")
        store = dispatch.place(batches, placement, name="training")
        valid_store = dispatch.place(valid_batches, placement, name="validation")
        ema = config.training.get("ema_decay") is not None
        initial = state.create(params, model_state, optimizer, task.scalars, seed, ema=ema)
        cut = None if store is None else batches.cut
        count = 1 if finished else config.training.get("steps_per_call")
        count = count or dispatch.steps_per_call(
            batches, lambda: self.train_step(cut, scan=False), initial, store
        )
        if count > 1:
            log(f"{count} steps per call")
        first_batch = functools.cache(lambda: valid_batches[0])

        def summarize(step: int, params: Any, model_state: Any) -> None:
            if distributed.is_main():
                params, model_state = parallel.first((params, model_state))
                arrays = task.summaries(params, model_state, first_batch())
                logger.summaries(step, arrays, self.dataset.sample_rate_hz)

        with contextlib.closing(Logger(folder / "tensorboard")) as logger:
            training_run = loop.TrainingRun(
                train_step=self.train_step(cut, scan=count > 1),
                batches=batches,
                evaluate=self._create_validation(valid_batches, valid_store),
                settings=config.training,
                profile=config.profile,
                schedule=schedule,
                workdir=folder,
                logger=logger,
                summarize=summarize,
                steps_per_call=count,
                store=store,
            )
            best, progress = training_run.fit(initial)
        assert progress.best is not None  # there is at least one epoch
        count = len(progress.history)
        kept = f"best epoch {progress.best['epoch']} of {count} by validation {progress.best_by}"
        if progress.best_by == "last":
            kept = f"last epoch ({count})"
        if ema:
            kept += ", moving average of the parameters"
        log(f"{kept}, trained in {duration(progress.seconds)}")
        return *best.eval_variables, progress


def _is_debug_run(training: Mapping[str, Any]) -> bool:
    """Return whether a config allows so few steps that nothing is learned, as with `debug`.

    Runs that start from a trained system are exempt, since a few steps may suffice for them.
    """
    steps = training["max_steps_per_epoch"]
    return (
        steps is not None
        and not training.get("init_from")
        and training["num_epochs"] * steps <= _DEBUG_STEPS
    )
