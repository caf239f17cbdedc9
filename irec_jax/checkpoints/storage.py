"""Checkpoints of a run: the latest state, and the state with the best validation result.

Only process 0 accesses the disk; it broadcasts the arrays that it reads, and its errors. It writes
in a background thread while training continues.
"""

import concurrent.futures
import contextlib
import dataclasses
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from irec_jax import distributed
from irec_jax.checkpoints import packaged
from irec_jax.checkpoints.checksums import verify, write_checksums
from irec_jax.checkpoints.mirror import Mirror
from irec_jax.checkpoints.state import TrainState
from irec_jax.errors import UserError
from irec_jax.files import read_json, temporary_file_error
from irec_jax.remote import check_guard


class Checkpoints:
    """Context manager for the checkpoints of a run.

    If the latest checkpoint is damaged and there is an earlier one, the damaged one is renamed and
    not used. At the end of the block, the program waits until the last save is complete.

    Attributes:
        note: a message about the renamed checkpoint, or "".
    """

    def __init__(self, folder: Path):
        self._name = folder
        self._manager: ocp.CheckpointManager | None = None
        self._saving: concurrent.futures.Future | None = None
        self.note: str = distributed.on_main(self._open)

    def _open(self) -> str:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._mirror = Mirror(self._name)
        self._folder = self._mirror.local
        with contextlib.ExitStack() as stack:
            stack.callback(self._mirror.close)
            self._mirror.fetch()
            with self._mirror.errors(), _read_errors(self._folder), self._write_errors():
                self._folder.mkdir(parents=True, exist_ok=True)
                note = _rename_damaged(self._folder)
                manager = _create_manager(self._folder, read_only=False)
            self._mirror.publish()
            stack.pop_all()
        self._manager = manager
        return self._mirror.rename(note)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # The error that ended the block is raised, rather than a later error from the last save.
        with contextlib.suppress(UserError) if isinstance(error, UserError) else _NOTHING:
            self.close()

    def save(self, state: TrainState, progress: dict, rank: float | None) -> None:
        """Write a checkpoint in the background, once the previous save is complete.

        Args:
            state: unreplicated state on the host, which must not be modified afterwards; ignored on
                processes other than 0.
            progress: JSON-serialisable record of the training loop, which must not be modified
                either.
            rank: a number below all earlier ranks if this state is the best so far, otherwise None.

        Raises:
            UserError: if the disk is full, or the previous checkpoint could not be written.
        """
        if self._manager is None:
            return
        self.wait()
        with self._write_errors():
            _check_free_space(self._folder, state)
        self._saving = self._thread.submit(self._write, self._manager, state, progress, rank)

    def wait(self) -> None:
        """Wait until the last save is complete; raise UserError if it failed."""
        if self._saving is not None:
            concurrent.futures.wait([self._saving])
            saving, self._saving = self._saving, None
            saving.result()

    def check(self) -> None:
        """Raise UserError if the last save has already failed, without waiting for it."""
        if self._saving is not None and self._saving.done():
            self.wait()

    def _write(
        self, manager: ocp.CheckpointManager, state: TrainState, progress: dict, rank: float | None
    ) -> None:
        """Write a checkpoint; called in the background thread."""
        step = int(state.step)
        variables, rest = _split_state(state)
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            rest=ocp.args.StandardSave(rest),
            progress=ocp.args.JsonSave(progress),
        )
        metrics = None if rank is None else {"rank": rank}
        with self._write_errors():
            check_guard(self._name)
            if step not in manager.all_steps():
                manager.save(step, args=items, metrics=metrics)
                write_checksums(self._folder / str(step))
        self._mirror.publish()

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Convert errors caused by a full disk or a read-only folder to UserError."""
        with self._mirror.errors(), _write_errors(self._folder, is_copy=self._mirror.is_copy):
            yield

    def latest(self, target: TrainState) -> tuple[TrainState, dict] | None:
        """Return the state and the progress of the latest checkpoint, or None if there is none.

        Args:
            target: an unreplicated state with the expected shapes.
        """
        return self._read(target, ocp.CheckpointManager.latest_step)

    def best(self, target: TrainState) -> tuple[TrainState, dict]:
        """Return the best checkpoint's state and progress; raise UserError if there is none."""
        best = self._read(target, ocp.CheckpointManager.best_step)
        if best is None:
            raise UserError(f"{self._name}: no checkpoint; train first (--mode=train)")
        return best

    def _read(self, target: TrainState, select_step: Any) -> tuple[TrainState, dict] | None:
        variables, rest = _split_state(jax.device_get(target))
        items = {
            "variables": ocp.args.StandardRestore(variables),
            "rest": ocp.args.StandardRestore(rest),
            "progress": ocp.args.JsonRestore(),
        }
        arrays = {"variables": variables, "rest": rest}

        def restore() -> dict | None:
            assert self._manager is not None  # opened on process 0, the only one that runs this
            self.wait()
            with self._mirror.errors():
                restored = _restore(self._manager, self._folder, select_step, items)
            if restored is None:
                return None
            arrays.update({name: restored[name] for name in arrays})
            return restored["progress"]

        progress = distributed.on_main(restore)
        if progress is None:
            return None
        return _join_state(**distributed.from_main(arrays)), progress

    def close(self) -> None:
        """Wait until the last save is complete; raise UserError if it failed."""
        if self._manager is None:
            return
        manager, self._manager = self._manager, None
        try:
            self.wait()
            with self._write_errors():
                manager.close()
        finally:
            self._thread.shutdown()
            self._mirror.close()


