"""The folder of a run, and whose it is.

config.json       the resolved config: another one is refused
checkpoints/N/    state after N steps: the last one and the best one by validation
system.json       what a user of the parameters needs beside them: front end, classes, ...
tensorboard/      scalars, pictures and sounds
report.json       scores; report.md is the same for a person, with plots beside it
seed_N/           the same for every seed, when there are repeats
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json

SYSTEM_FORMAT = 1


def check(
    workdir: Path, config: Mapping[str, Any], mode: str, *, ignored: Iterable[str] = ()
) -> None:
    """Finds out whether a config may use a workdir.

    Args:
        workdir: the folder, there or not.
        config: flat, of `config.flatten`.
        mode: 'train' or 'eval'; what was trained can be evaluated with other settings.
        ignored: prefixes of keys that may differ.

    Raises:
        UserError: it belongs to another config (the differing keys are listed), holds other
            files, or nothing was trained there that could be evaluated.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; choose another --workdir")
    trained = any(workdir.glob("checkpoints/*")) or any(workdir.glob("seed_*/checkpoints/*"))
    file = workdir / "config.json"
    if mode == "eval" and not (trained and file.exists()):
        raise UserError(f"{workdir}: nothing trained here yet; run with --mode=train first")
    if file.exists():
        if mode == "eval":
            ignored = (*ignored, "evaluation.")
        differing = differences(config, read_json(file), ignored)
        if differing and trained:
            raise UserError(
                f"{workdir}: holds a run of another config ({'; '.join(differing)}); choose "
                "another --workdir, or delete this one"
            )
    elif workdir.is_dir() and any(not p.name.startswith(".") for p in workdir.iterdir()):
        raise UserError(f"{workdir}: holds other files; choose an empty or new --workdir")


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


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes down whose workdir it is."""
    write_json(workdir / "config.json", config)


def write_system(folder: Path, system: dict[str, Any]) -> None:
    """Writes `system.json`; thresholds that an earlier one has beyond the new ones are kept."""
    file = folder / "system.json"
    if file.exists():
        earlier = read_system(folder)
        if "thresholds" in system and earlier["aggregation"] == system["aggregation"]:
            kept = earlier["thresholds"] | system["thresholds"]
            system = system | {"thresholds": kept}
    write_json(file, {"format": SYSTEM_FORMAT} | system)


def read_system(folder: Path) -> dict[str, Any]:
    """`system.json` of a workdir; UserError when there is none or it is not one of ours."""
    file = folder / "system.json"
    seeds = sorted(path.parent.name for path in folder.glob("seed_*/system.json"))
    if seeds and not file.exists():
        raise UserError(f"{folder}: holds repeats; give one of them, such as {folder / seeds[0]}")
    system = read_json(file)
    if not isinstance(system, dict) or system.get("format") != SYSTEM_FORMAT:
        raise UserError(f"{file}: not written by this version; train again")
    return system
