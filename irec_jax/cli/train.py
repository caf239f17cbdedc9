"""Train and evaluate a system from a config.

`irec train CONFIG` and `python -m irec_jax.main --config=CONFIG` are equivalent. With both,
a config can name modules in the current folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from irec_jax import distributed, job_array
from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments
from irec_jax.errors import UserError

EPILOG = """
Arguments of the config file follow its name after a colon: flags and key=value, such as
  configs/han.py:debug             a complete run on tiny data in a minute (U-Net: a few minutes)
  configs/han.py:dataset=irmas     the real dataset; dataset=folder for your own sounds

Every value in the config, and every argument of the objects that it names, can be set:
  --config.training.repeats=3
  --config.optimizer.name=adamw --config.optimizer.weight_decay=1e-4
  --config.profile.num_steps=5
"""


def main(words: Sequence[str]) -> None:
    """Run `irec train CONFIG`."""
    # As with `python -m`, modules in the current folder can be imported. The folder is added at the
    # end of the path, so that its contents do not hide installed packages.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    train(words, "config", prog="irec train")


def train(words: Sequence[str] | None, config_argument: str, *, prog: str) -> None:
    """Train and evaluate a system, or print its config and parameter count.

    Args:
        words: command-line arguments, by default `sys.argv[1:]`.
        config_argument: 'config' for a positional argument, or '--config'.
        prog: command name.
    """
    words = sys.argv[1:] if words is None else words
    words, overrides = _split_overrides([str(word) for word in words])
    arguments, rest = _parser(config_argument, prog).parse_known_args(words)
    if rest:
        raise UserError(f"unknown argument {rest[0]!r}; see {prog} --help")
    if arguments.workdir == "":
        raise UserError("--workdir: empty name; specify a folder, or omit the option")
    # Imported here, so that --help and argument errors appear immediately.
    import data_builders
    from irec_jax import config as configs
    from irec_jax import experiment
    from irec_jax.config.dry_run import dry_run

    part = job_array.parse_task(arguments.task)
    name = Path(arguments.config.partition(":")[0]).stem
    keys = {option: f"--config.data.{option}" for option in (*data_builders.OPTIONS, "manual_dir")}
    keys["data_dir"] = "--config.data.dir"
    config = configs.load(arguments.config)
    with named_arguments(keys):  # errors name dataset options as --config.data flags
        configs.override(config, overrides)
        configs.check_keys(config)
        if arguments.dry_run:
            print(dry_run(config))
            return
        distributed.initialize()
        experiment.run(
            name,
            config,
            arguments.workdir or f"runs/{name}",
            arguments.mode,
            part=part,
            collect=arguments.collect,
        )


def _parser(config_argument: str, prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog,
        usage=f"{prog} {'CONFIG' if config_argument == 'config' else '--config=CONFIG'} "
        "[--workdir=DIR] [--mode=train|eval] [--dry-run] [--task=I/N | --collect] "
        "[--config.KEY=VALUE ...]",
        description="Train and evaluate a system from a config.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    required = {"required": True} if config_argument.startswith("-") else {}
    parser.add_argument(
        config_argument, metavar="FILE[:ARGS]", help="config file and its arguments", **required
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder for all results; may be a URL (default: runs/<config name>)",
    )
    parser.add_argument(
        "--mode",
        choices=("train", "eval"),
        default="train",
        help="train (or resume) and evaluate, or only evaluate a trained system",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved config, shapes and the parameter count, then exit",
    )
    job_array.add_options(parser, "repeats")
    return parser


def parse_overrides(words: Sequence[str], prog: str = "irec train") -> list[tuple[str, str]]:
    """Return (key, value) pairs from `--config.key=value` and `--config.key value` arguments.

    Raises:
        UserError: if there is any other argument, or a key without a value.
    """
    others, pairs = _split_overrides(words)
    if others:
        raise UserError(f"unknown argument {others[0]!r}; see {prog} --help")
    return pairs


def _split_overrides(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the arguments that do not override the config, and (key, value) pairs of the others.

    Raises:
        UserError: if a key has no value.
    """
    others, pairs, words = [], [], list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("--config."):
            others.append(word)
            continue
        key, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise UserError(f"{word}: a value is missing; expected --config.{key}=VALUE")
            value = words.pop(0)
        pairs.append((key, value))
    return others, pairs
