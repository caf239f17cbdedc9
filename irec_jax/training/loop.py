"""The training loop: steps, epochs, validation, early stopping, checkpoints and resuming."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

import jax
import numpy as np
from tqdm import tqdm

from irec_jax import distributed, preemption
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints.state import TrainState
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.progress import progress_bar
from irec_jax.training import parallel
from irec_jax.training.logging import Logger, duration, log
from irec_jax.training.profiling import Profiler

#: Requests from one process to all: save a checkpoint, or save a checkpoint and stop.
_SAVE, _STOP = 1, 2


class TrainBatches(Protocol):
    """Training input, indexed by step."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        ...

    def iterate(self, first_step: int, *, positions: bool = False) -> Any:
        """Return an iterator over this process's batches, or their positions, from a given step."""
        ...

    def ids(self, step: int) -> list[str]:
        """Return the ids of the examples in a step's batch."""
        ...


@dataclasses.dataclass
class Progress:
    """History and early-stopping state of a training run, stored in every checkpoint.

    Attributes:
        best_by: criterion that selects the epoch to keep: `loss`, a score of the task, or `last`.
        stop_by: criterion for early stopping: `loss` or a score of the task.
        history: one row per epoch; see `_epoch_row`.
        stale_epochs: epochs since `stop_by` last improved.
        seconds: training time so far, in seconds.
        finished: whether training has ended.
    """

    best_by: str = "loss"
    stop_by: str = "loss"
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stale_epochs: int = 0
    seconds: float = 0.0
    finished: bool = False

    @property
    def best(self) -> dict[str, float] | None:
        """The best epoch according to `best_by`; the first one if several are equal."""
        return min(self.history, key=self.rank, default=None)

    def rank(self, row: Mapping[str, float]) -> float:
        """Return the value by which an epoch is ranked; the lowest value is best."""
        return _rank(row, self.best_by)

    def add(self, row: dict[str, float], settings: Mapping[str, Any]) -> bool:
        """Add an epoch, update `finished`, and return whether this epoch is the best so far."""
        improved = self.best is None or self.rank(row) < self.rank(self.best)
        lowest = min((_rank(earlier, self.stop_by) for earlier in self.history), default=math.inf)
        self.history.append(row)
        self.stale_epochs = 0 if _rank(row, self.stop_by) < lowest else self.stale_epochs + 1
        last = row["epoch"] >= settings["num_epochs"]
        self.finished = last or self.stale_epochs > settings["patience"]
        return improved

    def describe_rest(self, settings: Mapping[str, Any]) -> str:
        """Return the rule that will end training, or the remaining time.

        The time is given if early stopping can no longer end training before the last epoch.
        """
        epochs_left = settings["num_epochs"] - len(self.history)
        # Early stopping ends training after the epoch that exceeds the patience.
        if settings["patience"] + 1 - self.stale_epochs < epochs_left:
            epochs = settings["patience"] + 1
            return f"stops when validation {self.stop_by} has not improved for {epochs} epoch(s)"
        mean_s = sum(row["seconds"] for row in self.history) / len(self.history)
        return f"about {duration(epochs_left * mean_s)} left"


def kept_by(settings: Mapping[str, Any]) -> str:
    """Return the criterion that selects the epoch to keep: `last` or `training.best_by`."""
    return "last" if settings.get("keep") == "last" else settings["best_by"]


def _rank(row: Mapping[str, float], name: str) -> float:
    """Return the value by which a criterion ranks an epoch; the lowest value is best.

    Args:
        row: the epoch's row in the history.
        name: criterion; see `Progress.best_by`.
    """
    if name == "last":
        return -row["epoch"]
    value = row[f"valid_{name}"]
    return value if name == "loss" else -value


