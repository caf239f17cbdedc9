"""Folders and reports of an experiment's repeats."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def read_reports(folders: dict[int, Path], settings: Mapping[str, Any]) -> dict[int, dict]:
    """Return the reports of the repeats that have finished, by seed.

    Args:
        folders: folder of each repeat, by seed.
        settings: `evaluation` section of the config.

    Raises:
        UserError: no repeat has finished, or one was evaluated with other settings.
    """
    files = {seed: folder / "report.json" for seed, folder in folders.items()}
    reports = {seed: read_json(file) for seed, file in files.items() if file.exists()}
    if not reports:
        parent = next(iter(folders.values())).parent
        raise UserError(f"{parent}: no repeat has finished; run the repeats without --collect")
    expected = json.loads(json.dumps(settings))
    for seed, report in reports.items():
        used = report.get("settings") or expected
        if changed := sorted(key for key in expected | used if expected.get(key) != used.get(key)):
            raise UserError(
                f"{files[seed]}: evaluated with other settings "
                f"({', '.join(f'evaluation.{key}' for key in changed)}); use the same settings for "
                "all repeats, or evaluate this one again with --mode=eval"
            )
    return reports
