"""Interleaved timing of implementations, and command-line options for the benchmarks."""

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
from typing import Any

from irec_jax.errors import UserError

#: Help text of the ``--rounds`` option.
ROUNDS = "number of rounds per implementation"


def run(main: Callable[[list[str]], None], *, on_cpu: bool = False) -> None:
    """Run a benchmark with the command-line arguments, on the CPU if ``on_cpu``."""
    import jax

    device = jax.local_devices(backend="cpu")[0] if on_cpu else None  # None: the default device
    try:
        with jax.default_device(device):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))


def parse_options(
    name: str, arguments: Sequence[str], **options: tuple[Any, Any, str]
) -> argparse.Namespace:
    """Parse a benchmark's command-line options.

    Args:
        name: name of the benchmark module.
        arguments: the command-line arguments.
        **options: default, limit and help text of each option. The default determines the type: a
            list means one or more values, and False means a flag. The limit is the minimum, a tuple
            of the allowed values, or None.

    Raises:
        UserError: if an option is too small or NaN.
    """
    parser = argparse.ArgumentParser(prog=f"python -m irec_jax.benchmarks.{name}")
    for option, (default, limit, text) in options.items():
        several = isinstance(default, list)
        kind = type(default[0] if several else default)
        settings: dict[str, Any] = dict(type=kind, nargs="+" if several else None, default=default)
        settings |= dict(choices=limit) if isinstance(limit, tuple) else {}
        settings = dict(action="store_true") if kind is bool else settings
        parser.add_argument(f"--{option}", help=text, **settings)
    parsed = parser.parse_args(arguments)
    for option, (_, limit, _) in options.items():
        value = getattr(parsed, option)
        values = value if isinstance(value, list) else [value]
        if isinstance(limit, int | float) and not min(values) >= limit:
            raise UserError(f"--{option}={value}: expected {limit} or more")
    return parsed


def import_peer(module: str) -> ModuleType:
    """Import a module of a peer (a package that irec-jax is compared with).

    Raises:
        UserError: if the peer is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{error}; install it with pip install 'irec-jax[peers]'") from error


def num_cores() -> int:
    """Return the number of available cores, which each implementation uses as its thread count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the name of the processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # missing outside Linux
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(packages: Iterable[str]) -> str:
    """Return the package versions, the processor and the number of threads on one line."""
    versions = []
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return f"{', '.join(versions)}; {cpu_model()}, {num_cores()} threads"


def alternate(
    calls: Mapping[str, Callable[[], object]], *, num_rounds: int, num_warm_up: int = 3
) -> dict[str, list[float]]:
    """Time implementations in alternation.

    Each timed call follows a pause of 20 ms, which lets the threads of the previous implementation
    stop spinning, and an untimed call, which wakes the threads and refills the caches. (With JAX
    and PyTorch on two idle cores, neither the pause nor the call made a measurable difference.)

    Args:
        calls: functions by name; each returns when its result is ready.
        num_rounds: number of rounds, each with one timed call per implementation.
        num_warm_up: number of untimed calls per implementation before the first round; the first
            of them includes compilation.

    Returns:
        The seconds per call in each round, by name.
    """
    for call in calls.values():
        for _ in range(num_warm_up):
            call()
    seconds = {name: [] for name in calls}
    for _ in range(num_rounds):
        for name, call in calls.items():
            time.sleep(0.02)
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: Mapping[str, Sequence[float]], *, ours: str) -> str:
    """Return a table of median and minimum times and the ratio of each median to ours."""
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    lines = [f"{'implementation':28} {'median':>11} {'minimum':>11} {'x ' + ours:>11}"]
    for name, median in medians.items():
        lines.append(
            f"{name:28} {1e3 * median:8.1f} ms {1e3 * min(seconds[name]):8.1f} ms "
            f"{median / medians[ours]:11.2f}"
        )
    return "\n".join(lines)
