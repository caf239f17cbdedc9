"""Loading of config files: `FILE:arguments` becomes a locked ConfigDict."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from ml_collections import config_dict

from irec_jax import registry
from irec_jax.config.sections import OPTIONAL, ZERO_IS_VALID, section_of
from irec_jax.errors import UserError
from irec_jax.files import expand_home

_INSTALLED = Path(__file__).parents[2] / "configs"


def load(spec: str) -> config_dict.ConfigDict:
    """Load a config.

    Args:
        spec: `FILE` or `FILE:arguments`. If the current folder has no such file, the config
            with the same name that comes with the package is loaded.

    Raises:
        UserError: the file does not exist or has no `get_config`, or an argument is invalid.
    """
    file, _, arguments = spec.partition(":")
    path = _find(file)
    module_spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{file}: not a Python file; choose one that ends with .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{path}: line {error.lineno}: {error.msg}") from error
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: has no get_config(text); define it, as every config file does")
    config = module.get_config(arguments)
    _clear_unset(config)
    return config


def _find(file: str) -> Path:
    path = expand_home(file)
    if path.is_file():
        return path
    if path.parent not in (Path(), Path("configs")):
        raise UserError(f"{file}: no such file; check the path")
    installed = _INSTALLED / path.name
    if not installed.is_file():
        known = {p.stem for p in _INSTALLED.glob("*.py")} - {"__init__", "common"}
        raise registry.unknown("config", path.stem, known)
    return installed


def _clear_unset(config: config_dict.ConfigDict) -> None:
    """Set optional keys to None if they are "" or 0, as in config files from earlier versions."""
    for key in OPTIONAL:
        path, _, leaf = key.rpartition(".")
        section = section_of(config, path)
        unset = ("",) if key in ZERO_IS_VALID else ("", 0)
        if section is not None and leaf in section and section[leaf] in unset:
            with section.unlocked(), section.ignore_type():
                section[leaf] = None


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten a ConfigDict or dict to `section.key` -> value; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict | config_dict.ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat
