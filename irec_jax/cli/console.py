"""Shared behaviour of the command lines: one-line errors, interrupts and quiet libraries."""

import _thread
import contextlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import absl.logging

from irec_jax.errors import UserError


def use_utf8() -> None:
    """Restart the process in Python's UTF-8 mode if its locale has another encoding, such as ASCII.

    Libraries that store checkpoints pass the names of files on as UTF-8 in any locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    sys.stdout.flush()
    os.environ["PYTHONUTF8"] = "1"  # for child processes
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def run_command(main: Callable[[], int | None]) -> int:
    """Run a command; return its exit code.

    A `UserError`, a full disk and an interrupt print one line to stderr, without a traceback.
    """
    _quiet_libraries()
    try:
        with _interruptible():
            return main() or 0
    except UserError as error:
        return _fail(f"error: {error}", 1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        file = f"{error.filename}: " if error.filename else ""
        return _fail(f"error: {file}{error.strerror}", 1)
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to continue", 130)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C and SIGTERM, wherever they arrive.

    Python ignores exceptions in some callbacks, such as JAX's garbage-collector callback; an
    interrupt there is raised again. SIGTERM, which ends jobs, is treated like Ctrl-C, so that no
    incomplete files remain.
    """
    default_hook = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def repeat_interrupt(ignored) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, _thread.interrupt_main).start()  # outside of the callback
        else:
            default_hook(ignored)

    sys.unraisablehook = repeat_interrupt
    try:
        yield
    finally:
        sys.unraisablehook = default_hook


def _fail(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code.

    A regular exit waits for threads that compile or read ahead, which delays an interrupted process
    by seconds or crashes it, and for the other processes of a job, which blocks all of them if one
    has failed. Therefore only a successful job of several processes exits regularly; its launcher
    sees the exit code of a failed process and stops the others.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    jax = sys.modules.get("jax")
    if code == 0 and jax is not None and jax.distributed.is_initialized():
        sys.exit(0)
    os._exit(code)


def _quiet_libraries() -> None:
    """Show only the errors of libraries, or all their messages with IREC_LOG=info.

    Characters that the terminal cannot encode are replaced instead of raising an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if os.environ.get("IREC_LOG", "").lower() == "info":
        logging.basicConfig(level=logging.INFO)
        return
    absl.logging.set_verbosity(absl.logging.FATAL)  # used by orbax, TFDS and Grain