_NOTHING = contextlib.nullcontext()
_VARIABLES = ("params", "model_state")


def load_variables(folder: Path, target: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return a trained system's parameters and model state, on the host of every process.

    Args:
        folder: a workdir, whose best checkpoint is read, or a packaged system.
        target: parameters and model state with the expected shapes and types.

    Raises:
        UserError: if there is no checkpoint, or a file is damaged; the message names the file.
    """
    if not distributed.on_main(lambda: packaged.is_packaged(folder)):
        return load_best_variables(folder / "checkpoints", target)
    variables = [_zeros(target)]

    def read() -> None:
        variables[0] = packaged.read_variables(folder, target)

    distributed.on_main(read)
    return distributed.from_main(variables[0])


def load_best_variables(folder: Path, target: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the best checkpoint's parameters and model state, on the host of every process.

    Args:
        folder: checkpoint folder of a run; opened read-only.
        target: parameters and model state with the expected shapes and types.

    Raises:
        UserError: if there is no checkpoint, or it is damaged; the message names the file.
    """
    variables = dict(zip(_VARIABLES, _zeros(target), strict=True))

    def restore() -> None:
        items = {"variables": ocp.args.StandardRestore(variables)}
        restored = _read_only(folder, ocp.CheckpointManager.best_step, items)
        variables.update(restored["variables"])

    distributed.on_main(restore)
    variables = distributed.from_main(variables)
    return variables["params"], variables["model_state"]


def _zeros(target: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), target)


def has_finished(folder: Path) -> bool:
    """Return, on every process, whether a run has finished training.

    Only the progress record is read, without copying a remote checkpoint. A damaged record counts
    as not finished.
    """

    def read() -> bool:
        steps = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
        if not steps:
            return False
        with contextlib.suppress(UserError, KeyError, TypeError):
            return read_json(folder / str(max(steps)) / "progress" / "metadata")["finished"]
        return False

    return distributed.on_main(read)


def load_history(folder: Path) -> list[dict[str, float]]:
    """Return, on every process, one record per epoch from the latest checkpoint of a run."""

    def restore() -> list:
        items = {"progress": ocp.args.JsonRestore()}
        return _read_only(folder, ocp.CheckpointManager.latest_step, items)["progress"]["history"]

    return distributed.on_main(restore)


def _read_only(folder: Path, select_step: Any, items: dict) -> dict:
    """Restore items from a checkpoint folder without writing to it."""
    restored = None
    with contextlib.closing(Mirror(folder)) as mirror:
        if mirror.fetch():
            with mirror.errors(), contextlib.ExitStack() as stack:
                with _read_errors(folder):
                    manager = _create_manager(mirror.local, read_only=True)
                stack.callback(manager.close)
                restored = _restore(manager, mirror.local, select_step, items)
    if restored is None:
        raise UserError(f"{folder}: no checkpoint; train first (irec train CONFIG)")
    return restored


