"""Where a report comes from: data, command, code, versions and hardware.

No path of the machine is written down but what the user typed.
"""

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

#: Distributions whose versions change results or their speed.
LIBRARIES = (
    "irec-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "scikit-learn",
    "librosa",
    "soundfile",
    "soxr",
    "grain",
    "tensorflow-datasets",
    "array-record",
)


def collect(
    *,
    dataset: str,
    version: str,
    config: str,
    split: str,
    seed: int,
    durations_s: Mapping[str, float] | None = None,
) -> dict:
    """Provenance of a report made by this process.

    Args:
        dataset: builder's name.
        version: builder's version.
        config: builder's config (size and audio format).
        split: the split that was scored.
        seed: of the run.
        durations_s: what took how long, in seconds.
    """
    return {
        "dataset": {"name": dataset, "version": version, "config": config, "split": split},
        "seed": seed,
        "command": command(),
        "git": git(Path(__file__).resolve().parents[2]),
        "versions": versions(),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "durations_s": {name: round(value, 3) for name, value in (durations_s or {}).items()},
    }


def command() -> str:
    """The command line as it could be typed: `python -m package.module`, or the script's name."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        start = ["python", "-m", spec.name.removesuffix(".__main__")]
    else:
        start = [Path(sys.argv[0]).name] if sys.argv[0] else ["python"]
    return shlex.join([*start, *sys.argv[1:]])


def git(folder: Path) -> dict | None:
    """``commit`` and whether tracked files differ from it (``dirty``); None outside a checkout.

    Only a checkout whose top is ``folder`` itself counts: a package installed inside another
    project's checkout has nothing to do with that project's commit.
    """

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top, commit = ask("rev-parse", "--show-toplevel"), ask("rev-parse", "HEAD")
    if not top or not commit or Path(top).resolve() != folder.resolve():
        return None
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}


def versions() -> dict[str, str]:
    """Versions of Python and of the installed ones among `LIBRARIES`."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict:
    """Devices that JAX computes on, processes, CPU model and the cores this process may use."""
    devices = jax.devices()
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "devices": {
            kind: sum(d.device_kind == kind for d in devices)
            for kind in sorted({d.device_kind for d in devices})
        },
        "platform": jax.default_backend(),
        "num_processes": jax.process_count(),
        "cpu": _cpu_model(),
        "num_cores": len(usable(0)) if usable else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
