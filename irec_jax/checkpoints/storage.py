"""Checkpoints by step: the last state, and the best one by validation.

Only process 0 touches the disk. What it reads, and what goes wrong with it, the others are told.
"""

import contextlib
import dataclasses
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from irec_jax import distributed
from irec_jax.checkpoints.state import TrainState
from irec_jax.errors import UserError


class Checkpoints:
    """The checkpoints of one run, to be closed after use."""

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        self._manager: ocp.CheckpointManager | None = None
        distributed.on_main(self._open)

    def _open(self) -> None:
        with _reading(self._folder), _writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = _manager(self._folder, read_only=False)

    def save(self, state: TrainState, progress: dict, rank: float | None) -> None:
        """Keeps a state.

        Args:
            state: on the host, not replicated; other processes than 0 may pass anything.
            progress: JSON-able record of the loop.
            rank: of this state where it is the best so far, lower than those before; else None.

        Raises:
            UserError: the disk does not take it.
        """
        if self._manager is None:
            return
        step = int(state.step)
        variables, rest = _parts(state)
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            rest=ocp.args.StandardSave(rest),
            progress=ocp.args.JsonSave(progress),
        )
        metrics = None if rank is None else {"rank": rank}
        with _writing(self._folder):
            _check_room(self._folder, state)
            if step not in self._manager.all_steps():
                self._manager.save(step, args=items, metrics=metrics)

    def latest(self, target: TrainState) -> tuple[TrainState, dict] | None:
        """State and progress of the last checkpoint; None when there is none yet.

        Args:
            target: a state of the same shapes, not replicated.
        """
        return self._read(target, ocp.CheckpointManager.latest_step)

    def best(self, target: TrainState) -> tuple[TrainState, dict]:
        """State and progress of the best checkpoint."""
        found = self._read(target, ocp.CheckpointManager.best_step)
        if found is None:
            raise UserError(f"{self._folder}: no checkpoint here; train first (--mode=train)")
        return found

    def _read(self, target: TrainState, which: Any) -> tuple[TrainState, dict] | None:
        variables, rest = _parts(jax.device_get(target))
        items = {
            "variables": ocp.args.StandardRestore(variables),
            "rest": ocp.args.StandardRestore(rest),
            "progress": ocp.args.JsonRestore(),
        }
        arrays = variables | rest

        def restore() -> dict | None:
            with _writing(self._folder):
                self._manager.wait_until_finished()
            found = _restore(self._manager, self._folder, which, items)
            if found is None:
                return None
            arrays.update(found["variables"] | found["rest"])
            return found["progress"]

        progress = distributed.on_main(restore)
        if progress is None:
            return None
        return TrainState(**distributed.from_main(arrays)), progress

    def close(self) -> None:
        """Waits for what is being written."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            with _writing(self._folder):
                manager.close()


def load_best_variables(folder: Path, target: tuple[Any, Any]) -> tuple[Any, Any]:
    """Parameters and model state of the best checkpoint, on the host of every process.

    Args:
        folder: the checkpoints of a run; nothing is written there.
        target: trees of arrays, or of their shapes and types, of both.

    Raises:
        UserError: no checkpoint, or one that cannot be restored.
    """
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), target)
    variables = dict(zip(("params", "model_state"), zeros, strict=True))

    def restore() -> None:
        items = {"variables": ocp.args.StandardRestore(variables)}
        found = _look_up(folder, ocp.CheckpointManager.best_step, items)
        variables.update(found["variables"])

    distributed.on_main(restore)
    variables = distributed.from_main(variables)
    return variables["params"], variables["model_state"]


def load_history(folder: Path) -> list[dict[str, float]]:
    """One record per epoch of a run, from its last checkpoint, on every process."""

    def restore() -> list:
        items = {"progress": ocp.args.JsonRestore()}
        return _look_up(folder, ocp.CheckpointManager.latest_step, items)["progress"]["history"]

    return distributed.on_main(restore)


def _look_up(folder: Path, which: Any, items: dict) -> dict:
    """Reads from a folder of checkpoints without writing to it."""
    found = None
    if folder.is_dir():
        with contextlib.ExitStack() as stack:
            with _reading(folder):
                manager = _manager(folder.absolute(), read_only=True)
            stack.callback(manager.close)
            found = _restore(manager, folder, which, items)
    if found is None:
        raise UserError(f"{folder}: no checkpoint here; train first (python -m irec_jax.main)")
    return found


def _manager(folder: Path, *, read_only: bool) -> ocp.CheckpointManager:
    """Keeps the last checkpoint and the best one."""
    best = BestN(get_metric_fn=_rank, reverse=True, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
        best_fn=_rank,
        best_mode="min",
        cleanup_tmp_directories=not read_only,
        save_root_metadata=not read_only,
        create=False,
        # In the background a full disk would come to light a save later, among tracebacks.
        enable_async_checkpointing=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="main"
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _rank(metrics: dict[str, float]) -> float:
    return metrics["rank"]


def _parts(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a user of the parameters needs, and what only training needs."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    variables = {name: fields.pop(name) for name in ("params", "model_state")}
    return variables, fields


def _restore(manager: ocp.CheckpointManager, folder: Path, which: Any, items: dict) -> Any:
    """Items of the step that `which(manager)` names; None when it names none."""
    with _reading(folder):
        step = which(manager)
    if step is None:
        return None
    with _reading(folder / str(step)):
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Turns what orbax raises on damaged checkpoints into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{place}: cannot be read ({_reason(error)}); delete the damaged checkpoint to go on "
            "from an earlier one, or train again in a new --workdir"
        ) from error


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what orbax raises when the disk is full into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: checkpoint cannot be written ({_reason(error)}); free space and run the "
            "same command again, it resumes from the last whole checkpoint"
        ) from error


def _check_room(folder: Path, state: TrainState) -> None:
    """OSError when the disk has no room for a state: said beforehand, it is said clearly."""
    needed = sum(array.nbytes for array in jax.tree.leaves(state)) + 1_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")


def _reason(error: Exception) -> str:
    """The first line of an error, short; of the long ones of the storage, their end."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= 160 else "... " + line[-160:]
