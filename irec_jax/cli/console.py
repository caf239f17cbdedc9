"""What all command lines share: errors as one line, and a quiet console."""

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import absl.logging

from irec_jax.errors import UserError


def run_command(main: Callable[[], int | None]) -> int:
    """Runs a command; returns its exit code.

    A `UserError`, a full disk and an interrupt cost one line on stderr, not a traceback.
    """
    _quiet()
    try:
        with _interruptible():
            return main() or 0
    except UserError as error:
        return _end(f"error: {error}", 1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"error: {where}{error.strerror}", 1)
    except KeyboardInterrupt:
        return _end("interrupted; run the same command again to go on", 130)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is not lost where exceptions are ignored, as in JAX's garbage-collector callback; what
    ends jobs (SIGTERM) is the same, so that nothing half-written is left."""
    earlier = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def again(ignored) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, _thread.interrupt_main).start()  # outside of the callback
        else:
            earlier(ignored)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = earlier


def _end(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def exit_process(code: int) -> NoReturn:
    """Ends the process.

    An orderly end waits for the threads that compile or read ahead, which would keep an
    interrupted process for seconds or crash it, and for the other processes of a job, which would
    keep all of them for ever when one has failed. So only a job that went well ends that way; who
    started the others sees the exit code of the one that failed and stops them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    jax = sys.modules.get("jax")
    if code == 0 and jax is not None and jax.distributed.is_initialized():
        sys.exit(0)
    os._exit(code)


def _quiet() -> None:
    """Libraries report only what went wrong, unless IREC_LOG=info asks for more.

    What a terminal cannot show must not end a command either.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if os.environ.get("IREC_LOG", "").lower() == "info":
        logging.basicConfig(level=logging.INFO)
        return
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax, TFDS and Grain speak through it
