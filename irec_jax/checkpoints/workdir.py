"""Workdirs: the folders in which runs store their files.

config.json         the resolved config, including the dtype of the network's computations; a run
                    whose config differs, except in the `evaluation` section, is rejected
dataset.json        fingerprint of the data, see `data.fingerprint`
class_weights.json  class weights for the loss, if `loss.class_weights` is set
checkpoints/N/      state after N steps; the latest and the best (by validation result) are kept
system.json         settings needed to apply the trained network: front end, classes, ...
tensorboard/        scalars, images and sounds
report.json         scores; report.html and report.md show them with plots
seed_N/             the same files for each seed of a run with repeats
.lock.json          the run that is writing to this folder; see `lock`
"""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from irec_jax import registry
from irec_jax.checkpoints import packaged
from irec_jax.checkpoints.checksums import CHECKSUM_FILE
from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json
from irec_jax.remote import is_remote

SYSTEM_FORMAT = 1
#: Keys that configs from earlier versions lack, with values that reproduce the earlier behaviour.
_ADDED = {
    "augment.band_limit": 0.0,
    "augment.compression": 0.0,
    "augment.distortion": 0.0,
    "augment.equaliser_db": 0.0,
    "augment.mix": 0.0,
    "augment.mix_db": 10.0,
    "augment.mixture_polarity": False,
    "augment.noise_db": None,
    "augment.pitch_semitones": 0.0,
    "augment.room": 0.0,
    "augment.speed_semitones": 0.0,
    "augment.stretch": [1.0, 1.0],
    "augment.whole_semitones": False,
    "data.placement": "auto",
    "data.split_validation": "song",
    "evaluation.max_decay_db": None,
    "evaluation.post_fill": "floor",
    "evaluation.post_reference": "absolute",
    "evaluation.windows": "overlapping",
    "loss.class_weights": None,
    "training.ema_decay": None,
    "training.init_from": None,
    "training.keep": "best",
    "training.steps_per_call": None,
}
_NAMES, _NUMBER, _SECTION = "a list of names", "a number", "an object"
#: Task -> required key of `system.json` -> kind of value.
_KEYS: dict[str, dict[str, str]] = {
    "recognition": {
        "classes": _NAMES,
        "aggregation": "a name",
        "thresholds": _SECTION,
        "thresholds.fixed": "a number or a list of numbers",
        "config.data": _SECTION,
    },
    "separation": {
        "stems": _NAMES,
        "target": _NAMES,
        "target_name": "a name",
        "post_db": _NUMBER,
        "config.evaluation": _SECTION,
        "config.evaluation.griffin_lim_iterations": "a positive integer",
    },
}
_KEYS["multi_instance"] = _KEYS["recognition"] | {"config.bag": _SECTION}
_COMMON_KEYS = {
    "name": "a name",
    "sample_rate_hz": "a positive integer",
    "window_s": "a positive number",
    "hop_s": "a positive number",
    "frontend": _SECTION,
    "frontend.name": "a name",
    "config": _SECTION,
    "config.model": _SECTION,
    "config.loss": _SECTION,
    "config.augment": _SECTION,
}


