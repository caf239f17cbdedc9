"""Systems that come with irec-jax: packaged systems in the folder `irec_jax/pretrained`."""

import os
from pathlib import Path

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home

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


def resolve(workdir: str | os.PathLike | None, model: str | None) -> Path:
    """Return the folder of a trained system.

    Args:
        workdir: its folder.
        model: the name of one that comes with irec-jax, instead. Without either: the default.

    Raises:
        UserError: workdir and model; or see `find`.
    """
    if workdir is None:
        return find(model)
    if model is not None:
        raise UserError(f"workdir {os.fspath(workdir)!r} and model {model!r}: name one of them")
    return expand_home(workdir)


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
    folder = expand_home(name)
    if not folder.is_dir():
        known = ", ".join(["pretrained", *names()])
        raise UserError(f"{name}: no such folder; name a workdir, an exported folder, or {known}")
    return folder
