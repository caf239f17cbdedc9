"""The `irec train` command that reproduces a given config."""

import shlex
from collections.abc import Mapping
from typing import Any

from irec_jax.checkpoints.workdir import differences
from irec_jax.config.loading import flatten, load
from irec_jax.config.overrides import override
from irec_jax.errors import UserError


def training_command(name: str, config: Mapping[str, Any]) -> str | None:
    """Return the command that reproduces a config: its file, with overrides for other values.

    Args:
        name: name of a config file that comes with irec-jax, such as 'han'.
        config: the resolved config.

    Returns:
        The command; None if the file does not exist, or if overrides cannot reproduce the config.
    """
    wanted, dataset = flatten(config), config["data"].get("name")
    for arguments in ("", f":dataset={dataset}"):
        spec = f"configs/{name}.py{arguments}"
        try:
            resolved = load(spec)
            if resolved.data.name != dataset:
                continue
            present = flatten(resolved)
            changed = {
                key: value
                for key, value in wanted.items()
                if key not in present or present[key] != value
            }
            overrides = [(key, _text(value)) for key, value in changed.items()]
            override(resolved, overrides)
        except UserError:
            continue
        if not differences(flatten(resolved), wanted):
            options = (f"--config.{key}={text}" for key, text in overrides)
            return shlex.join(["irec", "train", spec, *options])
    return None


def _text(value: Any) -> str:
    """Return a value as text that `override` can parse."""
    if isinstance(value, list):
        return repr(tuple(value))
    return "none" if value is None else str(value)
