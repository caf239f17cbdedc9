"""Systems that come with irec-jax: packaged systems in the folder `irec_jax/pretrained`."""

import os
from collections.abc import Sequence
from pathlib import Path

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.remote import is_remote

#: Folder of the packaged systems, one folder each.
FOLDER = Path(__file__).parents[1] / "pretrained"
#: Name of the recogniser that is used unless another system is named.
DEFAULT = "instruments"


def names() -> list[str]:
    """Return the names of the systems, sorted; none if irec-jax came without any."""
    return sorted(path.name for path in FOLDER.glob("[!._]*") if path.is_dir())


def find(name: str | None = None) -> Path:
    """Return the folder of a system; None: the default recogniser.

    Raises:
        UserError: unknown name (a similar one is suggested), or irec-jax came without systems.
    """
    known = names()
    if not known:
        named = "" if name is None else f"{name}: "
        raise UserError(
            f"{named}no trained system comes with this version of irec-jax; name the workdir of "
            "one, or train one with: python -m irec_jax.main --config=configs/han.py --workdir=DIR"
        )
    name = DEFAULT if name is None else name
    if name not in known:
        raise registry.unknown("trained system", name, known)
    return FOLDER / name


def resolve(workdirs: Sequence[str | os.PathLike], models: Sequence[str]) -> dict[str, Path]:
    """Return the folders of trained systems by name.

    Args:
        workdirs: folders, whose names are these paths.
        models: names of systems that come with irec-jax. Without workdirs and models: the default.

    Raises:
        UserError: a system that is named twice; or see `find`.
    """
    folders = [(path, expand_home(path, urls=True)) for path in workdirs]  # refuses what is no path
    named = [(os.fsdecode(path), folder) for path, folder in folders]
    named += [(model, find(model)) for model in models]
    if not named:
        named = [(DEFAULT, find())]
    systems: dict[str, Path] = {}
    for name, folder in named:
        if name in systems or _resolve(folder) in map(_resolve, systems.values()):
            raise UserError(f"{name}: named twice; name each system once")
        systems[name] = folder
    return systems


def _resolve(folder: Path) -> Path:
    return folder if is_remote(folder) else folder.resolve()


def locate(name: str) -> Path:
    """Return the folder of a trained system.

    Args:
        name: `pretrained`, the default recogniser; the name of another system that comes with
            irec-jax; or a folder.

    Raises:
        UserError: neither a name nor a folder; or irec-jax came without systems.
    """
    if name == "pretrained":
        return find()
    if name in names():
        return find(name)
    folder = expand_home(name, urls=True)
    if not folder.is_dir():
        known = ", ".join(["pretrained", *names()])
        raise UserError(f"{name}: no such folder; name a workdir, an exported folder, or {known}")
    return folder
