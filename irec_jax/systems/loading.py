"""Loading of trained systems from workdirs and exported folders."""

import os
import sys
from pathlib import Path
from typing import Any

import jax

from irec_jax.checkpoints import storage
from irec_jax.checkpoints.workdir import read_system, system_errors
from irec_jax.errors import UserError
from irec_jax.tasks import Task
from irec_jax.text import to_unicode

#: Task -> description of its systems, and the command that applies them.
_KINDS = {
    "multi_instance": ("a recogniser", "irec recognize"),
    "recognition": ("a recogniser", "irec recognize"),
    "separation": ("a separator", "irec separate"),
}


def open_system(workdir: Path, *tasks: str) -> dict[str, Any]:
    """Check the folder of a trained system, and return the content of its `system.json`.

    Args:
        workdir: a workdir or a packaged system.
        *tasks: accepted tasks; the system must have been trained for one of them.

    Raises:
        UserError: if the path or the locale is not UTF-8, or the folder does not exist, is not a
            workdir, or contains a damaged packaged system or another kind of system.
    """
    if not _is_utf8(os.path.abspath(workdir)):
        raise UserError(
            f"{workdir}: the name or the locale is not UTF-8; rename the folder, or set "
            "PYTHONUTF8=1"
        )
    if not workdir.is_dir():
        raise UserError(f"{workdir}: no such folder; specify the --workdir of a trained system")
    system = read_system(workdir)
    actual = system.get("task")
    if actual not in tasks:
        expected, _ = _KINDS[tasks[0]]
        if actual not in _KINDS:
            raise UserError(
                f"{workdir}: system.json: unknown task {actual!r}; specify the workdir of "
                f"{expected}"
            )
        kind, command = _KINDS[actual]
        raise UserError(
            f"{workdir}: contains {kind} ({system.get('name')}), not {expected}; apply it with "
            f"{command}, or specify the workdir of {expected}"
        )
    return system


def _is_utf8(name: str) -> bool:
    """Return whether libraries that encode file names as UTF-8 can open a file with this name."""
    in_utf8 = sys.getfilesystemencoding() == "utf-8" and to_unicode(name) == name
    return in_utf8 or name.isascii()


def load_variables(workdir: Path, task: Task) -> tuple[Any, Any]:
    """Return the parameters and model state of a trained system, on the host."""
    with system_errors(workdir):
        variables = jax.eval_shape(task.init, jax.random.key(0))
    return storage.load_variables(workdir, variables)