def check_workdir(
    workdir: Path, config: Mapping[str, Any], mode: str, *, ignored: Iterable[str] = ()
) -> None:
    """Check that a config may use a workdir.

    Args:
        workdir: the folder, existing or not.
        config: the flat config, from `config.flatten`.
        mode: 'train' or 'eval'.
        ignored: prefixes of keys that may differ, in addition to the `evaluation` section.

    Raises:
        UserError: if the workdir belongs to another config (the message lists the differing keys)
            or contains other files, or if there is no trained system to evaluate.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; choose a folder as --workdir")
    if not workdir.exists() and {*"*?"} & {*str(workdir)}:
        raise UserError(f"{workdir}: is a shell pattern, not a path; choose a folder as --workdir")
    trained, file = _is_trained(workdir), workdir / "config.json"
    if mode == "eval" and not (trained and file.exists()):
        raise UserError(f"{workdir}: no trained system; run with --mode=train first")
    if file.exists():
        differing = differences(config, read_json(file), (*ignored, "evaluation."))
        if differing and trained:
            raise UserError(
                f"{workdir}: contains a run with another config ({'; '.join(differing)}); choose "
                "another --workdir, or delete this one"
            )
    elif workdir.is_dir() and any(not p.name.startswith(".") for p in workdir.iterdir()):
        raise UserError(f"{workdir}: contains other files; choose an empty or new --workdir")


def _is_trained(workdir: Path) -> bool:
    return any(workdir.glob("checkpoints/*")) or any(workdir.glob("seed_*/checkpoints/*"))


def recorded_dtype(workdir: Path) -> str | None:
    """Return the dtype with which training began in a workdir, or None if it is unknown."""
    file = workdir / "config.json"
    return read_json(file).get("model.dtype") if _is_trained(workdir) and file.exists() else None


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], ignored: Iterable[str] = ()
) -> list[str]:
    """Return a line `key: theirs -> ours` for each key with different values in two flat configs.

    Earlier versions wrote "" or 0 instead of None for an unset key, and lacked the keys in
    `_ADDED`. If `model.dtype` is None in `ours`, it matches any dtype; if it is missing, it matches
    float32, which earlier versions always recorded.
    """
    theirs = {k: v for k, v in _ADDED.items() if k in ours} | dict(theirs)
    return [
        f"{key}: {theirs.get(key, '(absent)')} -> {ours.get(key, '(absent)')}"
        for key in sorted(ours.keys() | theirs.keys())
        if not key.startswith(tuple(ignored))
        and ours.get(key) != theirs.get(key)
        and not (key in ours and ours[key] is None and theirs[key] in ("", 0))
        and not (key == "model.dtype" and _accepts_dtype(ours, theirs.get(key)))
    ]


def _accepts_dtype(ours: Mapping[str, Any], their_dtype: str | None) -> bool:
    return ours.get("model.dtype", "") is None or (
        "model.dtype" not in ours and their_dtype == "float32"
    )


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run has a complete checkpoint to resume from.

    An interrupted save leaves a folder with a temporary name or, if remote, without checksums.
    """
    steps = [path for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
    if is_remote(folder):
        return any((path / CHECKSUM_FILE).exists() for path in steps)
    return bool(steps)


def lock_workdir(workdir: Path, config: Mapping[str, Any]) -> None:
    """Record the config of a workdir; see `check_workdir`."""
    write_json(workdir / "config.json", config)


def lock_study(workdir: Path, settings: Mapping[str, Any]) -> None:
    """Record the settings of a study in its workdir; reject a workdir with other settings.

    Args:
        workdir: the folder, existing or not.
        settings: everything that the results depend on, in JSON types (no tuples).

    Raises:
        UserError: if the workdir contains results for other settings; the message names the
            differing keys.
    """
    file = workdir / "settings.json"
    # A failed first attempt, for example with a misspelled option, leaves only this file.
    names = [path.name for path in workdir.iterdir()] if file.exists() else []
    if any(name != file.name and not name.startswith(".") for name in names):
        earlier = read_json(file)
        keys = [key for key in settings | earlier if earlier.get(key) != settings.get(key)]
        if keys:
            raise UserError(
                f"{workdir}: contains a study with other settings ({', '.join(keys)}); choose "
                "another --workdir, or delete this one"
            )
    write_json(file, settings)


def write_system(folder: Path, system: dict[str, Any]) -> None:
    """Write `system.json`; thresholds in an existing file are kept unless they are replaced."""
    file = folder / "system.json"
    with contextlib.suppress(UserError):  # a missing or damaged file is replaced
        earlier = read_system(folder)
        if "thresholds" in system and earlier["aggregation"] == system["aggregation"]:
            kept = earlier["thresholds"] | system["thresholds"]
            system = system | {"thresholds": kept}
    write_json(file, {"format": SYSTEM_FORMAT} | system)


def read_system(folder: Path) -> dict[str, Any]:
    """Return the content of `system.json` in a workdir or a packaged system.

    Raises:
        UserError: if it is missing, damaged or incompatible; if a key is missing or has an invalid
            value; or if a file of a packaged system is missing or damaged.
    """
    if packaged.is_packaged(folder):
        packaged.verify(folder)
    file = folder / "system.json"
    seeds = sorted(path.parent.name for path in folder.glob("seed_*/system.json"))
    if seeds and not file.exists():
        raise UserError(
            f"{folder}: contains repeats; choose one of them, such as {folder / seeds[0]}"
        )
    system = read_json(file)
    if not isinstance(system, dict) or system.get("format") != SYSTEM_FORMAT:
        raise UserError(f"{file}: written by another version; train again")
    # The caller, which knows the task, rejects systems for other tasks.
    task = system.get("task")
    if not isinstance(task, str):
        _check_key(file, system, "task", "a name")
    for key, kind in (_KEYS.get(str(task), {}) | _COMMON_KEYS).items():
        _check_key(file, system, key, kind)
    return system


@contextlib.contextmanager
def system_errors(workdir: Path) -> Iterator[None]:
    """Convert errors to UserError while a task is created from `system.json`."""
    try:
        yield
    except registry.MissingModuleError as error:
        raise UserError(f"{workdir / 'system.json'}: {error}") from error
    except Exception as error:  # any type: front ends and networks receive values from the file
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{workdir / 'system.json'}: {reason[:200]}; restore the file from a copy, or train "
            "again"
        ) from error


def _check_key(file: Path, system: dict[str, Any], path: str, kind: str) -> None:
    """Raise UserError unless the value at the dotted path is of the expected kind."""
    value: Any = system
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UserError(f"{file}: lacks {path}; restore the file from a copy, or train again")
        value = value[key]
    if not _is_of_kind(value, kind):
        raise UserError(
            f"{file}: {path} is {json.dumps(value)[:60]}, expected {kind}; restore the file from a "
            "copy, or train again"
        )


def _is_of_kind(value: Any, kind: str) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "an object":
            return isinstance(value, dict)
        case "a name":
            return isinstance(value, str) and value != ""
        case "a list of names":
            return isinstance(value, list) and {type(name) for name in value} == {str}
        case "a positive integer":
            return is_number and isinstance(value, int) and value > 0
        case "a positive number":
            return is_number and 0 < value < math.inf
        case "a number":
            return is_number and math.isfinite(value)
        case "a number or a list of numbers":
            values = value if isinstance(value, list) else [value]
            return bool(values) and all(_is_of_kind(number, _NUMBER) for number in values)
    raise ValueError(kind)