@dataclasses.dataclass
class TrainingRun:
    """A training run, which can be resumed from its last checkpoint.

    Attributes:
        train_step: result of `parallel.map_step` for `(state, inputs) -> (state, mean losses)`;
            see `step.several_steps`.
        batches: training input.
        evaluate: maps the replicated `(params, model_state)` to validation scalars, including
            `loss`.
        settings: the `training` section of the config.
        profile: the `profile` section of the config.
        schedule: learning rate as a function of the step, for logging.
        workdir: folder for checkpoints and traces.
        logger: TensorBoard writer.
        summarize: called at the start and after every epoch with the step and the replicated
            parameters and model state.
        steps_per_call: number of steps per call of `train_step` (fewer at the end of an epoch); if
            it is 1, inputs and losses have no step axis.
        store: the split's audio on the devices, passed to `train_step` as a third argument; the
            inputs are then positions in it. None if inputs are batches.
    """

    train_step: Callable[..., tuple[TrainState, jax.Array]]
    batches: TrainBatches
    evaluate: Callable[[Any, Any], Mapping[str, float]]
    settings: Mapping[str, Any]
    profile: Mapping[str, int]
    schedule: Callable[[int], Any]
    workdir: Path
    logger: Logger
    summarize: Callable[[int, Any, Any], None] = lambda step, params, model_state: None
    steps_per_call: int = 1
    store: Any = None

    def fit(self, state: TrainState) -> tuple[TrainState, Progress]:
        """Train from an initial (not replicated) state until early stopping or the last epoch.

        Early stopping ends training when the validation loss (or the scalar that
        `settings["stop_by"]` names) has not improved for more than `settings["patience"]` epochs.
        Training resumes from the last checkpoint in `workdir`, if there is one, with the same
        result as an uninterrupted run. After a SIGTERM in any process, all processes save a
        checkpoint and stop after the same step or, during validation, once validation is complete.

        Returns:
            The state (on the host) of the last epoch, or of the best epoch according to
            `settings["best_by"]`, depending on `settings["keep"]`; and the progress.

        Raises:
            UserError: the loss is not finite (the message gives the step and the ids of its
                examples), or the disk is full.
            Preempted: SIGTERM was received; the state has been saved.
        """
        with checkpoints.Checkpoints(self.workdir / "checkpoints") as store:
            if store.note:
                log(store.note)
            self._store, restored = store, store.latest(state)
            self._profiler = Profiler(self.profile, self.workdir / "profile")
            self.progress = Progress(kept_by(self.settings), self.settings["stop_by"])
            if restored is not None:
                state, self.progress = restored[0], Progress(**restored[1])
                if not self.progress.finished:
                    log(f"resuming after step {int(state.step)}")
            with preemption.deferred():
                self._train(state)
            return store.best(state)[0], self.progress

    def _train(self, state: TrainState) -> None:
        """Run epochs until training has finished."""
        step = int(state.step)
        if self.progress.finished:
            self._profiler.close(step)
            return
        self._saved = time.perf_counter()
        self._began = self._saved - self.progress.seconds
        current = parallel.replicate(state)
        # Double-buffered: the inputs of the next call are copied while a call runs.
        inputs = parallel.ahead(map(parallel.transfer, self._inputs(step)))
        self.summarize(step, *current.eval_variables)
        while not self.progress.finished:
            epoch_began = time.perf_counter()
            current, step = self._train_epoch(current, step, inputs)
            current = self._validate(current, step, epoch_began)
            if parallel.largest(self._request()).item() == _STOP:
                self._stop(step)
            self.summarize(step, *current.eval_variables)
            self.logger.flush()
        self._profiler.close(step)

    def _call_size(self, step: int) -> int:
        """Return the number of steps in the call that begins at a step.

        Calls end at multiples of `steps_per_call` within an epoch, and at the end of the epoch.
        Checkpoints are written between calls, so that a resumed run makes the same calls.
        """
        size = self.batches.steps_per_epoch
        step_of_epoch = step % size
        full = self.steps_per_call - step_of_epoch % self.steps_per_call
        return min(full, size - step_of_epoch)

    def _inputs(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of each call, starting at a given step and divided among the devices."""
        batches = iter(self.batches.iterate(step, positions=self.store is not None))
        if self.steps_per_call == 1:
            yield from map(parallel.shard, batches)
            return
        while True:
            count = self._call_size(step)
            yield parallel.shard_steps([next(batches) for _ in range(count)])
            step += count

    def _train_epoch(self, current: TrainState, step: int, inputs: Any) -> tuple[TrainState, int]:
        """Run the remaining steps of the epoch that contains `step`; return the state and step."""
        size, every = self.batches.steps_per_epoch, self.settings["checkpoint_every_steps"]
        stores = () if self.store is None else (self.store,)
        pending: tuple[int, jax.Array] | None = None
        bar = progress_bar(
            total=size,
            initial=step % size,
            desc=f"epoch {step // size + 1}, at most {self.settings['num_epochs']}",
            unit="step",
            disable=not distributed.is_main(),
            dynamic_ncols=True,
            mininterval=0.2,
        )
        with bar:
            while True:
                arguments, count = (current, next(inputs), *stores), self._call_size(step)
                self._profiler.before(step, count, self.train_step, *arguments)
                agreed = parallel.largest(self._request())
                with jax.profiler.StepTraceAnnotation("train", step_num=step):
                    current, losses = self.train_step(*arguments)
                del arguments  # the state has been donated
                self._profiler.after(step + count - 1, losses)
                # The losses of the previous call are checked while this one runs.
                self._log_steps(pending, bar)
                self._store.check()
                pending = (step, losses)
                step += count
                if step % size == 0:
                    break
                # The request was computed before this call, which is still running.
                request = agreed.item()
                if request or every and step // every > (step - count) // every:
                    self._check_finite(pending)
                    self._save(current, None)
                if request == _STOP:
                    self._stop(step)
            self._log_steps(pending, bar)
        return current, step

    def _validate(self, current: TrainState, step: int, epoch_began: float) -> TrainState:
        """Validate, log and save the state after an epoch; return it with its sums reset."""
        valid = self.evaluate(*current.eval_variables)
        if not math.isfinite(valid["loss"]):
            raise UserError(
                f"the validation loss is {valid['loss']} after step {step}; lower "
                "optimizer.learning_rate or set optimizer.clip_norm"
            )
        sums = parallel.first(current.sums)
        row = _epoch_row(step // self.batches.steps_per_epoch, step, sums, valid)
        row["seconds"] = time.perf_counter() - epoch_began
        improved = self.progress.add(row, self.settings)
        zeros = parallel.replicate(jax.tree.map(np.zeros_like, sums))
        current = dataclasses.replace(current, sums=zeros)
        # Only improvements are ranked, so that the first of several equal epochs is kept.
        self._save(current, self.progress.rank(row) if improved else None)
        scalars = {_tag(k): v for k, v in row.items() if k not in ("epoch", "step")}
        self.logger.scalars(step, scalars)
        log(_epoch_line(row, improved, self.settings, self.progress))
        return current

    def _request(self) -> int:
        """Return this process's current request to all processes; only process 0 keeps time."""
        if preemption.requested():
            return _STOP
        interval_s = self.settings["checkpoint_every_s"]
        due = interval_s and time.perf_counter() - self._saved >= interval_s
        return _SAVE if due and distributed.is_main() else 0

    def _stop(self, step: int) -> NoReturn:
        """End this process after SIGTERM, once process 0 has saved the state."""
        self._store.wait()
        distributed.shutdown()
        raise preemption.Preempted(f"ended by SIGTERM, checkpoint after step {step}")

    def _save(self, current: TrainState, rank: float | None) -> None:
        """Copy the state to the host; it is written to disk while training continues."""
        self._saved = time.perf_counter()
        self.progress.seconds = self._saved - self._began
        self._store.save(parallel.first(current), dataclasses.asdict(self.progress), rank)

    def _log_steps(self, pending: tuple[int, jax.Array] | None, bar: tqdm) -> None:
        """Show and log the losses of a call; raise UserError if a loss is not finite."""
        if pending is None:
            return
        first, values = pending[0], self._check_finite(pending)
        losses = [row["valid_loss"] for row in self.progress.history]
        best = f"{min(losses):.4f}" if losses else "-"
        bar.set_postfix(loss=f"{values[-1]:.4f}", best_validation=best, refresh=False)
        bar.update(len(values))
        for step, value in enumerate(values, first):
            if step % self.settings["log_every_steps"] == 0:
                rate = float(self.schedule(step))
                self.logger.scalars(step, {"train/loss_step": value, "learning_rate": rate})

    def _check_finite(self, pending: tuple[int, jax.Array]) -> list[float]:
        """Return the losses of a call.

        Raises:
            UserError: a loss is not finite; the message gives the ids of the examples in its batch.
        """
        first, values = pending[0], np.atleast_1d(parallel.first(pending[1])).tolist()
        failed = [i for i, value in enumerate(values) if not math.isfinite(value)]
        if not failed:
            return values
        step, value = first + failed[0], values[failed[0]]
        ids = self.batches.ids(step)
        file = self.workdir / f"nonfinite_step_{step}.json"
        if distributed.is_main():
            write_json(file, {"step": step, "ids": ids})
        rest = f" and {len(ids) - 4} more (listed in {file})" if ids[4:] else ""
        raise UserError(
            f"the loss is {value} at step {step}, clips {', '.join(ids[:4])}{rest}; lower "
            "optimizer.learning_rate, set optimizer.clip_norm, or check the audio of these clips"
        )


def _epoch_row(epoch: int, step: int, sums: Mapping, valid: Mapping) -> dict[str, float]:
    """Return `epoch`, `step`, and the means `train_NAME` and `valid_NAME` of all scalars."""
    count = max(float(sums["count"]), 1.0)
    train = {f"train_{k}": float(v) / count for k, v in sums.items() if k != "count"}
    return {"epoch": epoch, "step": step} | train | {f"valid_{k}": v for k, v in valid.items()}


def _tag(name: str) -> str:
    """Return the TensorBoard tag of a history column."""
    split, _, rest = name.partition("_")
    return f"{split}/{rest}" if rest else f"epoch/{split}"


def _epoch_line(row: Mapping, improved: bool, settings: Mapping, progress: Progress) -> str:
    stale = ""
    if progress.stale_epochs:
        change = "decrease" if progress.stop_by == "loss" else f"increase of {progress.stop_by}"
        stale = f" ({progress.stale_epochs} without {change})"
    scores = "".join(
        f", {name.removeprefix('valid_')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("valid_") and name != "valid_loss"
    )
    rest = "" if progress.finished else f"; {progress.describe_rest(settings)}"
    return (
        f"epoch {row['epoch']:3d} of at most {settings['num_epochs']}: train loss "
        f"{row['train_loss']:.4f}, validation loss {row['valid_loss']:.4f}{stale}{scores}"
        f"{' *' if improved else ''}, {duration(row['seconds'])}{rest}"
    )
