"""Workdirs: the folder of a run, and the config that it belongs to.

config.json       the resolved config; a run with another config is rejected
checkpoints/N/    state after N steps: the last one and the best one by validation
system.json       settings needed to apply the parameters: front end, classes, ...
tensorboard/      scalars, images and sounds
report.json       scores; report.html and report.md present them as a page, with plots beside it
seed_N/           the same for every seed of a run with repeats
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json

SYSTEM_FORMAT = 1


def check_workdir(
    workdir: Path, config: Mapping[str, Any], mode: str, *, ignored: Iterable[str] = ()
) -> None:
    """Check that a config may use a workdir.

    Args:
        workdir: the folder, existing or not.
        config: flat, from `config.flatten`.
        mode: 'train' or 'eval'; evaluation settings may differ in 'eval'.
        ignored: prefixes of keys that may differ.

    Raises:
        UserError: the workdir belongs to another config (the differing keys are listed) or contains
            other files, or there is no trained system to evaluate.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; name a folder as --workdir")
    trained = any(workdir.glob("checkpoints/*")) or any(workdir.glob("seed_*/checkpoints/*"))
    file = workdir / "config.json"
    if mode == "eval" and not (trained and file.exists()):
        raise UserError(f"{workdir}: no trained system; run with --mode=train first")
    if file.exists():
        if mode == "eval":
            ignored = (*ignored, "evaluation.")
        differing = differences(config, read_json(file), ignored)
        if differing and trained:
            raise UserError(
                f"{workdir}: contains a run with another config ({'; '.join(differing)}); name "
                "another --workdir, or delete this one"
            )
    elif workdir.is_dir() and any(not p.name.startswith(".") for p in workdir.iterdir()):
        raise UserError(f"{workdir}: contains other files; name an empty or new --workdir")


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], ignored: Iterable[str] = ()
) -> list[str]:
    """Return lines `key: theirs -> ours` for all keys of two flat configs that differ.

    Earlier versions wrote "" or 0 for a key that is not set, which is None now.
    """
    return [
        f"{key}: {theirs.get(key, '(absent)')} -> {ours.get(key, '(absent)')}"
        for key in sorted(ours.keys() | theirs.keys())
        if not key.startswith(tuple(ignored))
        and ours.get(key) != theirs.get(key)
        and not (key in ours and ours[key] is None and theirs[key] in ("", 0))
    ]


def lock_workdir(workdir: Path, config: Mapping[str, Any]) -> None:
    """Write the config that a workdir belongs to; see `check_workdir`."""
    write_json(workdir / "config.json", config)


def lock_study(workdir: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a study to its workdir, after checking that no others are there.

    Args:
        workdir: the folder, existing or not.
        settings: everything its results depend on, in JSON types (no tuples).

    Raises:
        UserError: the workdir contains results of other settings (the differing keys are named).
    """
    file = workdir / "settings.json"
    # A failed first attempt, for example with a misspelled option, leaves only this file.
    if file.exists() and any(path != file for path in workdir.iterdir()):
        earlier = read_json(file)
        keys = [key for key in settings | earlier if earlier.get(key) != settings.get(key)]
        if keys:
            raise UserError(
                f"{workdir}: contains a study with other settings ({', '.join(keys)}); name "
                "another --workdir, or delete this one"
            )
    write_json(file, settings)


def write_system(folder: Path, system: dict[str, Any]) -> None:
    """Write `system.json`; thresholds of an earlier one that the new one lacks are kept."""
    file = folder / "system.json"
    if file.exists():
        earlier = read_system(folder)
        if "thresholds" in system and earlier["aggregation"] == system["aggregation"]:
            kept = earlier["thresholds"] | system["thresholds"]
            system = system | {"thresholds": kept}
    write_json(file, {"format": SYSTEM_FORMAT} | system)


def read_system(folder: Path) -> dict[str, Any]:
    """Return `system.json` of a workdir; raise UserError if it is missing or incompatible."""
    file = folder / "system.json"
    seeds = sorted(path.parent.name for path in folder.glob("seed_*/system.json"))
    if seeds and not file.exists():
        raise UserError(
            f"{folder}: contains repeats; name one of them, such as {folder / seeds[0]}"
        )
    system = read_json(file)
    if not isinstance(system, dict) or system.get("format") != SYSTEM_FORMAT:
        raise UserError(f"{file}: written by another version; train again")
    return system
