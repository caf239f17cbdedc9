"""The `irec` command line: train systems, apply them to audio files, and prepare datasets.

Each command is a module with a `main(words)` function. Only the requested command's module is
imported, so that help and argument errors appear immediately.
"""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from irec_jax.cli.console import (
    command,
    exit_process,
    run_command,
    use_compilation_cache,
    use_utf8,
)
from irec_jax.text import printable

#: Command -> its description in `irec --help`.
COMMANDS = {
    "recognize": "recognise the instruments in audio files",
    "explain": "draw what a recogniser responds to in audio files",
    "separate": "separate music into target stems and the remainder",
    "debleed": "reduce the crosstalk between the tracks of a recording",
    "label": "find out when each track of a recording plays",
    "train": "train and evaluate a system from a config",
    "export": "export a trained recogniser to a folder for sharing",
    "study": "reproduce the tables and figures of a paper",
    "build": "prepare a dataset",
    "fetch-sounds": "fetch sound libraries for rendered datasets",
    "gallery": "draw training clips of every class in a dataset",
}

_CONTINUES = "run the same command again to continue"
_STARTS_OVER = "run the same command again to start over"
_KEEPS_FILES = "the results of finished files are kept"
#: Command -> end of the message after an interrupt. `recognize` prints its own message.
AFTER_INTERRUPT = {
    "explain": _KEEPS_FILES,
    "separate": _KEEPS_FILES,
    "debleed": _STARTS_OVER,
    "label": _STARTS_OVER,
    "train": _CONTINUES,
    "export": _STARTS_OVER,
    "study": _CONTINUES,
    "build": _STARTS_OVER,
    "fetch-sounds": _CONTINUES,
    "gallery": _STARTS_OVER,
}

#: Alternative spellings of commands.
ALIASES = {"recognise": "recognize"}


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose flags are spelled with hyphens; underscores are accepted as well.

    Abbreviated flags are rejected. `--config.key` flags keep the underscores in their keys.
    """

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)
        self._words: list[str] = []

    def add_argument(self, *names, **options):
        return super().add_argument(*map(_hyphenate, names), **options)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        self._words = [str(word) for word in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args([_hyphenate(word) for word in self._words], namespace)

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error, and exit; point out files that look like options."""
        files = [word for word in self._words if word[:1] == "-" and os.path.exists(word)]
        hint = f"; for the file {files[0]} write ./{files[0]}" if files else ""
        super().error(printable(message + hint))


def _hyphenate(word: str) -> str:
    """Replace underscores in a flag, but not in its value, with hyphens."""
    if not word.startswith("--") or word.startswith("--config."):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def run(words: Sequence[str] | None = None) -> int:
    """Run `irec` with the given arguments (by default `sys.argv[1:]`); return its exit code."""
    words = [str(word) for word in (sys.argv[1:] if words is None else words)]
    if words:
        words[0] = ALIASES.get(words[0], words[0])
    if words and words[0] in COMMANDS:
        module = importlib.import_module(f"irec_jax.cli.{words[0].replace('-', '_')}")
        with command(f"irec {words[0]}", after_interrupt(words[0], words)):
            return module.main(words[1:]) or 0
    parser = argparse.ArgumentParser(
        prog="irec", description=str(__doc__).splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"irec-jax {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text)
    parser.parse_args(words)  # prints the help or an error, and exits
    return 0


def after_interrupt(name: str, words: Sequence[str]) -> str:
    """Return the end of a command's message after an interrupt; empty if it only prints help."""
    prints_help = not {"-h", "--help"}.isdisjoint(words)
    return "" if prints_help else AFTER_INTERRUPT.get(name, "")


def _version() -> str:
    try:
        return importlib.metadata.version("irec-jax")
    except importlib.metadata.PackageNotFoundError:  # run from a source folder
        return "(not installed)"


def main() -> None:
    """Run `irec` as a console script."""
    use_utf8()
    use_compilation_cache()
    exit_process(run_command(run))
