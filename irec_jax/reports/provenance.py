"""Provenance of a report: data, command, code, versions and hardware.

The only paths recorded are those on the user's command line.
"""

import collections
import contextlib
import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jax

#: Packages whose versions affect results or speed.
LIBRARIES = (
    "irec-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "librosa",
    "soundfile", "soxr", "grain", "tensorflow-datasets", "array-record",
)  # fmt: skip


def collect(
    *,
    dataset: str,
    version: str,
    config: str,
    split: str,
    seed: int,
    durations_s: Mapping[str, float] | None = None,
) -> dict:
    """Return the provenance of a report written by this process.

    Args:
        dataset, version, config: name, version and config (size and audio format) of the dataset.
        split: split that was scored.
        seed: random seed of the run.
        durations_s: duration of each phase in seconds, by name.
    """
    data = {"name": dataset, "version": version, "config": config, "split": split}
    return {"dataset": data, "seed": seed, **environment(durations_s)}


def environment(durations_s: Mapping[str, float] | None = None) -> dict:
    """Return the provenance without the dataset and the seed; see `collect`."""
    return {
        "command": command(),
        "git": git(Path(__file__).resolve().parents[2]),
        "versions": versions(),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "durations_s": {name: round(value, 3) for name, value in (durations_s or {}).items()},
    }


def command() -> str:
    """Return the command line, starting with `python -m package.module` or the script's name."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        start = ["python", "-m", spec.name.removesuffix(".__main__")]
    else:
        start = [Path(sys.argv[0]).name] if sys.argv[0] else ["python"]
    return shlex.join([*start, *sys.argv[1:]])


def git(folder: Path) -> dict | None:
    """Return the ``commit`` of a checkout, and whether it is ``dirty``; None outside a checkout.

    A checkout is dirty if tracked files differ from the commit. ``folder`` must be its top level,
    because a package installed inside another project's checkout does not belong to that project's
    commit.
    """

    def run_git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top, commit = run_git("rev-parse", "--show-toplevel"), run_git("rev-parse", "HEAD")
    if not top or not commit or Path(top).resolve() != folder.resolve():
        return None
    changes = run_git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed `LIBRARIES`."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def hardware() -> dict:
    """Return the JAX devices, the CPU model, and the numbers of processes and usable cores."""
    kinds = collections.Counter(device.device_kind for device in jax.devices())
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "devices": dict(sorted(kinds.items())),
        "platform": jax.default_backend(),
        "num_processes": jax.process_count(),
        "cpu": _cpu_model(),
        "num_cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):  # only Linux has this file
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
