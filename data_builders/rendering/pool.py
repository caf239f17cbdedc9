"""Ordered parallel map over worker processes that import only the function they run.

Workers are started as ``python -m data_builders.rendering.pool`` and communicate through pipes.
Unlike multiprocessing workers, they never import the program that starts them, so they start
quickly even if that program uses JAX, and scripts need no ``if __name__ == "__main__"`` guard.
"""

import contextlib
import os
import pickle
import pkgutil
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from irec_jax.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(function: str, tasks: Iterable, *, num_workers: int | None = None) -> Iterator:
    """Call a function on each task in parallel and yield the results in order.

    Args:
        function: ``module:name`` of a one-argument function; arguments and results are pickled.
        tasks: arguments; at most two per worker are read ahead.
        num_workers: number of processes; None for one per core, 1 to run in this process.

    Yields:
        One result per task.

    Raises:
        UserError: if the function raises a UserError.
        RuntimeError: if the function raises any other exception in a worker (the message contains
            the traceback), or a worker dies.
    """
    num_workers = num_workers or num_cores()
    if num_workers == 1:
        yield from map(pkgutil.resolve_name(function), tasks)
        return
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
        threads = ThreadPoolExecutor(num_workers)
        workers = [_start(function) for _ in range(num_workers)]
        # After an error or interrupt, kill the workers first so that no thread waits for them.
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(_kill, workers)
        for worker in workers:
            idle.put(worker)
        pending = deque()
        for task in tasks:
            pending.append(threads.submit(_call, idle, task))
            if len(pending) >= 2 * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _start(function: str) -> subprocess.Popen:
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread per worker, since there is a worker per core.
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return subprocess.Popen(
        [sys.executable, "-m", __name__, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads, "PYTHONPATH": path},
        # Ctrl-C interrupts only this process, which then kills its workers.
        start_new_session=True,
    )


def _kill(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()
        for pipe in filter(None, (worker.stdin, worker.stdout)):
            with contextlib.suppress(OSError):
                pipe.close()


def _call(idle: SimpleQueue, task):
    """Send a task to an idle worker and return its result."""
    worker = idle.get()
    try:
        pickle.dump(task, worker.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        worker.stdin.flush()
        status, value = pickle.load(worker.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        raise RuntimeError(f"a worker died (exit code {worker.poll()}) on task {task!r}") from None
    finally:
        idle.put(worker)
    if status == "user error":
        raise UserError(value)
    if status == "error":
        raise RuntimeError(f"a worker failed on task {task!r}:\n{value}")
    return value


def _serve(function: str) -> None:
    """Run a worker: read tasks from stdin and write results to stdout until stdin ends."""
    tasks = sys.stdin.buffer
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # anything printed goes to stderr and cannot corrupt the results
    call = pkgutil.resolve_name(function)
    while True:
        try:
            task = pickle.load(tasks)
        except EOFError:
            return
        try:
            answer = ("result", call(task))
        except UserError as error:
            answer = ("user error", str(error))
        except Exception:
            answer = ("error", traceback.format_exc())
        pickle.dump(answer, results, protocol=pickle.HIGHEST_PROTOCOL)
        results.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
