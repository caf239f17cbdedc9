"""What a config means, and whether it can be run: found out before anything is built or trained."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data, registry
from irec_jax.errors import UserError
from irec_jax.inference import aggregation
from irec_jax.inference.separation import PHASES
from irec_jax.tasks import Recognition, Separation, create_recognition, create_separation
from irec_jax.tasks.recognition import NORMALIZATIONS
from irec_jax.training import optimizers, parallel
from irec_jax.training.logging import parameter_table

#: Config key -> the least value it may have.
AT_LEAST = {
    "evaluation.batch_size": 1,
    "evaluation.griffin_lim_iterations": 0,
    "evaluation.num_bootstrap": 1,
    "loss.l2": 0,
    "optimizer.clip_norm": 0,
    "profile.num_steps": 0,
    "profile.start_step": 0,
    "seed": 0,
    "training.batch_size": 1,
    "training.checkpoint_every_steps": 0,
    "training.log_every_steps": 1,
    "training.max_steps_per_epoch": 0,
    "training.num_epochs": 1,
    "training.patience": 0,
    "training.min_steps_per_epoch": 0,
    "training.repeats": 1,
}
#: Config key -> the values it may have, of each task.
ONE_OF = {
    "recognition": {
        "data.channels": data.CHANNELS,
        "data.normalize": NORMALIZATIONS,
        "data.split": data.SPLITS,
        "model.dtype": ("float32", "bfloat16"),
    },
    "separation": {
        "data.channels": data.STEM_CHANNELS,
        "data.split": data.STEM_SPLITS,
        "evaluation.phase": PHASES,
        "model.dtype": ("float32", "bfloat16"),
    },
}
#: Config key of a number above 0 -> what it must be below.
BETWEEN_0_AND = {
    "data.test_fraction": 1.0,
    "data.validation_fraction": 1.0,
    "data.window_s": 3600.0,
}


def create_task(config: config_dict.ConfigDict) -> tuple[Recognition | Separation, int]:
    """The task of a config, and the sample rate in Hz of its dataset, which is not prepared."""
    named = dict(
        window_s=config.data.window_s,
        frontend=config.frontend,
        model=config.model,
        loss=config.loss,
        augment=config.augment,
    )
    if config.task == "separation":
        stems, rate = data.describe_stems(config.data)
        target = data.parse_target(config.data.target, stems)
        with _blamed("data, frontend and model"):
            return create_separation(stems=stems, target=target, sample_rate_hz=rate, **named), rate
    classes, rate = data.describe(config.data)
    named["normalize"] = config.data.normalize
    with _blamed("data, frontend and model"):
        return create_recognition(classes=classes, sample_rate_hz=rate, **named), rate


def validate(config: config_dict.ConfigDict) -> tuple[Recognition | Separation, Any, int]:
    """Finds what is wrong with a config before anything is built or trained.

    Returns:
        Its task, the shapes of the task's parameters, and the sample rate in Hz.

    Raises:
        UserError: a value out of range, or values that do not go together; the key is named.
    """
    flat = configs.flatten(config)
    if config.task not in ONE_OF:
        raise registry.unknown("config key task", config.task, ONE_OF)
    for key, value in flat.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config key {key}={value}: must be a finite number")
    for key, least in AT_LEAST.items():
        if flat.get(key, least) < least:
            raise UserError(f"config key {key}={flat[key]}: must be at least {least}")
    if config.seed + config.training.repeats > 2**32:
        raise UserError(f"config key seed={config.seed}: must be below 2**32")
    for key, known in ONE_OF[config.task].items():
        if key in flat and flat[key] not in known:
            raise registry.unknown(f"config key {key}", flat[key], known)
    for key, high in BETWEEN_0_AND.items():
        if not 0 < flat.get(key, high / 2) < high:
            raise UserError(f"config key {key}={flat[key]}: must lie between 0 and {high:g}")
    if config.task == "recognition":
        _check_recognition(config)
    elif not 0 <= config.data.get("remix", 0) <= 1:
        raise UserError(f"config key data.remix={config.data.remix}: must lie between 0 and 1")
    if not 0 < config.evaluation.hop_s <= config.data.window_s:
        raise UserError(
            f"config key evaluation.hop_s={config.evaluation.hop_s}: must be above 0 and at most "
            f"data.window_s={config.data.window_s}"
        )
    parallel.check_batch_size(config.training.batch_size, "training.batch_size")
    task, rate = create_task(config)
    with _blamed("data, frontend and model"):
        params, _ = jax.eval_shape(task.init, jax.random.key(0))
    for key in ("training.best_by", "training.stop_by"):
        if flat[key] not in ("loss", *task.scalars):
            raise registry.unknown(key, flat[key], ("loss", *task.scalars))
    with _blamed("optimizer"):
        optimizer, _ = optimizers.create(config.optimizer.to_dict(), 1)
        jax.eval_shape(optimizer.init, params)
    return task, params, rate


def _check_recognition(config: config_dict.ConfigDict) -> None:
    """What only recognisers have."""
    if config.data.split in ("song", "window"):
        share = config.data.validation_fraction + config.data.test_fraction
        if not share < 1:
            raise UserError(
                f"config keys data.validation_fraction={config.data.validation_fraction} and "
                f"data.test_fraction={config.data.test_fraction}: leave nothing to train on; "
                "their sum must be below 1"
            )
    hop_s, window_s = config.data.hop_s, config.data.window_s
    # `data.window_positions` accepts windows that are up to a thousandth too short.
    if hop_s and not window_s / 1000 < hop_s <= window_s:
        raise UserError(
            f"config key data.hop_s={hop_s}: must be 0 (windows side by side), or more than a "
            f"thousandth of data.window_s={window_s} and at most that"
        )
    if not 0 <= config.evaluation.threshold <= 1:
        raise UserError(
            f"config key evaluation.threshold={config.evaluation.threshold}: must be from 0 (that "
            "of the aggregation) to 1"
        )
    aggregation.get(config.evaluation.aggregation)


@contextlib.contextmanager
def _blamed(sections: str) -> Iterator[None]:
    """Turns what a library says of a value into one line that names the sections of the config."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, AssertionError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"config, {sections}: {reason[:200]}") from error


