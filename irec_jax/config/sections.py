"""Named sections of a config, and keys that may be None.

A named section, `dict(name=..., **keyword arguments)`, names a function or class and accepts all of
its keyword arguments, whether or not the config file mentions them.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from ml_collections import config_dict

from irec_jax import data, frontends, losses, models, registry
from irec_jax.training import optimizers


@dataclasses.dataclass(frozen=True)
class NamedSection:
    """A section that names a function or class.

    Attributes:
        find: returns the function or class with the given name; raises UserError for an unknown
            name.
        own_keys: takes the name of the function or class, and returns the section keys that are not
            arguments of this function or class.
        internal: arguments that the program sets itself.
        defaulted: arguments that the program sets if the section does not.
    """

    find: Callable[[str], Callable]
    own_keys: Callable[[str], tuple[str, ...]] = lambda name: ()
    internal: tuple[str, ...] = ()
    defaulted: tuple[str, ...] = ()


NAMED: dict[str, NamedSection] = {
    "data": NamedSection(data.options_of, data.own_keys, ("data_dir",)),
    "frontend": NamedSection(frontends.find, internal=("sample_rate_hz",)),
    "model": NamedSection(models.find, internal=("num_classes",)),
    "loss": NamedSection(
        partial(registry.find, "loss", losses.LOSSES),
        lambda name: ("l2", "domain") if name in losses.REGRESSION else ("l2", "class_weights"),
        ("logits", "labels", "estimate", "target"),
    ),
    "optimizer": NamedSection(
        optimizers.find_optimizer, lambda name: optimizers.OWN_KEYS, (), optimizers.FROM_RUN
    ),
    "optimizer.schedule": NamedSection(optimizers.find_schedule, defaulted=optimizers.FROM_RUN),
}
#: Optional key (None if not set) -> type. Earlier versions used "" and 0, which are still
#: accepted, instead of None.
OPTIONAL: dict[str, type] = {f"data.{option}": str for option in data.optional_keys()} | {
    "data.dir": str,
    "data.hop_s": float,
    "data.label_s": float,
    "data.manual_dir": str,
    "data.stored": str,
    "evaluation.max_decay_db": float,
    "evaluation.threshold": float,
    "loss.class_weights": str,
    "model.dtype": str,
    "optimizer.clip_norm": float,
    "optimizer.schedule.name": str,
    "training.checkpoint_every_s": float,
    "training.checkpoint_every_steps": int,
    "training.ema_decay": float,
    "training.init_from": str,
    "training.max_steps_per_epoch": int,
    "training.min_steps_per_epoch": int,
    "training.steps_per_call": int,
}
#: Optional keys that may be 0; for the others, 0 meant the same as None in earlier versions.
ZERO_IS_VALID = ("evaluation.max_decay_db",)
#: Prefixes of keys that may differ between two runs of the same experiment.
NOT_COMPARED = (
    "data.dir",
    "data.manual_dir",
    "data.cache_gb",
    "data.placement",
    "profile.start_step",
    "profile.num_steps",
    "training.checkpoint_every_s",
    "training.checkpoint_every_steps",
    "training.steps_per_call",
)


def section_of(config: config_dict.ConfigDict, path: str) -> config_dict.ConfigDict | None:
    """Return the section at the path `section.subsection`, or None if it does not exist."""
    section: Any = config
    for part in path.split("."):
        section = section.get(part) if section is not None else None
    return section


def argument_default(section: config_dict.ConfigDict, path: str, key: str) -> Any:
    """Return the default of a key in the named section at a path, or None if it has no default.

    Raises:
        UserError: the named function or class takes no such argument.
    """
    named = NAMED[path]
    own_keys, known = named.own_keys(section.name), registry.parameters(named.find(section.name))
    if key == "name" or key in own_keys or known is None:
        return None
    arguments = [name for name in known if name not in named.internal]
    if key not in arguments:
        where = f"in the {path} section (name {section.name!r})"
        raise registry.unknown("config key", key, ["name", *arguments, *own_keys], where)
    default = known[key].default
    if default is inspect.Parameter.empty:
        return None
    # Configs specify data types by name.
    return "float32" if default is jnp.float32 else default


def drop_foreign_arguments(section: config_dict.ConfigDict, path: str) -> None:
    """Delete the arguments that the function or class named in a section does not accept."""
    named = NAMED[path]
    known = registry.parameters(named.find(section.name)) if section.name else {}
    if known is None:
        return
    kept = ("name", *known, *named.own_keys(section.name))
    with section.unlocked():
        for key in [key for key in section if key not in kept]:
            del section[key]
