"""The training loop: steps, epochs, validation, early stopping, checkpoints, resume."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from irec_jax import distributed
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints.state import TrainState
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.training import parallel
from irec_jax.training.logging import Logger, duration, log
from irec_jax.training.profiling import Profiler

Evaluate = Callable[[Any, Any], Mapping[str, float]]


class TrainBatches(Protocol):
    """What the loop needs of its input."""

    steps_per_epoch: int

    def iterate(self, first_step: int) -> Any: ...

    def ids(self, step: int) -> list[str]: ...


@dataclasses.dataclass
class Progress:
    """What early stopping and the report need to remember; travels with every checkpoint."""

    best_by: str = "loss"
    stop_by: str = "loss"
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stale_epochs: int = 0
    seconds: float = 0.0
    finished: bool = False

    @property
    def best(self) -> dict[str, float] | None:
        """The best epoch by `best_by`, the first of equals."""
        return min(self.history, key=self.rank, default=None)

    def rank(self, row: Mapping[str, float]) -> float:
        """What the best epoch has the lowest value of."""
        return _rank(row, self.best_by)

    def add(self, row: dict[str, float], settings: Mapping[str, Any]) -> bool:
        """Takes in an epoch and whether training ends; returns whether the epoch is the best."""
        improved = self.best is None or self.rank(row) < self.rank(self.best)
        lowest = min((_rank(earlier, self.stop_by) for earlier in self.history), default=math.inf)
        self.history.append(row)
        self.stale_epochs = 0 if _rank(row, self.stop_by) < lowest else self.stale_epochs + 1
        last = row["epoch"] >= settings["num_epochs"]
        self.finished = last or self.stale_epochs > settings["patience"]
        return improved


def _rank(row: Mapping[str, float], name: str) -> float:
    """Lower is better: the validation loss, or minus a validation accuracy."""
    value = row[f"valid_{name}"]
    return value if name == "loss" else -value


def fit(
    state: TrainState,
    *,
    train_step: Callable[[TrainState, Any], tuple[TrainState, jax.Array]],
    batches: TrainBatches,
    evaluate: Evaluate,
    settings: Mapping[str, Any],
    profile: Mapping[str, int],
    schedule: Callable[[int], Any],
    workdir: Path,
    logger: Logger,
    summarize: Callable[[int, Any, Any], None] = lambda step, params, model_state: None,
) -> tuple[TrainState, Progress]:
    """Trains until the validation loss (or whatever `settings["stop_by"]` names) has got no better
    for more than `settings["patience"]` epochs, or to the last epoch.

    Goes on from the last checkpoint in `workdir` if there is one, with the same result as if it
    had never stopped.

    Args:
        state: the state to start from, not replicated.
        train_step: of `parallel.map_step`, `(state, batch) -> (state, mean loss)`.
        batches: input by step.
        evaluate: `(params, model_state)`, replicated, to scalars, among them `loss`.
        settings: the config section `training`.
        profile: the config section `profile`.
        schedule: learning rate by step, for the log.
        workdir: where checkpoints and logs go.
        logger: where lines and scalars go.
        summarize: called with the step, params and model state, replicated, at the start and after
            every epoch.

    Returns:
        The state of the best epoch by `settings["best_by"]`, on the host, and the progress.

    Raises:
        UserError: a loss that is not finite, with the step and the ids of its batch; a full disk.
    """
    with contextlib.closing(checkpoints.Checkpoints(workdir / "checkpoints")) as store:
        progress = Progress(best_by=settings["best_by"], stop_by=settings["stop_by"])
        restored = store.latest(state)
        if restored is not None:
            progress = Progress(**restored[1])
            if not progress.finished:
                log(f"resuming after step {int(restored[0].step)}")
        run = _Run(train_step, batches, settings, profile, schedule, workdir, logger, store)
        current = parallel.replicate(state if restored is None else restored[0])
        step = int(parallel.first(current.step))
        began = time.perf_counter() - progress.seconds
        input_ = None if progress.finished else iter(batches.iterate(step))
        if not progress.finished:
            summarize(step, current.params, current.model_state)
        while not progress.finished:
            epoch_began = time.perf_counter()
            current, step = run.epoch(current, step, input_, progress, began)
            valid = evaluate(current.params, current.model_state)
            if not math.isfinite(valid["loss"]):
                raise UserError(
                    f"the validation loss is {valid['loss']} after step {step}: lower "
                    "optimizer.learning_rate or set optimizer.clip_norm"
                )
            epoch = step // batches.steps_per_epoch
            row_sums = parallel.first(current.sums)
            row = _epoch_row(epoch, step, row_sums, valid)
            row["seconds"] = time.perf_counter() - epoch_began
            improved = progress.add(row, settings)
            progress.seconds = time.perf_counter() - began
            zeros = parallel.replicate(jax.tree.map(np.zeros_like, row_sums))
            current = current.replace(sums=zeros)
            # Only an improvement can be the best: of equal epochs the first one is kept.
            rank = progress.rank(row) if improved else None
            store.save(parallel.first(current), dataclasses.asdict(progress), rank)
            logger.scalars(step, {_tag(k): v for k, v in row.items() if k not in ("epoch", "step")})
            log(_epoch_line(row, improved, settings, progress))
            summarize(step, current.params, current.model_state)
        run.profiler.close(step)
        best, _ = store.best(state)
    return best, progress


@dataclasses.dataclass
class _Run:
    """What every epoch of a run needs."""

    train_step: Callable
    batches: TrainBatches
    settings: Mapping[str, Any]
    profile: Mapping[str, int]
    schedule: Callable[[int], Any]
    workdir: Path
    logger: Logger
    store: checkpoints.Checkpoints

    def __post_init__(self):
        self.profiler = Profiler(self.profile, self.workdir / "profile", log)

    def epoch(
        self, current: TrainState, step: int, input_: Any, progress: Progress, began: float
    ) -> tuple[TrainState, int]:
        """Steps to the end of the epoch that `step` lies in; the new state and step."""
        size, every = self.batches.steps_per_epoch, self.settings["checkpoint_every_steps"]
        label = f"epoch {step // size + 1}/{self.settings['num_epochs']}"
        self.logger.start_bar(label, size, step % size)
        pending: tuple[int, jax.Array] | None = None
        try:
            while True:
                batch = parallel.shard(next(input_))
                self.profiler.before(step, self.train_step, current, batch)
                with self.profiler.annotate(step):
                    current, loss = self.train_step(current, batch)
                self.profiler.after(step, loss)
                # The loss of the step before is looked at while this one runs.
                self._check(pending, progress)
                pending = (step, loss)
                step += 1
                if step % size == 0:
                    break
                if every and step % every == 0:
                    _finite(pending, self.batches, self.workdir)
                    progress.seconds = time.perf_counter() - began
                    self.store.save(parallel.first(current), dataclasses.asdict(progress), None)
            self._check(pending, progress)
        finally:
            self.logger.end_bar()
        return current, step

    def _check(self, pending: tuple[int, jax.Array] | None, progress: Progress) -> None:
        """Shows and logs the loss of a step; UserError when it is not finite."""
        if pending is None:
            return
        step, value = pending[0], _finite(pending, self.batches, self.workdir)
        losses = [row["valid_loss"] for row in progress.history]
        best = f"{min(losses):.4f}" if losses else "-"
        self.logger.advance(loss=f"{value:.4f}", best_validation=best)
        if step % self.settings["log_every_steps"] == 0:
            rate = float(self.schedule(step))
            self.logger.scalars(step, {"train/loss_step": value, "learning_rate": rate})


def _finite(pending: tuple[int, jax.Array], batches: TrainBatches, workdir: Path) -> float:
    """The loss of a step as a number; UserError when it is not finite."""
    step, value = pending[0], float(parallel.first(pending[1]))
    if math.isfinite(value):
        return value
    ids = batches.ids(step)
    file = workdir / f"nonfinite_step_{step}.json"
    if distributed.is_main():
        write_json(file, {"step": step, "ids": ids})
    shown = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more (all in {file})" if ids[4:] else "")
    raise UserError(
        f"the loss is {value} at step {step}, clips {shown}: lower optimizer.learning_rate or set "
        "optimizer.clip_norm, or look for broken audio among these clips"
    )


def _epoch_row(epoch: int, step: int, sums: Mapping, valid: Mapping) -> dict[str, float]:
    count = max(float(sums["count"]), 1.0)
    train = {f"train_{k}": float(v) / count for k, v in sums.items() if k != "count"}
    return {"epoch": epoch, "step": step} | train | {f"valid_{k}": v for k, v in valid.items()}


def _tag(name: str) -> str:
    split, _, rest = name.partition("_")
    return f"{split}/{rest}" if rest else f"epoch/{split}"


def _epoch_line(row: Mapping, improved: bool, settings: Mapping, progress: Progress) -> str:
    stale = ""
    if progress.stale_epochs:
        watched = "decrease" if progress.stop_by == "loss" else f"increase of {progress.stop_by}"
        stale = f" ({progress.stale_epochs} without {watched})"
    others = "".join(
        f", {name.removeprefix('valid_')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("valid_") and name != "valid_loss"
    )
    left = (settings["num_epochs"] - row["epoch"]) * row["seconds"]
    rest = "" if progress.finished else f", at most {duration(left)} left"
    return (
        f"epoch {row['epoch']:3d}: train loss {row['train_loss']:.4f}, validation loss "
        f"{row['valid_loss']:.4f}{stale}{others}{' *' if improved else ''}, "
        f"{duration(row['seconds'])}{rest}"
    )