def dry_run(config: config_dict.ConfigDict) -> str:
    """Config, shapes and parameter table, without data and without computing anything."""
    task, params, rate = validate(config)
    size = config.training.batch_size
    examples = jax.ShapeDtypeStruct((size, task.window_samples), "float32")
    features = jax.eval_shape(task.frontend, examples)
    if isinstance(task, Separation):
        about = [
            f"stems     {len(task.stems)}: {', '.join(task.stems)}",
            f"target    {' + '.join(task.target)}",
            f"split     {config.data.split}: {data.STEM_SPLITS[config.data.split]}",
        ]
        shape, output = (size, len(task.stems), task.window_samples), features.shape
        meaning = "features of the target"
    else:
        about = [
            f"classes   {len(task.classes)}: {', '.join(task.classes)}",
            f"split     {config.data.split}: {data.SPLITS[config.data.split]}",
        ]
        shape, output = (size, task.window_samples), (size, len(task.classes))
        meaning = "probabilities"
    return "\n".join(
        [
            str(config).rstrip(),
            "",
            *about,
            f"audio     {shape} int16 at {rate} Hz",
            *_shapes(features),
            f"output    {output} float32, {meaning}",
            "",
            parameter_table(params),
            "",
            f"parameters: {parallel.num_parameters(params)}",
        ]
    )


def _shapes(features: Any) -> list[str]:
    """A line for an array of features, or for each array of a dict."""
    lines = []
    for path, array in jax.tree_util.tree_leaves_with_path(features):
        name = "".join(f" {key.key}" for key in path)
        lines.append(f"features  {array.shape} {array.dtype}{name}")
    return lines
