"""Division of the runs of a study, or of the repeats of a training, among the jobs of an array."""

import argparse
import re
from collections.abc import Sequence
from typing import TypeVar

from irec_jax.errors import UserError

Item = TypeVar("Item")


def add_options(parser: argparse.ArgumentParser, items: str) -> None:
    """Add the options `--task` and `--collect`, of which only one can be given.

    Args:
        parser: parser of a command.
        items: what is divided, 'runs' or 'repeats'.
    """
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--task",
        metavar="I/N",
        help=f"execute every N-th of the {items} from the I-th on, in a job array; --collect then "
        "reports on all",
    )
    choice.add_argument(
        "--collect", action="store_true", help=f"report on the finished {items}, executing none"
    )


def parse_task(text: str | None) -> tuple[int, int] | None:
    """Return the number of a task, from 1, and the number of tasks in `I/N`; None for None.

    Raises:
        UserError: not two numbers with 1 <= I <= N.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise UserError(f"--task {text}: expected I/N with 1 <= I <= N, such as 2/5")
    return index, count


def select(items: Sequence[Item], task: tuple[int, int] | None) -> Sequence[Item]:
    """Return the items of task I of N: every N-th from the I-th on; None: all of them."""
    index, count = task or (1, 1)
    return items[index - 1 :: count]
