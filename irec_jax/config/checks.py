"""Validation of configs, before anything is built or trained."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import config_dict

from irec_jax import data, losses, registry
from irec_jax.config.loading import flatten
from irec_jax.config.sections import NAMED, argument_default, section_of
from irec_jax.data.dataset import CHANNELS
from irec_jax.data.stem_batches import STEM_CHANNELS
from irec_jax.errors import UserError
from irec_jax.frontends.gate import FILLS, REFERENCES
from irec_jax.inference import aggregation
from irec_jax.inference.separation import PHASES
from irec_jax.inference.side_by_side import WINDOWS, check_window
from irec_jax.tasks import (
    Recognition,
    Separation,
    create_multi_instance,
    create_recognition,
    create_separation,
)
from irec_jax.training import dispatch, optimizers, parallel

#: Config key -> smallest valid value.
MINIMUM = {
    "evaluation.batch_size": 1,
    "evaluation.griffin_lim_iterations": 1,
    "evaluation.max_decay_db": 0,
    "evaluation.num_bootstrap": 1,
    "loss.l2": 0,
    "optimizer.clip_norm": 0,
    "profile.num_steps": 0,
    "profile.start_step": 0,
    "seed": 0,
    "training.batch_size": 1,
    "training.checkpoint_every_s": 0,
    "training.checkpoint_every_steps": 0,
    "training.log_every_steps": 1,
    "training.max_steps_per_epoch": 0,
    "training.num_epochs": 1,
    "training.patience": 0,
    "training.min_steps_per_epoch": 0,
    "training.repeats": 1,
    "training.steps_per_call": 1,
}
#: Task -> config key -> valid values.
CHOICES = {
    "recognition": {
        "data.channels": CHANNELS,
        "data.split": data.SPLITS,
        "data.split_validation": data.VALIDATION_SPLITS,
    },
    "multi_instance": {"data.channels": CHANNELS, "data.split": data.SPLITS},
    "separation": {
        "data.channels": STEM_CHANNELS,
        "data.split": data.STEM_SPLITS,
        "evaluation.phase": PHASES,
        "evaluation.post_fill": FILLS,
        "evaluation.post_reference": REFERENCES,
        "evaluation.windows": WINDOWS,
    },
}
#: Config key whose value is a positive number -> exclusive upper bound.
UPPER_BOUND = {
    "data.test_fraction": 1.0,
    "data.validation_fraction": 1.0,
    "data.window_s": 3600.0,
    "training.ema_decay": 1.0,
}
#: Config keys whose values are numbers from 0 to 1.
FRACTIONS = ("data.remix", "evaluation.threshold")


def check_keys(config: config_dict.ConfigDict) -> None:
    """Check the keys of the named sections.

    Raises:
        UserError: a name is unknown, or an argument of the named function is unknown or missing.
    """
    for path, named in NAMED.items():
        section = section_of(config, path)
        if section is not None and (section.name or path != "optimizer.schedule"):
            for key in section:
                argument_default(section, path, key)
            given = (*section, *named.internal, *named.defaulted)
            for key in registry.missing_arguments(named.find(section.name), given):
                raise UserError(
                    f"{path}.{key}: missing, but {section.name} requires it; set "
                    f"--config.{path}.{key}"
                )


def check_config(config: config_dict.ConfigDict) -> tuple[Recognition | Separation, Any, int]:
    """Check a config; return its task, its parameter shapes, and the sample rate in Hz.

    Raises:
        UserError: a value is out of range, or values contradict each other; the message names the
            key.
    """
    flat = flatten(config)
    if config.task not in CHOICES:
        raise registry.unknown("task", config.task, CHOICES)
    _check_ranges(flat)
    choices = CHOICES[config.task] | {
        "data.placement": dispatch.PLACEMENTS,
        "loss.class_weights": ("none", *losses.CLASS_WEIGHTS),
        "model.dtype": ("float32", "bfloat16"),
        "training.keep": ("best", "last"),
    }
    for key, known in choices.items():
        if flat.get(key) is not None and flat[key] not in known:
            raise registry.unknown(key, flat[key], known)
    if config.seed + config.training.repeats > 2**32:
        raise UserError(f"seed={config.seed}: expected a number below 2**32")
    hop_s, window_s = config.evaluation.hop_s, config.data.window_s
    if not 0 < hop_s <= window_s:
        raise UserError(
            f"evaluation.hop_s={hop_s}: expected a positive number of seconds, at most "
            f"data.window_s={window_s}"
        )
    if config.task != "separation":
        _check_recognition(config)
    parallel.check_batch_size(config.training.batch_size, "training.batch_size")
    task, rate = _create_task(config)
    if isinstance(task, Separation) and config.evaluation.windows == "side_by_side":
        check_window(task.frontend, task.window_samples)
    with name_sections("data, frontend and model"):
        params, _ = jax.eval_shape(task.init, jax.random.key(0))
    criteria = ("loss", *task.scalars, *task.split_scores)
    for key in ("training.best_by", "training.stop_by"):
        if flat[key] not in criteria:
            raise registry.unknown(key, flat[key], criteria)
    with name_sections("optimizer"):
        # The number of steps depends on the dataset, so a schedule that is longer than the training
        # run is detected only when the experiment creates the optimiser.
        optimizer, _ = optimizers.create_optimizer(config.optimizer.to_dict(), 10**9)
        jax.eval_shape(optimizer.init, params)
    return task, params, rate


def _create_task(config: config_dict.ConfigDict) -> tuple[Recognition | Separation, int]:
    """Return the task of a config and the sample rate in Hz, without preparing the dataset."""
    sections = {name: config[name] for name in ("frontend", "model", "loss", "augment")}
    if config.task == "separation":
        stems, rate = data.describe_stems(config.data)
        target = data.parse_target(config.data.target, stems)
        create, options = create_separation, dict(stems=stems, target=target)
    else:
        classes, rate = data.describe(config.data)
        options = dict(classes=classes, normalize=config.data.normalize)
        create = create_recognition
        if config.task == "multi_instance":
            create, options = create_multi_instance, options | dict(bag=config.bag)
    with name_sections("data, frontend and model"):
        options |= dict(sample_rate_hz=rate, window_s=config.data.window_s)
        return create(**options, **sections), rate


@contextlib.contextmanager
def name_sections(sections: str) -> Iterator[None]:
    """Convert library errors about invalid values into a UserError that names the sections."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, AssertionError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"config ({sections}): {reason[:200]}") from error


