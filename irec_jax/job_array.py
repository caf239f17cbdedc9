"""Job arrays whose tasks share the runs of a study or the repeats of a training run."""

import argparse
import re
from collections.abc import Sequence
from typing import TypeVar

from irec_jax.errors import UserError

Item = TypeVar("Item")


def add_options(parser: argparse.ArgumentParser, items: str) -> None:
    """Add the mutually exclusive options `--task` and `--collect`.

    Args:
        parser: the parser of a command.
        items: what the tasks share, 'runs' or 'repeats'.
    """
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--task",
        metavar="I/N",
        help=f"execute every N-th of the {items}, starting with the I-th, as one task of a job "
        "array; report on all of them afterwards with --collect",
    )
    choice.add_argument(
        "--collect",
        action="store_true",
        help=f"report on the finished {items} without executing any",
    )


def parse_task(text: str | None) -> tuple[int, int] | None:
    """Parse `I/N` and return the task number I (from 1) and the number of tasks N, or None.

    Raises:
        UserError: if the text does not consist of two numbers with 1 <= I <= N.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise UserError(f"--task {text}: expected I/N with 1 <= I <= N, such as 2/5")
    return index, count


def select(items: Sequence[Item], task: tuple[int, int] | None) -> Sequence[Item]:
    """Return the items for task I of N (the I-th and every N-th after it); all if task is None."""
    index, count = task or (1, 1)
    return items[index - 1 :: count]