def _steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in ascending order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def _rename_damaged(folder: Path) -> str:
    """Rename the latest checkpoint if it is damaged and there is an earlier one.

    Returns:
        A message about the renamed checkpoint, or "".
    """
    *earlier, last = _steps(folder) or [0]
    if not earlier:
        return ""
    try:
        verify(folder / str(last))
    except UserError as error:
        damaged = folder / f"{last}.damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        (folder / str(last)).rename(damaged)
        problem = str(error).partition(";")[0]
        return (
            f"{problem}; using the checkpoint after step {earlier[-1]} (the damaged one was "
            f"renamed to {damaged})"
        )
    return ""


def _create_manager(folder: Path, *, read_only: bool) -> ocp.CheckpointManager:
    """Verify the metrics, and return a manager that keeps the latest and the best checkpoint."""
    for step in _steps(folder):
        verify(folder / str(step), ["metrics"])
    best = BestN(get_metric_fn=_rank, reverse=True, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
        best_fn=_rank,
        best_mode="min",
        cleanup_tmp_directories=not read_only,
        save_root_metadata=not read_only,
        create=False,
        # `Checkpoints` has its own thread, which also writes the checksums; orbax's thread would
        # bury the report of a full disk in tracebacks.
        enable_async_checkpointing=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="main"
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _rank(metrics: dict[str, float]) -> float:
    return metrics["rank"]


def _split_state(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables that a trained system needs, and the fields that only training needs.

    With a moving average, the first part is the average, and the second part has the current
    variables under `current`.
    """
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    current = {name: fields.pop(name) for name in _VARIABLES}
    if fields.pop("ema") is None:
        return current, fields
    return dict(zip(_VARIABLES, state.eval_variables, strict=True)), fields | {"current": current}


def _join_state(variables: dict[str, Any], rest: dict[str, Any]) -> TrainState:
    """Rebuild the state from the parts that `_split_state` returned."""
    if "current" not in rest:
        return TrainState(**variables, **rest)
    current, ema = rest.pop("current"), tuple(variables[name] for name in _VARIABLES)
    return TrainState(**current, **rest, ema=ema)


def _restore(manager: ocp.CheckpointManager, folder: Path, select_step: Any, items: dict) -> Any:
    """Return the items of the step `select_step(manager)`, or None if there is no such step."""
    with _read_errors(folder):
        step = select_step(manager)
    if step is None:
        return None
    with _read_errors(folder / str(step)):
        verify(folder / str(step), items)
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Convert orbax errors caused by damaged checkpoints to UserError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({_reason(error)}); delete the damaged checkpoint to continue "
            "from an earlier one, or train again in a new --workdir"
        ) from error


@contextlib.contextmanager
def _write_errors(folder: Path, *, is_copy: bool) -> Iterator[None]:
    """Convert full-disk and read-only-folder errors to UserError; see `Mirror.is_copy`."""
    try:
        yield
    except (OSError, ValueError) as error:
        if is_copy:
            raise temporary_file_error(_reason(error)) from error
        steps = _steps(folder)
        rest = f" to resume after step {steps[-1]}" if steps else ""
        raise UserError(
            f"{folder}: checkpoint cannot be written ({_reason(error)}); {_remedy(error)} and run "
            f"the same command again{rest}"
        ) from error


def _remedy(error: Exception) -> str:
    """Return what to do after a failure to write; errors of tensorstore have no error number."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make the folder writable"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "space" in str(error):
        return "free space"
    return "check the disk"


def _check_free_space(folder: Path, state: TrainState) -> None:
    """Raise OSError if the disk does not have enough space for a state."""
    needed = sum(array.nbytes for array in jax.tree.leaves(state)) + 1_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")


def _reason(error: Exception) -> str:
    """Return the first line of an error message, or only its end if the line is long."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= 160 else "... " + line[-160:]
