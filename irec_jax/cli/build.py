"""`irec build`: prepare a dataset."""

from collections.abc import Sequence

import data_builders
from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments


def main(words: Sequence[str]) -> int:
    """Run `irec build`."""
    parser = CommandParser(
        prog="irec build",
        description="Prepare a dataset: render it, or read downloaded files.",
    )
    parser.add_argument("name", help=f"one of {', '.join(data_builders.DATASETS)}")
    parser.add_argument(
        "--data-dir", help="folder of prepared data (default: the TFDS data folder)"
    )
    parser.add_argument("--manual-dir", help="folder of manually downloaded files")
    for option, meaning in data_builders.OPTIONS.items():
        parser.add_argument(f"--{option}", help=meaning)
    arguments = vars(parser.parse_args(words))
    name = arguments.pop("name")
    options = {option: value for option, value in arguments.items() if value is not None}
    with named_arguments({option: f"--{option.replace('_', '-')}" for option in arguments}):
        print(f"ready in {data_builders.prepare(name, **options).data_dir}")
    return 0
