"""Shared behaviour of the commands: one-line errors, interrupts and quiet libraries."""

import _thread
import contextlib
import hashlib
import io
import logging
import os
import platform
import re
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TextIO

import absl.logging

from irec_jax import preemption
from irec_jax.errors import UserError
from irec_jax.files import cache_folder
from irec_jax.text import printable, shorten, to_unicode

_COMMAND_NOTE, _AGAIN_NOTE = "command: ", "again: "


def use_utf8() -> None:
    """Restart the process in Python's UTF-8 mode if its locale has another encoding, such as ASCII.

    Libraries that store checkpoints encode file names as UTF-8 in any locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    sys.stdout.flush()
    os.environ["PYTHONUTF8"] = "1"  # for child processes
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def use_compilation_cache() -> None:
    """Let JAX store compiled programs in the user's cache folder, so that later starts are faster.

    This sets environment variables, which JAX reads when it is imported, and which child processes
    inherit. Nothing changes if the user has set `JAX_COMPILATION_CACHE_DIR`, or if the folder
    cannot be created.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = cache_folder() / "compiled" / _cpu_type()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # An entry that is incomplete, after a full disk or a killed process, is compiled again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def _cpu_type() -> str:
    """Return a name for the CPU's instruction sets, since computers may share a home folder."""
    features = platform.processor()
    with contextlib.suppress(OSError):  # Linux only
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                features = line
                break
    digest = hashlib.sha256(features.encode()).hexdigest()
    return f"{platform.machine()}-{digest[:8]}"


def run_command(main: Callable[[], int | None]) -> int:
    """Run a command; return its exit code.

    Errors and interrupts print one line to stderr, without a traceback; see `user_errors`. The exit
    code is 130 after Ctrl-C and `preemption.EXIT_CODE` after SIGTERM. After an interrupt, the line
    says whether the command can be continued; see `command`.
    """
    _quiet_libraries()
    try:
        with _interruptible(), user_errors("irec"):
            code = main() or 0
            sys.stdout.flush()  # a full disk or a closed pipe may show only now
            return code
    except BrokenPipeError:  # such as `irec ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except UserError as error:
        return _fail(f"error: {error}", 1)
    except preemption.Preempted as error:
        return _fail((str(error) or "ended by SIGTERM") + _again(error), preemption.EXIT_CODE)
    except KeyboardInterrupt as error:
        return _fail("interrupted" + _again(error), 130)


@contextlib.contextmanager
def command(name: str, again: str = "") -> Iterator[None]:
    """Attach the command's name to errors raised in the block, for `run_command` to print.

    Args:
        name: the command, such as 'irec separate'.
        again: the end of the message after an interrupt, which says how to continue or which
            results are kept.
    """
    try:
        yield
    except Exception as error:
        error.add_note(_COMMAND_NOTE + name)
        raise
    except KeyboardInterrupt as error:
        if again:
            error.add_note(_AGAIN_NOTE + again)
        raise


def _again(error: KeyboardInterrupt) -> str:
    """Return the end of the message after an interrupt; empty if the command has none."""
    return "".join(f"; {text}" for text in _notes(error, _AGAIN_NOTE)[-1:])


def _notes(error: BaseException, kind: str) -> list[str]:
    """Return the notes of one kind that `command` has added to an error, outermost last."""
    notes = getattr(error, "__notes__", ())
    return [note.removeprefix(kind) for note in notes if note.startswith(kind)]


@contextlib.contextmanager
def named_arguments(options: Mapping[str, str]) -> Iterator[None]:
    """Replace argument names with option names in UserErrors that the block raises.

    `strength=-1: expected ...` becomes `--strength=-1: expected ...`, `unknown method 'x'` becomes
    `unknown --method 'x'`, and `set path to ...` becomes `set --path to ...`.

    Args:
        options: function argument -> command-line option, such as `--hop-length`.
    """
    names = "|".join(sorted(options, key=len, reverse=True))
    argument = re.compile(
        rf"(?:(?<![\w./-])(?=(?:{names})=)|(?<=^unknown )|(?<=; set )|(?<= or set )"
        rf"|(?<= smaller ))({names})\b|^({names})(?= [^ :]+: )"
    )
    try:
        yield
    except UserError as error:
        text = argument.sub(lambda match: options[match[1] or match[2]], str(error))
        if text == str(error):
            raise
        raise UserError(text) from error


@contextlib.contextmanager
def user_errors(subject: str) -> Iterator[None]:
    """Convert every error to a UserError with a one-line message.

    The traceback of an unexpected error is saved to a temporary file, whose name is part of the
    message, or printed if the environment variable IREC_DEBUG is set.

    Args:
        subject: the file or program that an unexpected error concerns; see also `command`.
    """
    try:
        yield
    except (UserError, BrokenPipeError):
        raise
    except Exception as error:
        subject = [subject, *_notes(error, _COMMAND_NOTE)][-1]
        if isinstance(error, OSError) and error.strerror:  # such as a full disk
            name = error.filename if isinstance(error.filename, str | bytes) else subject
            raise UserError(f"{printable(name)}: {error.strerror}") from error
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message = f"{subject}: failed unexpectedly ({shorten(reason, 200, keep='start')})"
        raise UserError(f"{message}; {_keep_traceback(error)}") from error


def _keep_traceback(error: Exception) -> str:
    """Print or save a traceback and return the remedy for the user."""
    text = to_unicode("".join(traceback.format_exception(error)))
    if os.environ.get("IREC_DEBUG", "0") not in ("", "0"):
        print(text, file=sys.stderr, end="")
        return "report it with the traceback above"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="irec-traceback-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.write(text)
    except OSError:
        return "set IREC_DEBUG=1 to see the traceback"
    return f"report it with {file.name}, or set IREC_DEBUG=1 to see the traceback"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C, and Preempted for SIGTERM, wherever they arrive.

    Python ignores exceptions in some callbacks, such as JAX's garbage-collector callback; an
    interrupt in such a callback is repeated.
    """
    default_hook = sys.unraisablehook
    preemption.install()

    def repeat_interrupt(ignored) -> None:
        number = signal.SIGINT
        if issubclass(ignored.exc_type, preemption.Preempted):
            preemption.install()
            number = signal.SIGTERM
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            # The delay ensures that the callback has returned.
            threading.Timer(0.05, _thread.interrupt_main, (number,)).start()
        else:
            default_hook(ignored)

    sys.unraisablehook = repeat_interrupt
    try:
        yield
    finally:
        sys.unraisablehook = default_hook


def encodable(text: str, stream: TextIO) -> bool:
    """Return whether a stream can print a text."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def has_colour(stream: TextIO) -> bool:
    """Return whether to print ANSI colours: on a terminal with colours, unless NO_COLOR is set."""
    return (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def _fail(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code.

    A normal exit waits for threads that compile or read ahead, which delays an interrupted process
    by seconds or crashes it. It also waits for the other processes of a job, which blocks all of
    them if one has failed. Therefore only a successful multi-process job exits normally; if
    a process fails, the launcher sees its exit code and stops the other processes.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # reported by `run_command`
            stream.flush()
    jax = sys.modules.get("jax")
    if code == 0 and jax is not None and jax.distributed.is_initialized():
        sys.exit(0)
    os._exit(code)


def _quiet_libraries() -> None:
    """Show only errors from libraries, or all of their messages with IREC_LOG=info.

    Characters that the terminal cannot encode are replaced instead of raising an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if os.environ.get("IREC_LOG", "").lower() == "info":
        logging.basicConfig(level=logging.INFO)
        return
    absl.logging.set_verbosity(absl.logging.FATAL)  # used by orbax, TFDS and Grain
