"""Helpers of the tests of studies."""

import re

from irec_jax import cli
from irec_jax.cli.console import run_command


def irec(*words):
    """Return the exit code of `irec`, run in this process."""
    return run_command(lambda: cli.run(words))


def table_cells(page, row):
    """Return the cells of all table lines that begin with a name."""
    lines = re.findall(rf"^\| {re.escape(row)} +\|(.*)\|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]
