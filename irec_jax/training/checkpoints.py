"""Checkpoints: the last and the best state, the progress of the run, and `system.json`.

A workdir holds

    config.json       the resolved config: another one is refused
    checkpoints/N/    state after N steps: the last one and the one with the best validation loss
    system.json       all that a user of the parameters needs: front end, classes, thresholds ...
"""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from irec_jax.errors import UserError
from irec_jax.training import parallel
from irec_jax.training.state import TrainState

SYSTEM_FILE = "system.json"
SYSTEM_FORMAT = 1
CONFIG_FILE = "config.json"


def write_json(path: Path, content: Any) -> None:
    """Writes strict JSON whole or not at all; UserError when the disk does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=1, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free space or use another --workdir"
        ) from error


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError when it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; is this the workdir of a finished training?"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train again or restore it") from error


def read_system(workdir: Path) -> dict[str, Any]:
    """`system.json` of a workdir; UserError when there is none or it is not one of ours."""
    system = read_json(workdir / SYSTEM_FILE)
    if not isinstance(system, dict) or system.get("format") != SYSTEM_FORMAT:
        raise UserError(f"{workdir / SYSTEM_FILE}: not written by this version; train again")
    return system


def write_system(workdir: Path, system: dict[str, Any]) -> None:
    """Writes `system.json`, whole or not at all."""
    write_json(workdir / SYSTEM_FILE, {"format": SYSTEM_FORMAT} | system)


class Checkpoints:
    """States of one run, by step. Only process 0 touches the disk; the others receive."""

    def __init__(self, folder: Path):
        self._manager = None
        if parallel.is_main():
            self._folder = folder.absolute()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = _manager(self._folder, read_only=False)

    def save(self, state: TrainState, progress: dict, valid_loss: float | None) -> None:
        """Keeps a replicated state; in the background on process 0.

        Args:
            state: with a leading device axis.
            progress: JSON-able record of the loop.
            valid_loss: of this state where it is the lowest so far, else None.
        """
        if self._manager is None:
            return
        host = parallel.first(state)
        step = int(host.step)
        if step in self._manager.all_steps():
            return
        variables, rest = _parts(host)
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            rest=ocp.args.StandardSave(rest),
            progress=ocp.args.JsonSave(progress),
        )
        metrics = None if valid_loss is None else {"valid_loss": valid_loss}
        try:
            self._manager.save(step, args=items, metrics=metrics)
        except OSError as error:
            raise _cannot_write(self._folder, error) from error

    def latest(self, target: TrainState) -> tuple[TrainState, dict] | None:
        """State and progress of the last checkpoint; None when there is none yet."""
        return self._restore(target, "latest")

    def best(self, target: TrainState) -> tuple[TrainState, dict]:
        """State and progress of the checkpoint with the lowest validation loss."""
        found = self._restore(target, "best")
        if found is None:
            raise UserError("no checkpoint yet in this workdir: train first (--mode=train)")
        return found

    def _restore(self, target: TrainState, which: str) -> tuple[TrainState, dict] | None:
        step = -1
        if self._manager is not None:
            self._manager.wait_until_finished()
            found = self._manager.best_step() if which == "best" else self._manager.latest_step()
            step = -1 if found is None else found
        if int(parallel.from_main(np.asarray(step))) < 0:
            return None
        variables, rest = _parts(jax.device_get(target))
        progress = {}
        if self._manager is not None:
            items = dict(
                variables=ocp.args.StandardRestore(variables),
                rest=ocp.args.StandardRestore(rest),
                progress=ocp.args.JsonRestore(),
            )
            restored = _restore(self._manager, self._folder, step, items)
            variables, rest, progress = (restored[name] for name in items)
        state = TrainState(**parallel.from_main(variables | rest))
        return state, _broadcast_json(progress)

    def close(self) -> None:
        """Waits for what is being written."""
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except OSError as error:
            raise _cannot_write(self._folder, error) from error
        self._manager.close()


def load_best_variables(folder: Path, target: tuple[Any, Any]) -> tuple[Any, Any]:
    """Parameters and model state with the lowest validation loss, on the host.

    Args:
        folder: the checkpoints of a run; nothing is written there.
        target: trees of arrays, or of their shapes and types, of both.

    Raises:
        UserError: no checkpoint, or one that cannot be restored.
    """
    missing = f"{folder}: no checkpoint here; train first (python -m irec_jax.main)"
    if not folder.is_dir():
        raise UserError(missing)
    manager = _manager(folder.absolute(), read_only=True)
    step = manager.best_step()
    if step is None:
        raise UserError(missing)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), target)
    variables = dict(zip(("params", "model_state"), zeros, strict=True))
    items = {"variables": ocp.args.StandardRestore(variables)}
    restored = _restore(manager, folder, step, items)["variables"]
    manager.close()
    return restored["params"], restored["model_state"]


def load_history(folder: Path) -> list[dict[str, float]]:
    """One record per epoch of a run, from its last checkpoint; empty when there is none."""
    manager = _manager(folder.absolute(), read_only=True)
    step = manager.latest_step()
    if step is None:
        return []
    items = {"progress": ocp.args.JsonRestore()}
    history = _restore(manager, folder, step, items)["progress"]["history"]
    manager.close()
    return history


def _manager(folder: Path, *, read_only: bool) -> ocp.CheckpointManager:
    """Keeps the last checkpoint and the one with the lowest validation loss."""
    best = BestN(
        get_metric_fn=_valid_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
        best_fn=_valid_loss,
        best_mode="min",
        cleanup_tmp_directories=not read_only,
        create=False,
        read_only=read_only,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="main"
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _valid_loss(metrics: dict[str, float]) -> float:
    return metrics["valid_loss"]


def _parts(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a user of the parameters needs, and what only training needs."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    variables = {name: fields.pop(name) for name in ("params", "model_state")}
    return variables, fields


def _restore(manager: ocp.CheckpointManager, folder: Path, step: int, items: dict) -> Any:
    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except (OSError, ValueError, KeyError, TypeError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{folder / str(step)}: cannot be restored ({line[:200]}); delete this folder to go on "
            "from an earlier one, or train again in a new --workdir"
        ) from error


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder}: checkpoint cannot be written ({error.strerror}); free space and run the same "
        "command again, it resumes from the last whole checkpoint"
    )


def _broadcast_json(content: dict) -> dict:
    if jax.process_count() == 1:
        return content
    raw = np.frombuffer(json.dumps(content).encode(), np.uint8)
    size = int(parallel.from_main(np.asarray(len(raw))))
    buffer = np.zeros(size, np.uint8)
    buffer[: min(size, len(raw))] = raw[:size]
    return json.loads(parallel.from_main(buffer).tobytes())
