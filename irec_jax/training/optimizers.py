"""Optimisers and schedules from optax and optax.contrib, with unchanged names and arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import optax
import optax.contrib

from irec_jax import registry
from irec_jax.errors import UserError

#: Keys in the `optimizer` section that are not optimiser arguments.
OWN_KEYS = ("schedule", "clip_norm")
_SCHEDULE_FREE = "evaluates with parameters other than those it trains"
#: Optimisers that the training step cannot run, with the reason for each.
UNSUITABLE = {
    "lbfgs": "uses a line search, which needs the loss at several points in each step",
    "polyak_sgd": "derives its learning rate from the loss and takes none",
    "sophia": "needs second derivatives of the loss, but training computes only its gradient",
    "dpsgd": "needs the gradient of every example, but training computes only that of the batch",
    "sam": "needs gradients at two points in each step",
    "galore": "has empty arrays in its state, which checkpoints cannot store",
    "noisy_sgd": "has a random key of its own, which checkpoints cannot store",
    "schedule_free": _SCHEDULE_FREE,
    "schedule_free_adamw": _SCHEDULE_FREE,
    "schedule_free_sgd": _SCHEDULE_FREE,
}
_BUILDING_BLOCK = "is a building block of optimisers, not a complete optimiser"
#: Schedule arguments that default to the learning rate and to the number of training steps,
#: respectively. If a schedule has several arguments from one list, only the first gets the default.
_DEFAULT_RATES = ("peak_value", "init_value", "value")
_DEFAULT_LENGTHS = ("decay_steps", "transition_steps")


def _functions(*modules: Any) -> dict[str, Callable]:
    """Return the modules' public functions except `scale_by_*`; later modules take precedence."""
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and not function.__name__.startswith("scale_by")
    }


def _optimizers() -> dict[str, Callable]:
    return {
        name: function
        for name, function in _functions(optax.contrib, optax).items()
        if function.__name__ not in UNSUITABLE
        and "learning_rate" in inspect.signature(function).parameters
    }


def _schedules() -> dict[str, Callable]:
    functions = _functions(optax).items()
    return {n: f for n, f in functions if f.__name__.endswith(("_schedule", "_decay"))}


def find_optimizer(name: str) -> Callable:
    """Return an optimiser from optax or optax.contrib.

    Raises:
        UserError: an unknown name, or an optimiser that the training step cannot run.
    """
    known = _optimizers()
    if name not in known and (reason := _unsuitable(name)):
        raise UserError(f"optimizer {name!r}: {reason}; choose another one, such as 'adam'")
    return registry.find("optimizer", known, name)


def _unsuitable(name: str) -> str | None:
    """Return the reason why training cannot use an optax function; None if no reason is known."""
    if name in UNSUITABLE:
        return UNSUITABLE[name]
    function = getattr(optax, name, getattr(optax.contrib, name, None))
    if not inspect.isfunction(function):
        return None
    returned = str(inspect.signature(function).return_annotation)
    return _BUILDING_BLOCK if "GradientTransformation" in returned else None


def find_schedule(name: str) -> Callable:
    """Return a schedule from optax; raise UserError for an unknown name."""
    return registry.find("schedule", _schedules(), name)


#: Optimiser and schedule arguments that the config need not set.
FROM_RUN = ("learning_rate", *_DEFAULT_RATES, *_DEFAULT_LENGTHS)


def create_schedule(
    settings: Mapping[str, Any], learning_rate: float, num_steps: int
) -> optax.Schedule:
    """Create the learning rate schedule, a function of the step.

    Args:
        settings: `name` and arguments of an optax schedule; without a name, the rate is constant.
            The highest (or first) rate defaults to the learning rate, and the length to the number
            of training steps. A warm-up starts from 0 unless `init_value` is given.
        learning_rate: value of `optimizer.learning_rate`.
        num_steps: maximum number of training steps.

    Raises:
        UserError: an unknown name or argument, or a warm-up that is not shorter than the schedule.
    """
    settings = dict(settings)
    name = settings.pop("name")
    if not name:
        return optax.constant_schedule(learning_rate)
    function = find_schedule(name)
    known = registry.parameters(function) or {}
    for names, value in ((_DEFAULT_RATES, learning_rate), (_DEFAULT_LENGTHS, num_steps)):
        for argument in [argument for argument in names if argument in known][:1]:
            settings.setdefault(argument, value)
    if "peak_value" in known and "init_value" in known:
        settings.setdefault("init_value", 0.0)
    if "boundaries_and_scales" in known:
        settings["boundaries_and_scales"] = _boundaries(settings.get("boundaries_and_scales"))
    warmup_steps, decay_steps = settings.get("warmup_steps", 0), settings.get("decay_steps")
    if decay_steps is not None and warmup_steps >= decay_steps:
        raise UserError(
            f"optimizer.schedule.warmup_steps={warmup_steps}: the schedule ends after "
            f"{decay_steps} steps; choose a shorter warm-up or train for more epochs"
        )
    return registry.create("schedule", {name: function}, name, **settings)


def _boundaries(scales: Mapping[Any, float] | None) -> dict[int, float]:
    """Return step -> factor of the rate from a config, where keys are texts."""
    try:
        if scales:
            return {int(step): float(scale) for step, scale in scales.items()}
        problem = "missing"
    except (AttributeError, TypeError, ValueError):
        problem = "expected steps and factors"
    raise UserError(
        f"optimizer.schedule.boundaries_and_scales: {problem}; set it to a dict such as "
        "{1000: 0.1, 2000: 0.1}"
    )


def create_optimizer(
    settings: Mapping[str, Any], num_steps: int
) -> tuple[optax.GradientTransformation, Any]:
    """Create the optimiser that the `optimizer` section of a config describes.

    Args:
        settings: `name`, `learning_rate` and other arguments of an optax optimiser, `schedule`
            (see `create_schedule`) and `clip_norm`, the largest global norm of the gradient (None
            for no clipping).
        num_steps: maximum number of training steps.

    Returns:
        The gradient transformation and its learning rate schedule.

    Raises:
        UserError: an unknown name or argument.
    """
    arguments = dict(settings)
    name = arguments.pop("name")
    clip_norm = arguments.pop("clip_norm", None)
    schedule = arguments.pop("schedule", {"name": None})
    if arguments.get("learning_rate") is None:
        raise UserError(f"optimizer.learning_rate: missing; set it for optimizer {name!r}")
    rate = create_schedule(schedule, arguments["learning_rate"], num_steps)
    # A constant rate stays a plain number, since some optax.contrib optimisers reject schedules.
    if schedule["name"]:
        arguments["learning_rate"] = rate
    optimizer = registry.create("optimizer", {name: find_optimizer(name)}, name, **arguments)
    if clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    return optax.with_extra_args_support(optimizer), rate
