"""Timing of implementations that take turns in one process, and the options of all benchmarks."""

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType

from irec_jax.errors import UserError


def run(main: Callable[[list[str]], None], *, on_cpu: bool = False) -> None:
    """Run a benchmark with the command line's arguments, on the CPU if ``on_cpu``."""
    import jax

    context = jax.default_device(jax.local_devices(backend="cpu")[0]) if on_cpu else None
    try:
        with context or contextlib.nullcontext():
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))


def check_minimum(options: argparse.Namespace, **minimum: float) -> None:
    """Check that options are not below their minimum.

    Raises:
        UserError: if an option is too small, or NaN.
    """
    for name, least in minimum.items():
        value = getattr(options, name)
        if not min(value if isinstance(value, list) else [value]) >= least:
            raise UserError(f"--{name}={value}: expected {least} or more")


def import_peer(module: str) -> ModuleType:
    """Import a module of a peer, an implementation that we compare with.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{error}; install the peers with pip install 'irec-jax[peers]'") from error


def num_cores() -> int:
    """Return the number of cores of this process: the number of threads of each implementation."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def environment(packages: Iterable[str]) -> str:
    """Return the versions of packages, the processor and the number of threads in one line."""
    versions = []
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return f"{', '.join(versions)}; {cpu_model()}, {num_cores()} threads"


def alternate(
    calls: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int,
    num_warm_up: int = 3,
    pause_s: float = 0.02,
) -> dict[str, list[float]]:
    """Time implementations in turn.

    Each turn starts with a pause, in which the threads of the previous implementation stop
    spinning, and an untimed call, which wakes the threads and refills the caches. (With JAX and
    PyTorch on two idle cores, neither made a measurable difference.)

    Args:
        calls: name -> call that returns when its result is ready.
        num_rounds: number of turns, with one timed call each, of every implementation.
        num_warm_up: number of calls of every implementation before the first round (compilation).
        pause_s: pause before every turn.

    Returns:
        Name -> seconds of each round.
    """
    for call in calls.values():
        for _ in range(num_warm_up):
            call()
    seconds = {name: [] for name in calls}
    for _ in range(num_rounds):
        for name, call in calls.items():
            time.sleep(pause_s)
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: Mapping[str, Sequence[float]], *, ours: str) -> str:
    """Return a table of the median and minimum time, and the median relative to ours.

    A ratio above 1 means that the implementation is slower than ours.
    """
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    lines = [f"{'implementation':28} {'median':>11} {'minimum':>11} {'x ' + ours:>11}"]
    for name, median in medians.items():
        lines.append(
            f"{name:28} {1e3 * median:8.1f} ms {1e3 * min(seconds[name]):8.1f} ms "
            f"{median / medians[ours]:11.2f}"
        )
    return "\n".join(lines)
