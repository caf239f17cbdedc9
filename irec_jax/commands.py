"""What all command lines share: errors as one line, and a quiet console."""

import logging
import os
import sys
from collections.abc import Callable

import absl.logging

from irec_jax.errors import UserError


def run_command(main: Callable[[], int | None]) -> int:
    """Runs a command; returns its exit code.

    A `UserError`, a full disk and an interrupt cost one line on stderr, not a traceback.
    """
    _quiet()
    try:
        return main() or 0
    except UserError as error:
        return _end(f"error: {error}", 1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"error: {where}{error.strerror}", 1)
    except KeyboardInterrupt:
        return _end("interrupted; the same command goes on where it stopped", 130)


def _end(line: str, code: int) -> int:
    """Says why a command ends. One of several processes ends at once, since an orderly end would
    wait for the others; whoever started them sees its exit code and stops them."""
    print(line, file=sys.stderr, flush=True)
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1:
        sys.stdout.flush()
        os._exit(code)
    return code


def _quiet() -> None:
    """Libraries report only what went wrong, unless IREC_LOG=info asks for more."""
    if os.environ.get("IREC_LOG", "").lower() == "info":
        logging.basicConfig(level=logging.INFO)
        return
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax, TFDS and Grain speak through it
