"""Training and evaluation from a config: `python -m irec_jax.main --config=configs/han.py`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from irec_jax import distributed
from irec_jax.cli.console import exit_process, run_command
from irec_jax.errors import UserError

EPILOG = """
The part of --config behind a colon are arguments of the config file: flags and key=value, such as
  --config=configs/han.py:debug             everything once on tiny data, in seconds
  --config=configs/han.py:dataset=irmas     the real dataset; dataset=folder for your own sounds

Every value of the config can be set, and every argument of the things it names:
  --config.training.repeats=3
  --config.optimizer.name=adamw --config.optimizer.weight_decay=1e-4
  --config.profile.num_steps=5
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m irec_jax.main",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="the config")
    command.add_argument(
        "--workdir", metavar="DIR", help="where everything goes (default: runs/<config name>)"
    )
    command.add_argument(
        "--mode",
        choices=("train", "eval"),
        default="train",
        help="train (or resume) and evaluate, or evaluate what was trained",
    )
    command.add_argument(
        "--dry_run", action="store_true", help="print config, shapes and parameters, and stop"
    )
    return command


def overrides(words: Sequence[str]) -> list[tuple[str, str]]:
    """`--config.key=value` and `--config.key value` words to pairs.

    Raises:
        UserError: any other word, or a key without a value.
    """
    pairs, words = [], list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("--config."):
            raise UserError(f"unknown argument {word!r}: see python -m irec_jax.main --help")
        key, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise UserError(f"{word}: a value is missing, --config.{key}=VALUE")
            value = words.pop(0)
        pairs.append((key, value))
    return pairs


def main(words: Sequence[str] | None = None) -> None:
    known, rest = parser().parse_known_args(words)
    settings = overrides(rest)
    # Late, so that --help and a mistyped argument are answered at once.
    from irec_jax import config as configs
    from irec_jax import experiment
    from irec_jax.config.dry_run import dry_run

    config = configs.load(known.config)
    configs.override(config, settings)
    configs.check_keys(config)
    name = Path(known.config.partition(":")[0]).stem
    if known.dry_run:
        print(dry_run(config))
        return
    distributed.initialize()
    experiment.run(name, config, Path(known.workdir or f"runs/{name}"), known.mode)


if __name__ == "__main__":
    exit_process(run_command(main))
