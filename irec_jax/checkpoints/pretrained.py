"""Systems that come with irec-jax: packaged systems in `irec_jax/pretrained`."""

import os
from collections.abc import Sequence
from pathlib import Path

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.remote import is_remote

#: Folder that contains one folder for each packaged system.
FOLDER = Path(__file__).parents[1] / "pretrained"
#: Name of the default recogniser.
DEFAULT = "instruments"


def names() -> list[str]:
    """Return the sorted names of the systems; the list is empty if irec-jax came without any."""
    return sorted(path.name for path in FOLDER.glob("[!._]*") if path.is_dir())


def find(name: str | None = None) -> Path:
    """Return the folder of a system, or of the default recogniser if the name is None.

    Raises:
        UserError: if the name is unknown (the message suggests a similar one), or irec-jax came
            without systems.
    """
    known = names()
    if not known:
        named = "" if name is None else f"{name}: "
        raise UserError(
            f"{named}no trained system comes with this version of irec-jax; specify the workdir of "
            "one, or train one with: python -m irec_jax.main --config=configs/han.py --workdir=DIR"
        )
    name = DEFAULT if name is None else name
    if name not in known:
        raise registry.unknown("trained system", name, known)
    return FOLDER / name


def resolve(workdirs: Sequence[str | os.PathLike], models: Sequence[str]) -> dict[str, Path]:
    """Return the folders of trained systems, keyed by name.

    Args:
        workdirs: folders; the name of each system is the path as given.
        models: names of systems that come with irec-jax. If both arguments are empty, the default
            recogniser is used.

    Raises:
        UserError: if a system is named twice; see also `find`.
    """
    folders = [(path, expand_home(path, urls=True)) for path in workdirs]  # rejects invalid paths
    named = [(os.fsdecode(path), folder) for path, folder in folders]
    named += [(model, find(model)) for model in models]
    if not named:
        named = [(DEFAULT, find())]
    systems: dict[str, Path] = {}
    for name, folder in named:
        if name in systems or _resolve(folder) in map(_resolve, systems.values()):
            raise UserError(f"{name}: named twice; list each system once")
        systems[name] = folder
    return systems


def _resolve(folder: Path) -> Path:
    return folder if is_remote(folder) else folder.resolve()


def locate(name: str) -> Path:
    """Return the folder of a trained system.

    Args:
        name: `pretrained` for the default recogniser, the name of another system that comes with
            irec-jax, or a folder.

    Raises:
        UserError: if there is no such system or folder, or irec-jax came without systems.
    """
    if name == "pretrained":
        return find()
    if name in names():
        return find(name)
    folder = expand_home(name, urls=True)
    if not folder.is_dir():
        known = ", ".join(["pretrained", *names()])
        raise UserError(
            f"{name}: no such folder; specify a workdir, an exported folder, or {known}"
        )
    return folder
