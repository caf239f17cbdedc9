"""Command-line overrides: `--config.section.key=value`."""

import ast
from collections.abc import Iterable
from typing import Any

from ml_collections import config_dict

from irec_jax import registry
from irec_jax.config.loading import flatten
from irec_jax.config.sections import (
    NAMED,
    OPTIONAL,
    ZERO_IS_VALID,
    argument_default,
    drop_foreign_arguments,
)
from irec_jax.errors import UserError


def override(config: config_dict.ConfigDict, settings: Iterable[tuple[str, str]]) -> None:
    """Apply (`section.key`, text) pairs from the command line, `name` keys first.

    Raises:
        UserError: a key is neither in the config nor an argument of the named function, or a value
            has the wrong type.
    """
    for key, text in sorted(settings, key=lambda item: not item[0].endswith(".name")):
        path, _, leaf = key.rpartition(".")
        section = _find_section(config, key, path)
        if leaf in section:
            if isinstance(section[leaf], config_dict.ConfigDict):
                raise UserError(f"config key {key!r}: is a section; set one of its keys, {key}.KEY")
            kind = section.get_type(leaf)
        elif path in NAMED:
            kind = type(argument_default(section, path, leaf))
        else:
            raise registry.unknown("config key", key, flatten(config))
        value = _parse(key, text, kind, is_none=leaf in section and section[leaf] is None)
        with section.unlocked(), section.ignore_type():
            section[leaf] = value
        if leaf == "name" and path in NAMED:
            drop_foreign_arguments(section, path)


def _find_section(config: config_dict.ConfigDict, key: str, path: str) -> config_dict.ConfigDict:
    """Return the section that contains a key."""
    section, parent = config, ""
    for part in path.split(".") if path else ():
        if part not in section:
            raise registry.unknown("config key", key, flatten(config))
        section, parent = section[part], f"{parent}.{part}".lstrip(".")
        if not isinstance(section, config_dict.ConfigDict):
            raise UserError(
                f"config key {key!r}: {parent} is a single value; set --config.{parent}"
            )
    return section


def _parse(key: str, text: str, kind: type, *, is_none: bool) -> Any:
    """Parse text as a value of the given type; NoneType accepts any value.

    Keys that are optional or currently None can be set to none. Optional keys also accept "", and 0
    unless it is a valid value, which meant the same in earlier versions.
    """
    kind = OPTIONAL.get(key, kind)
    zero_is_none = key in OPTIONAL and key not in ZERO_IS_VALID
    if key in OPTIONAL and text == "" or zero_is_none and text in ("0", "0.0"):
        return None
    if (key in OPTIONAL or is_none) and text.lower() == "none":
        return None
    if kind is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is bool and value in (0, 1):
        return bool(value)
    if kind is tuple:
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
    if kind is not type(None) and type(value) is not kind:
        raise UserError(f"{key}={text}: expected {kind.__name__}")
    if zero_is_none and value == 0:
        return None
    if isinstance(value, dict):  # keys of a config are texts
        return {str(name): item for name, item in value.items()}
    return value
