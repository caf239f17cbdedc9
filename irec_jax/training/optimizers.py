"""Any optimiser and schedule of optax (and optax.contrib) by its own name and arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import optax
import optax.contrib

from irec_jax import registry
from irec_jax.errors import UserError

#: Keys of the config section `optimizer` that are not arguments of the optimiser.
OWN_KEYS = ("schedule", "clip_norm")
#: The argument of a schedule that the optimiser's learning rate stands for, in order of preference.
RATE_ARGUMENTS = ("peak_value", "init_value", "value")
#: The argument of a schedule that the number of training steps stands for when it is not given.
LENGTH_ARGUMENTS = ("decay_steps", "transition_steps")


def _names(module: Any, accept: Callable[[Callable], bool]) -> dict[str, Callable]:
    return {
        name: function
        for name, function in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(function) and accept(function)
    }


#: Not here: a line search (lbfgs) and a second loss (sophia) need more than one gradient per step,
#: dpsgd needs the gradient of every example.
#: The parameters that schedule-free methods train are not those that they evaluate.
UNSUITABLE = (
    "lbfgs",
    "sophia",
    "dpsgd",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_sgd",
)


def _is_optimizer(function: Callable) -> bool:
    named = function.__name__ not in UNSUITABLE and not function.__name__.startswith("scale_by")
    return named and "learning_rate" in inspect.signature(function).parameters


def _is_schedule(function: Callable) -> bool:
    named = function.__name__.endswith(("_schedule", "_decay"))
    return named and not function.__name__.startswith("scale_by")


def _optimizers() -> dict[str, Callable]:
    return _names(optax.contrib, _is_optimizer) | _names(optax, _is_optimizer)


def find(name: str) -> Callable:
    """The optimiser of optax or optax.contrib of that name; UserError for an unknown one."""
    known = _optimizers()
    if name not in known:
        raise registry.unknown("optimizer", name, known)
    return known[name]


def find_schedule(name: str) -> Callable:
    """The schedule of optax of that name; UserError for an unknown one."""
    known = _names(optax, _is_schedule)
    if name not in known:
        raise registry.unknown("schedule", name, known)
    return known[name]


def schedule(settings: Mapping[str, Any], learning_rate: float, num_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
        settings: `name` and arguments of an optax schedule; an empty name means constant. An
            argument for the highest (first) rate that is not given is the learning rate, one for
            the length is the number of training steps.
        learning_rate: of the optimiser's section.
        num_steps: the most steps that training can take.
    """
    settings = dict(settings)
    name = settings.pop("name")
    if not name:
        return optax.constant_schedule(learning_rate)
    function = find_schedule(name)
    known = registry.parameters(function) or {}
    for names, value in ((RATE_ARGUMENTS, learning_rate), (LENGTH_ARGUMENTS, num_steps)):
        taken = [argument for argument in names if argument in known]
        if taken:
            settings.setdefault(taken[0], value)
    # A warm-up starts from nothing unless it says otherwise.
    if "peak_value" in known and "init_value" in known:
        settings.setdefault("init_value", 0.0)
    return registry.create("schedule", {name: function}, name, **settings)


def create(settings: Mapping[str, Any], num_steps: int) -> tuple[optax.GradientTransformation, Any]:
    """The optimiser of a config section.

    Args:
        settings: `name`, `learning_rate` and other arguments of an optax optimiser, `schedule`
            (see above) and `clip_norm` (0: no clipping by the global norm).
        num_steps: the most steps that training can take.

    Returns:
        The gradient transformation and the schedule of its learning rate.

    Raises:
        UserError: an unknown name or argument.
    """
    arguments = dict(settings)
    name = arguments.pop("name")
    clip_norm = arguments.pop("clip_norm", 0.0)
    rates = arguments.pop("schedule", {"name": ""})
    if "learning_rate" not in arguments or arguments["learning_rate"] is None:
        raise UserError(f"config key optimizer.learning_rate is missing for optimizer {name!r}")
    rate = schedule(rates, arguments["learning_rate"], num_steps)
    # A plain number where the rate is constant: some optimisers of optax.contrib take no schedule.
    if rates["name"]:
        arguments["learning_rate"] = rate
    optimizer = registry.create("optimizer", {name: find(name)}, name, **arguments)
    if clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    return optax.with_extra_args_support(optimizer), rate
