"""Folders and reports of an experiment's repeats."""

from pathlib import Path

from ml_collections import config_dict

from irec_jax.errors import UserError
from irec_jax.files import read_json


def run_folders(config: config_dict.ConfigDict, folder: Path) -> dict[int, Path]:
    """Return the folder of each repeat, by seed."""
    if config.training.repeats == 1:
        return {config.seed: folder}
    seeds = range(config.seed, config.seed + config.training.repeats)
    return {seed: folder / f"seed_{seed}" for seed in seeds}


def check_repeats(config: config_dict.ConfigDict) -> None:
    """Raise UserError if there is only one repeat, which cannot be divided among jobs."""
    if config.training.repeats == 1:
        raise UserError(
            "training.repeats=1: --task and --collect need several repeats; set it to 2 or more"
        )


def read_reports(folders: dict[int, Path]) -> dict[int, dict]:
    """Return the reports of the repeats that have finished, by seed.

    Raises:
        UserError: no repeat has finished.
    """
    files = {seed: folder / "report.json" for seed, folder in folders.items()}
    reports = {seed: read_json(file) for seed, file in files.items() if file.exists()}
    if not reports:
        parent = next(iter(folders.values())).parent
        raise UserError(f"{parent}: no repeat has finished; run the repeats without --collect")
    return reports
