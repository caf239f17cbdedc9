"""Preemption: SIGTERM, with which schedulers end a job that they will start again.

Training saves a checkpoint first. In every other phase, and at a second SIGTERM, the process ends
at once.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

#: Exit code of a command that SIGTERM has ended: EX_TEMPFAIL, "try again later".
EXIT_CODE = 75


class Preempted(KeyboardInterrupt):
    """The command was ended by SIGTERM."""


class _State:
    deferred = requested = False


def install() -> None:
    """Raise Preempted at SIGTERM, except in a `deferred` block."""
    _State.deferred = _State.requested = False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handle)


def _handle(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second one ends the process
    if not _State.deferred:
        raise Preempted
    _State.requested = True


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Only record SIGTERM in this block, see `requested`; raise Preempted at its end if not before.

    No exception of the block is replaced.
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
    """Let the next SIGTERM end the process at once, in a `deferred` block too."""
    _State.deferred = False
