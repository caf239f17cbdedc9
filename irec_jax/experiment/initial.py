"""Initial parameters from a trained system (`training.init_from`)."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from irec_jax import distributed, frontends, models, registry
from irec_jax.checkpoints import packaged, pretrained, storage
from irec_jax.checkpoints.workdir import read_system, system_errors
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.tasks import Recognition, Separation, create_trained
from irec_jax.training.logging import log

#: Suffixes of the model keys that do not matter when a trained network is applied.
_FREE_KEYS = ("dropout", "dtype")


@dataclasses.dataclass(frozen=True)
class Initial:
    """Parameters and model state of a trained system, from which training starts.

    Attributes:
        arrays: arrays by name; see `packaged.flatten`. The last layer's arrays are missing if the
            trained system has different classes.
    """

    arrays: Mapping[str, np.ndarray]

    def apply(self, params: Any, model_state: Any) -> tuple[Any, Any]:
        """Replace parameters and model state with the trained system's arrays."""
        return packaged.unflatten(self.arrays, params, model_state)


def load_initial(
    config: config_dict.ConfigDict, task: Recognition | Separation, sample_rate_hz: int
) -> Initial | None:
    """Load the trained system that `training.init_from` names; return None if that key is not set.

    Logs how many parameters are taken from the trained system, and which parameters are new.

    Args:
        config: the resolved config.
        task, sample_rate_hz: the config's task and the sample rate of its data; see `check_config`.

    Raises:
        UserError: the system does not exist, is damaged, or has a different front end or network
            (the message names the first key or parameter that differs).
    """
    name = config.training.get("init_from")
    if not name:
        return None
    try:
        return _load(name, config, task, sample_rate_hz)
    except UserError as error:
        raise UserError(f"training.init_from={name}: {error}") from error


def _load(
    name: str,
    config: config_dict.ConfigDict,
    task: Recognition | Separation,
    sample_rate_hz: int,
) -> Initial:
    located = distributed.on_main(lambda: str(pretrained.locate(name)))
    folder = expand_home(located, urls=True)
    system = distributed.on_main(lambda: read_system(folder))
    frontend: Any = task.frontend  # a dataclass
    ours = {"task": config.task, "sample_rate_hz": sample_rate_hz, "config": config.to_dict()}
    ours["frontend"] = {"name": config.frontend.name} | dataclasses.asdict(frontend)
    with system_errors(folder):
        theirs_by_key = _settings(system)
        target = _shapes(create_trained(system))
        new = set() if _same_classes(system, task) else _class_dependent(system)
    _check_equal(theirs_by_key, _settings(ours))
    shapes = packaged.flatten(*_shapes(task))
    _check_equal(_by_name(packaged.flatten(*target), new), _by_name(shapes, new))
    arrays = packaged.flatten(*storage.load_variables(folder, target))
    log(_describe(name, shapes, new))
    return Initial({name: array for name, array in arrays.items() if name not in new})


def _settings(system: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine a system's output, as JSON values by key.

    Args:
        system: `task`, `sample_rate_hz`, `frontend` and `config` of `system.json`.
    """
    config = system["config"]
    sections = {
        "frontend": _with_defaults(system["frontend"], frontends.find),
        "config.model": _with_defaults(config["model"], models.find),
        "config.bag": config.get("bag", {}),
    }
    values = {"config.task": system["task"], "sample_rate_hz": system["sample_rate_hz"]}
    for section, settings in sections.items():
        values |= {
            f"{section}.{key}": value
            for key, value in settings.items()
            if not key.endswith(_FREE_KEYS)
        }
    return json.loads(json.dumps(values, default=str))


def _with_defaults(section: Mapping[str, Any], find: Callable[[str], Callable]) -> dict[str, Any]:
    """Return a section with defaults for omitted arguments; the name comes first."""
    known = registry.parameters(find(section["name"])) or {}
    defaults = {key: parameter.default for key, parameter in known.items() if key != "parent"}
    return {"name": section["name"]} | defaults | dict(section)


def _check_equal(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise UserError for the first key with different values."""
    for key in dict(theirs) | dict(ours):
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"{key} is {theirs.get(key, 'missing')} in that system, but "
                f"{ours.get(key, 'missing')} in this config; set the same front end and network, "
                "or name another system"
            )


def _shapes(task: Recognition | Separation) -> tuple[Any, Any]:
    """Return the shapes of a task's parameters and model state."""
    return jax.eval_shape(task.init, jax.random.key(0))


def _by_name(shapes: Mapping[str, Any], new: set[str]) -> dict[str, tuple[int, ...]]:
    """Return the parameter shapes by name, without the new parameters."""
    return {f"parameter {name}": array.shape for name, array in shapes.items() if name not in new}


def _same_classes(system: Mapping[str, Any], task: Recognition | Separation) -> bool:
    return not isinstance(task, Recognition) or list(task.classes) == system.get("classes")


def _class_dependent(system: Mapping[str, Any]) -> set[str]:
    """Return the names of the arrays whose shapes depend on the number of classes."""
    more = dict(system) | {"classes": [*system["classes"], "another"]}
    shapes, others = (packaged.flatten(*_shapes(create_trained(s))) for s in (system, more))
    return {name for name, array in shapes.items() if array.shape != others[name].shape}


def _describe(source: str, shapes: Mapping[str, Any], new: set[str]) -> str:
    """Return a log line that counts the parameters taken from a system and the new ones."""
    sizes = {
        name.removeprefix("params/"): (array.size, name in new)
        for name, array in shapes.items()
        if name.startswith("params/")
    }
    num_taken = sum(size for size, is_new in sizes.values() if not is_new)
    line = f"{num_taken:,} parameters from {source}"
    if not new:
        return f"{line} (the complete network)"
    num_new = sum(size for size, is_new in sizes.values() if is_new)
    names = ", ".join(name for name, (_, is_new) in sizes.items() if is_new)
    return f"{line}; {num_new:,} new, because the classes differ ({names})"
