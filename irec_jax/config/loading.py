"""Configs: `configs/NAME.py:arguments` and `--config.section.key=value` to a locked ConfigDict.

A named thing of a config, `dict(name=..., **keyword arguments)`, takes every keyword argument of
the function or class that its name stands for, whether the config file mentions it or not.
"""

import ast
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ml_collections import config_dict

from irec_jax import data, frontends, losses, models, registry
from irec_jax.errors import UserError
from irec_jax.training import optimizers

#: Section -> (its things by name, keys that are the section's own, keys the program sets itself).
#: The own keys of `data` are those of the kind of dataset that stands there: see `_own_keys`.
NAMED: dict[str, tuple[Callable[[str], Callable], tuple[str, ...], tuple[str, ...]]] = {
    "data": (data.options_of, (), ("data_dir",)),
    "frontend": (
        lambda name: _look_up("front end", frontends.FRONTENDS, name),
        (),
        ("sample_rate_hz",),
    ),
    "model": (lambda name: _look_up("model", models.MODELS, name), (), ("num_classes",)),
    "loss": (
        lambda name: _look_up("loss", losses.LOSSES, name),
        ("l2", "domain"),
        ("logits", "labels", "estimate", "target"),
    ),
    "optimizer": (optimizers.find, optimizers.OWN_KEYS, ()),
    "optimizer.schedule": (optimizers.find_schedule, (), ()),
}
#: What may differ between two runs of one experiment.
PLACES = ("data.dir", "data.manual_dir", "data.cache_gb", "profile.start_step", "profile.num_steps")


def _look_up(kind: str, table: dict[str, Callable], name: str) -> Callable:
    if name not in table:
        raise registry.unknown(kind, name, table)
    return table[name]


def load(spec: str) -> config_dict.ConfigDict:
    """The config that `FILE` or `FILE:arguments` stands for.

    A file that is not found from here is looked for among the configs of the package.

    Raises:
        UserError: no such file, a file without `get_config`, a misspelled argument.
    """
    file, _, arguments = spec.partition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        installed = Path(__file__).parents[2] / "configs" / path.name
        if path.parent not in (Path(), Path("configs")):
            raise UserError(f"{file}: no such file; check the path")
        if not installed.is_file():
            known = sorted(
                p.stem
                for p in installed.parent.glob("*.py")
                if p.stem not in ("__init__", "common")
            )
            raise registry.unknown("config", path.stem, known) from None
        path = installed
    module_spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{file}: a config is a Python file; give one that ends with .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{path}: line {error.lineno}: {error.msg}") from error
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: a config file defines get_config(text)")
    return module.get_config(arguments)


def override(config: config_dict.ConfigDict, settings: Iterable[tuple[str, str]]) -> None:
    """Applies `section.key`, `text` pairs as given on the command line, names first.

    Raises:
        UserError: a key that neither the config nor the named thing has, or a value of a type
            other than the present one's.
    """
    for key, text in sorted(settings, key=lambda item: not item[0].endswith(".name")):
        *section, leaf = key.split(".")
        parent = config
        for depth, part in enumerate(section):
            if not isinstance(parent, config_dict.ConfigDict) or part not in parent:
                raise registry.unknown("config key", key, _keys(config))
            parent = parent[part]
            if not isinstance(parent, config_dict.ConfigDict):
                held = ".".join(section[: depth + 1])
                raise UserError(
                    f"config key {key!r}: {held} is a single value; set --config.{held}"
                )
        where = ".".join(section)
        if leaf in parent:
            if isinstance(parent[leaf], config_dict.ConfigDict):
                raise UserError(f"config key {key!r} is a section: set one of its keys, {key}.KEY")
            value = _parse(key, text, parent[leaf])
        elif where in NAMED:
            value = _parse(key, text, _default(config, where, leaf))
        else:
            raise registry.unknown("config key", key, _keys(config))
        with parent.unlocked(), parent.ignore_type():
            parent[leaf] = value
        if leaf == "name" and where in NAMED:
            _drop_arguments(where, parent)


def check(config: config_dict.ConfigDict) -> None:
    """Raises UserError for a name or an argument that a named section does not know."""
    for where in NAMED:
        section = config
        for part in where.split("."):
            section = section.get(part) if section is not None else None
        if section is None or (where == "optimizer.schedule" and not section.name):
            continue
        for key in section:
            _default(config, where, key)


def _default(config: config_dict.ConfigDict, where: str, key: str) -> Any:
    """What argument `key` of the thing that section `where` names is by default."""
    find, _, internal = NAMED[where]
    section = config[where.split(".")[0]]
    if "." in where:
        section = section[where.split(".")[1]]
    function, own = find(section.name), _own_keys(where, section.name)
    known = registry.parameters(function)
    if key == "name" or key in own or known is None:
        return None
    allowed = [name for name in known if name not in internal]
    if key not in allowed:
        raise registry.unknown(f"config key of {where} {section.name!r}", key, [*allowed, *own])
    default = known[key].default
    # A type of numbers is given by its name.
    default = "float32" if default is jnp.float32 else default
    return None if default is inspect.Parameter.empty else default


def _own_keys(where: str, name: str) -> tuple[str, ...]:
    return data.own_keys(name) if where == "data" else NAMED[where][1]


def _drop_arguments(where: str, section: config_dict.ConfigDict) -> None:
    """After a change of name: the arguments that the new thing does not take."""
    find, own = NAMED[where][0], _own_keys(where, section.name)
    if where == "optimizer.schedule" and not section.name:
        known = {}
    else:
        known = registry.parameters(find(section.name))
    if known is None:
        return
    with section.unlocked():
        for key in [k for k in section if k != "name" and k not in own and k not in known]:
            del section[key]


def _parse(key: str, text: str, present: Any) -> Any:
    """Text from the command line as a value of the type of the present one."""
    if isinstance(present, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(present, bool) and value in (0, 1):
        return bool(value)
    if isinstance(present, tuple):
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
    if present is not None and type(value) is not type(present):
        raise UserError(f"config key {key}={text}: expected {type(present).__name__}")
    return value


def _keys(config: config_dict.ConfigDict, prefix: str = "") -> list[str]:
    return list(flatten(config, prefix))


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """`section.key` -> value, of a ConfigDict or a dict; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict | config_dict.ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat
