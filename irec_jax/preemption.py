"""Preemption by schedulers, which send SIGTERM to a job that they will restart later.

During training, a checkpoint is saved before the process ends. In every other phase, and on a
second SIGTERM, the process ends immediately.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

#: Exit code of a command that was ended by SIGTERM: EX_TEMPFAIL, "try again later".
EXIT_CODE = 75


class Preempted(KeyboardInterrupt):
    """Raised in the main thread when the command receives SIGTERM."""


class _State:
    deferred = requested = False


def install() -> None:
    """Install a handler that raises Preempted on SIGTERM, except in a `deferred` block."""
    _State.deferred = _State.requested = False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handle)


def _handle(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second SIGTERM ends the process
    if not _State.deferred:
        raise Preempted
    _State.requested = True


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Raise Preempted at the end of the block if SIGTERM arrives within it.

    Within the block, `requested` returns whether SIGTERM has arrived. An exception raised in the
    block takes precedence over Preempted.
    """
    _State.deferred = True
    try:
        yield
    finally:
        _State.deferred = False
    if _State.requested:
        raise Preempted


def requested() -> bool:
    """Return whether SIGTERM has arrived in the `deferred` block."""
    return _State.requested


def end_deferral() -> None:
    """Let the next SIGTERM end the process immediately, even in a `deferred` block."""
    _State.deferred = False
