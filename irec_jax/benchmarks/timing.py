"""What all benchmarks share: contestants that take turns in one process, medians and a table."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence


def num_cores() -> int:
    """Cores that this process may use: the number of threads each contestant gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def environment(packages: Iterable[str]) -> str:
    """Versions, processor and threads, one line."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass  # an optional contestant that does not take part
    return f"{', '.join(versions)}; {cpu_model()}, {num_cores()} threads"


def alternate(
    calls: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int,
    num_warm_up: int = 3,
    pause_s: float = 0.02,
) -> dict[str, list[float]]:
    """Seconds of every timed call, the contestants taking turns.

    Before a contestant's turn comes a pause, in which the other's threads stop spinning, and a
    call that is not timed, which wakes its own threads and brings its data back to the caches.
    (Of JAX and PyTorch with two threads on two idle cores neither made a measurable difference.)

    Args:
        calls: by name; each returns when its result is there.
        num_rounds: turns, and timed calls, of every contestant.
        num_warm_up: calls of every contestant before the first round (compilation).
        pause_s: seconds before every turn.

    Returns:
        Lists of num_rounds seconds, by name.
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
    """Median and least time of every contestant, and its median in units of ours.

    A ratio above 1 says that the contestant is slower than ours.
    """
    least = {name: min(s) for name, s in seconds.items()}
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    lines = [f"{'contestant':28} {'median':>11} {'least':>11} {'x ' + ours:>11}"]
    for name, median in medians.items():
        lines.append(
            f"{name:28} {1e3 * median:8.1f} ms {1e3 * least[name]:8.1f} ms "
            f"{median / medians[ours]:11.2f}"
        )
    return "\n".join(lines)
