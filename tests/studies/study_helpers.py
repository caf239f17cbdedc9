"""Helpers of the tests of studies."""

import dataclasses
import re

from irec_jax import cli
from irec_jax.cli.console import run_command
from irec_jax.studies import runs


def irec(*words):
    """Return the exit code of `irec`, run in this process."""
    return run_command(lambda: cli.run(words))


def use_small_networks(patch):
    """Give the ConvNets of a study few filters, in as many blocks as Han's network has."""
    resolve, small = runs.resolve, (("model.filters", "(4, 4, 8, 8)"), ("model.dense", "16"))

    def resolve_small(run):
        return resolve(dataclasses.replace(run, overrides=(*run.overrides, *small)))

    patch.setattr(runs, "resolve", resolve_small)


def table_cells(page, row):
    """Return the cells of all table lines that begin with a name."""
    lines = re.findall(rf"^\| {re.escape(row)} +\|(.*)\|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]
