"""Whose folder a study's is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json


def claim(workdir: Path, settings: Mapping[str, Any]) -> None:
    """Writes down the settings of a study in its workdir.

    Args:
        workdir: the folder, there or not.
        settings: what its results depend on, as JSON holds it (no tuples).

    Raises:
        UserError: the workdir holds results of other settings (the differing keys are named).
    """
    file = workdir / "settings.json"
    # Where nothing came of a first try, such as one with a misspelled option, nothing is held.
    if file.exists() and any(path != file for path in workdir.iterdir()):
        earlier = read_json(file)
        keys = [key for key in settings | earlier if earlier.get(key) != settings.get(key)]
        if keys:
            raise UserError(
                f"{workdir}: holds a study with other settings ({', '.join(keys)}); choose "
                "another --workdir, or delete this one"
            )
    write_json(file, settings)
