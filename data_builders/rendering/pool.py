"""Runs a function over tasks on all cores, in order, in processes that import nothing else.

Workers are started as ``python -m data_builders.rendering.pool`` and talk through pipes: unlike
those of multiprocessing they never import the program that starts them, so a program full of JAX
stays out of them, and a script without a main guard is safe.
"""

import contextlib
import importlib
import os
import pickle
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
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(function: str, tasks: Iterable, *, num_workers: int | None = None) -> Iterator:
    """Results of a function, in the order of the tasks.

    Args:
        function: ``module:name`` of a function of one argument; argument and result are pickled.
        tasks: arguments; a few more than there are workers are taken ahead.
        num_workers: processes; None for one a core, 1 for none beside this one.

    Yields:
        One result a task.

    Raises:
        UserError: the function raised one.
        RuntimeError: the function failed otherwise, with its traceback, or a worker died.
    """
    num_workers = num_workers or num_cores()
    if num_workers == 1:
        yield from map(_resolve(function), tasks)
        return
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
        threads = ThreadPoolExecutor(num_workers)
        workers = [_start(function) for _ in range(num_workers)]
        # Left by an error or an interrupt: first end the workers, then no thread waits for one.
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(_end, workers)
        for worker in workers:
            idle.put(worker)
        waiting = deque()
        for task in tasks:
            waiting.append(threads.submit(_ask, idle, task))
            if len(waiting) >= 2 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _start(function: str) -> subprocess.Popen:
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread each: the cores are shared out already.
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return subprocess.Popen(
        [sys.executable, "-m", __name__, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads, "PYTHONPATH": path},
        # Ctrl-C goes to this process alone, which then ends its workers.
        start_new_session=True,
    )


def _end(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def _ask(idle: SimpleQueue, task):
    worker = idle.get()
    try:
        pickle.dump(task, worker.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        worker.stdin.flush()
        kind, value = pickle.load(worker.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        raise RuntimeError(f"a worker died (exit code {worker.poll()}) at {task!r}") from None
    finally:
        idle.put(worker)
    if kind == "user error":
        raise UserError(value)
    if kind == "error":
        raise RuntimeError(f"a worker failed at {task!r}:\n{value}")
    return value


def _resolve(function: str):
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


def _serve(function: str) -> None:
    """A worker: tasks from stdin, results to stdout, until stdin ends."""
    tasks = sys.stdin.buffer
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not disturb the results
    call = _resolve(function)
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
