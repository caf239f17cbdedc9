"""The training loop: steps, epochs, validation, early stopping, checkpoints, resume."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from irec_jax.errors import UserError
from irec_jax.training import checkpoints, parallel
from irec_jax.training.logging import Logger, duration
from irec_jax.training.profiling import Profiler
from irec_jax.training.state import TrainState

Evaluate = Callable[[Any, Any], Mapping[str, float]]


class TrainBatches(Protocol):
    """What the loop needs of its input."""

    steps_per_epoch: int

    def iterate(self, first_step: int) -> Any: ...

    def ids(self, step: int) -> list[str]: ...


@dataclasses.dataclass
class Progress:
    """What early stopping and the report need to remember; travels with every checkpoint."""

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stale_epochs: int = 0
    seconds: float = 0.0
    finished: bool = False

    @property
    def best(self) -> dict[str, float] | None:
        """The epoch with the lowest validation loss, the first of equals."""
        return min(self.history, key=lambda row: row["valid_loss"], default=None)


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
) -> tuple[TrainState, Progress]:
    """Trains until the validation loss stops falling, or to the last epoch.

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

    Returns:
        The state with the lowest validation loss, on the host, and the progress.

    Raises:
        UserError: a loss that is not finite, with the step and the ids of its batch; a full disk.
    """
    store = checkpoints.Checkpoints(workdir / "checkpoints")
    progress = Progress()
    restored = store.latest(state)
    if restored is not None:
        state, progress = restored[0], Progress(**restored[1])
        if not progress.finished:
            logger.say(f"resuming after step {int(state.step)}")
    step = int(state.step)
    profiler = Profiler(profile, workdir / "profile", logger.say)
    replicated = parallel.replicate(state)
    zeros = jax.tree.map(np.zeros_like, jax.device_get(state.sums))
    num_steps = batches.steps_per_epoch
    iterator = iter(batches.iterate(step)) if not progress.finished else None
    began = time.perf_counter() - progress.seconds
    while not progress.finished:
        epoch = step // num_steps + 1
        label = f"epoch {epoch}/{settings['num_epochs']}"
        logger.start_bar(label, num_steps, step % num_steps)
        epoch_began = time.perf_counter()
        pending: tuple[int, jax.Array] | None = None
        while True:
            batch = parallel.shard(next(iterator))
            profiler.before(step, train_step, replicated, batch)
            with profiler.annotate(step):
                replicated, loss = train_step(replicated, batch)
            profiler.after(step, loss)
            # The loss of the step before is looked at while this one runs.
            value = _finite(pending, batches, workdir)
            logger.advance(loss="..." if value is None else f"{value:.4f}", best=_best(progress))
            if value is not None and (step - 1) % settings["log_every_steps"] == 0:
                rate = float(schedule(step - 1))
                logger.scalars(step - 1, {"train/loss_step": value, "learning_rate": rate})
            pending = (step, loss)
            step += 1
            if step % num_steps == 0:
                break
            every = settings["checkpoint_every_steps"]
            if every and step % every == 0:
                _finite(pending, batches, workdir)
                progress.seconds = time.perf_counter() - began
                store.save(replicated, dataclasses.asdict(progress), None)
        _finite(pending, batches, workdir)
        logger.end_bar()
        valid = evaluate(replicated.params, replicated.model_state)
        if not math.isfinite(valid["loss"]):
            raise UserError(
                f"the validation loss is {valid['loss']} after step {step}: lower "
                "optimizer.learning_rate or set optimizer.clip_norm"
            )
        row = _epoch_row(epoch, step, parallel.first(replicated.sums), valid)
        row["seconds"] = time.perf_counter() - epoch_began
        improved = progress.best is None or row["valid_loss"] < progress.best["valid_loss"]
        progress.history.append(row)
        progress.stale_epochs = 0 if improved else progress.stale_epochs + 1
        progress.seconds = time.perf_counter() - began
        progress.finished = (
            epoch >= settings["num_epochs"] or progress.stale_epochs > settings["patience"]
        )
        replicated = replicated.replace(sums=parallel.replicate(zeros))
        logger.scalars(step, {_tag(k): v for k, v in row.items() if k not in ("epoch", "step")})
        store.save(replicated, dataclasses.asdict(progress), row["valid_loss"])
        logger.say(_epoch_line(row, improved, settings, progress))
    best, _ = store.best(state)
    store.close()
    return best, progress


def _finite(pending: tuple[int, jax.Array] | None, batches: TrainBatches, workdir: Path):
    """The loss of a step as a number; UserError when it is not finite."""
    if pending is None:
        return None
    step, value = pending[0], float(pending[1][0])
    if math.isfinite(value):
        return value
    ids = batches.ids(step)
    file = workdir / f"nonfinite_step_{step}.json"
    if parallel.is_main():
        checkpoints.write_json(file, {"step": step, "ids": ids})
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


def _best(progress: Progress) -> str:
    return "-" if progress.best is None else f"{progress.best['valid_loss']:.4f}"


def _epoch_line(row: Mapping, improved: bool, settings: Mapping, progress: Progress) -> str:
    marker = " *" if improved else f" ({progress.stale_epochs} without decrease)"
    left = (settings["num_epochs"] - row["epoch"]) * row["seconds"]
    rest = "" if progress.finished else f", at most {duration(left)} left"
    return (
        f"epoch {row['epoch']:3d}: train loss {row['train_loss']:.4f}, validation loss "
        f"{row['valid_loss']:.4f}{marker}, {duration(row['seconds'])}{rest}"
    )
