"""`irec`: trained systems applied to audio files, crosstalk reduced, and datasets prepared."""

import argparse
import importlib

from irec_jax.cli.console import exit_process, run_command
from irec_jax.cli.datasets import add_build, add_gallery
from irec_jax.cli.debleed import add_debleed
from irec_jax.cli.recognize import add_recognize
from irec_jax.cli.separate import add_separate
from irec_jax.studies import STUDIES


def parser() -> argparse.ArgumentParser:
    """The command line of all commands."""
    command = argparse.ArgumentParser(prog="irec", description=__doc__, allow_abbrev=False)
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_recognize(commands)
    add_separate(commands)
    add_debleed(commands)
    add_build(commands)
    add_gallery(commands)
    add_study(commands)
    return command


def add_study(commands) -> None:
    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="the tables of a paper",
        description="Makes the tables and figures of a paper, ours beside the reported ones.",
    )
    study.add_argument("name", choices=sorted(STUDIES), help="then its options; see NAME --help")
    study.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    study.set_defaults(run=make_study)


def make_study(arguments: argparse.Namespace) -> int:
    """`irec study NAME`: every study has options of its own."""
    # Late: a study imports all that it studies.
    module = importlib.import_module(STUDIES[arguments.name])
    options = argparse.ArgumentParser(
        prog=f"irec study {arguments.name}",
        description=module.__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    module.add_arguments(options)
    return module.run(options.parse_args(arguments.options))


def _main() -> int:
    arguments = parser().parse_args()
    return arguments.run(arguments)


def main() -> None:
    """Entry point of `irec`."""
    exit_process(run_command(_main))