def _check_ranges(flat: dict[str, Any]) -> None:
    """Check the range of each number; None (not set) is valid."""
    given = {key: value for key, value in flat.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value}: expected a finite number")
    for key, minimum in MINIMUM.items():
        if given.get(key, minimum) < minimum:
            raise UserError(f"{key}={given[key]}: expected at least {minimum}")
    for key, bound in UPPER_BOUND.items():
        if not 0 < given.get(key, bound / 2) < bound:
            raise UserError(f"{key}={given[key]}: expected a number between 0 and {bound:g}")
    for key in FRACTIONS:
        if not 0 <= given.get(key, 0) <= 1:
            raise UserError(f"{key}={given[key]}: expected a number from 0 to 1")


def _check_recognition(config: config_dict.ConfigDict) -> None:
    """Check the settings that are specific to recognisers."""
    settings = config.data
    if settings.get("split_validation", "song") != "song" and (
        settings.split not in data.CLIP_SPLITS
    ):
        raise UserError(
            f"data.split_validation={settings.split_validation}: not possible with data.split="
            f"{settings.split}, which divides windows; set it to song, or set data.split to "
            f"{' or '.join(data.CLIP_SPLITS)}"
        )
    if settings.split in ("song", "window"):
        if not settings.validation_fraction + settings.test_fraction < 1:
            raise UserError(
                f"data.validation_fraction={settings.validation_fraction} and "
                f"data.test_fraction={settings.test_fraction}: leave no examples for training; "
                "choose fractions whose sum is below 1"
            )
    hop_s, window_s = settings.hop_s, settings.window_s
    # At the end of a clip, a window that is short by less than a thousandth of its length counts as
    # complete, so a smaller hop would place windows beyond the end of the clip.
    if hop_s and not window_s / 1000 < hop_s <= window_s:
        raise UserError(
            f"data.hop_s={hop_s}: expected more than a thousandth of data.window_s={window_s} and "
            "at most data.window_s; use None for windows without overlap"
        )
    aggregation.get(config.evaluation.aggregation)
    if "label_s" in settings and config.evaluation.get("max_decay_db") is not None:
        raise UserError(
            "evaluation.max_decay_db: does not apply to labels over time, for which every instance "
            "has its own scores; set it to None"
        )
