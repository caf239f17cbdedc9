"""What all command lines share: errors as one line, and a quiet console."""

import logging
import os
import sys
from collections.abc import Callable


def run_command(main: Callable[[], int | None]) -> int:
    """Runs a command; returns its exit code.

    A `UserError`, a full disk and an interrupt cost one line on stderr, not a traceback.
    """
    from irec_jax.errors import UserError

    _quiet()
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _quiet() -> None:
    """Libraries report only what went wrong, unless IREC_LOG=info asks for more."""
    if os.environ.get("IREC_LOG", "").lower() == "info":
        logging.basicConfig(level=logging.INFO)
        return
    for name in ("absl", "jax", "orbax", "grain", "tensorflow_datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
