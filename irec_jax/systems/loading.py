"""What all systems share: their workdirs, and audio that is an array."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from irec_jax import audio
from irec_jax.checkpoints import storage as checkpoints
from irec_jax.checkpoints.workdir import read_system
from irec_jax.errors import UserError
from irec_jax.tasks import Task

#: Sample rates that an array can have.
RATES_HZ = range(1000, 1_000_001)
#: Task -> what a system for it is called, and the command that applies it.
_KINDS = {
    "recognition": ("a recogniser", "irec recognize"),
    "separation": ("a separator", "irec separate"),
}


def open_system(workdir: Path, task: str) -> dict[str, Any]:
    """`system.json` of a workdir in which a system for this task was trained.

    Raises:
        UserError: no such folder, not a workdir, a workdir of another kind of system.
    """
    if not workdir.is_dir():
        raise UserError(f"{workdir}: no such folder; give the --workdir of a training")
    system = read_system(workdir)
    found = system.get("task")
    if found != task:
        wanted, _ = _KINDS[task]
        if found not in _KINDS:
            raise UserError(f"{workdir}: holds a system for {found!r}, not {wanted}")
        kind, command = _KINDS[found]
        raise UserError(
            f"{workdir}: holds {kind} ({system.get('name')}), not {wanted}; use it with {command}, "
            f"or give the workdir of {wanted}"
        )
    return system


def load_variables(workdir: Path, task: Task) -> tuple[Any, Any]:
    """Parameters and model state of the best checkpoint, on the host."""
    variables = jax.eval_shape(task.init, jax.random.key(0))
    return checkpoints.load_best_variables(workdir / "checkpoints", variables)


def check_array(samples: np.ndarray, sample_rate_hz: int | None) -> np.ndarray:
    """Samples of an array (T,) or (T, C) as float32 (T, C); UserError for what is not audio."""
    if sample_rate_hz is None:
        raise UserError("sample_rate: needed, in Hz, with an array")
    if sample_rate_hz not in RATES_HZ:
        raise UserError(
            f"sample_rate={sample_rate_hz!r}: a whole number of Hz from {RATES_HZ[0]} to "
            f"{RATES_HZ[-1]}, please"
        )
    if samples.ndim not in (1, 2) or not samples.size:
        raise UserError(f"array: expected samples (T,) or (T, C), not shape {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise UserError(f"array: shape {samples.shape} looks like (C, T); transpose it to (T, C)")
    if samples.dtype == np.int16:
        samples = audio.to_float32(samples)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"array: expected float in -1..1 or int16, not {samples.dtype}")
    samples = samples.reshape(len(samples), -1)
    if not np.isfinite(samples).all():
        raise UserError("array: has samples that are NaN or infinite; remove them")
    if np.abs(samples).max() > audio.MAX_SAMPLE:
        raise UserError(
            f"array: has samples above {audio.MAX_SAMPLE:.0e} times full scale; scale it"
        )
    return samples.astype(np.float32)
