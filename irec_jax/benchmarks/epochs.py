"""Time per training epoch for Han's network on a synthetic dataset the size of IRMAS."""

import functools
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from irec_jax import config as configs
from irec_jax import data
from irec_jax.checkpoints import state
from irec_jax.tasks import Recognition
from irec_jax.training import dispatch, loop, optimizers, parallel, step
from irec_jax.training.logging import Logger


def synthetic_clips(num_clips: int, num_samples: int, num_classes: int) -> data.Clips:
    """Return noise clips with one label each."""
    rng = np.random.default_rng(0)
    audio = rng.integers(-20_000, 20_000, (num_clips, num_samples)).astype(np.int16)
    names = np.array([f"clip {i}" for i in range(num_clips)])
    return data.Clips(
        ids=names,
        songs=names,
        labels=np.eye(num_classes, dtype=np.float32)[rng.integers(num_classes, size=num_clips)],
        num_samples=np.full(num_clips, num_samples, np.int64),
        contradictory=np.zeros(num_clips, bool),
        read=lambda i: (audio[i], np.float32(0.61)),
    )


def time_epochs(
    *,
    num_clips: int,
    num_validation: int,
    clip_s: float,
    num_epochs: int,
    placement: str,
    steps_per_call: int | None,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train Han's network on synthetic clips; return the settings and the times in seconds.

    Args:
        num_clips, num_validation: numbers of training and validation clips.
        clip_s: length of a clip in seconds.
        num_epochs: number of epochs.
        placement: value of `data.placement`.
        steps_per_call: value of `training.steps_per_call`; if None, it is chosen automatically.
        overrides: values for other keys of `configs/han.py`.
    """
    config = configs.load("configs/han.py")
    length = {"training.num_epochs": str(num_epochs), "training.patience": "999"}
    configs.override(config, [*length.items(), *(overrides or {}).items()])
    task, _, rate_hz = configs.check_config(config)
    assert isinstance(task, Recognition)

    def make_batches(count: int, *, shuffle: bool) -> data.Batches:
        return data.Batches(
            synthetic_clips(count, round(clip_s * rate_hz), len(task.classes)),
            window_samples=task.window_samples,
            batch_size=config.training.batch_size,
            shuffle=shuffle,
        )

    training = make_batches(num_clips, shuffle=True)
    validation = make_batches(num_validation, shuffle=False)
    began = time.perf_counter()
    store = dispatch.place(training, placement, name="synthetic training")
    valid_store = dispatch.place(validation, placement, name="synthetic validation")
    cut = None if store is None else training.cut
    optimizer, schedule = optimizers.create_optimizer(config.optimizer.to_dict(), 10**6)
    single = functools.partial(
        step.train_step, loss=task.loss, optimizer=optax.with_extra_args_support(optimizer)
    )

    def mapped(*, scan: bool) -> Any:
        return parallel.map_step(step.several_steps(single, scan=scan, cut=cut), donate_state=True)

    params, model_state = task.init(jax.random.key(0))
    initial = state.create(params, model_state, optimizer, task.scalars, 0)
    chosen = steps_per_call or dispatch.steps_per_call(
        training, lambda: mapped(scan=False), initial, store
    )
    with tempfile.TemporaryDirectory() as workdir:
        _, progress = loop.TrainingRun(
            train_step=mapped(scan=chosen > 1),
            batches=training,
            evaluate=step.create_evaluate(
                task.loss,
                functools.partial(validation.iterate, positions=valid_store is not None),
                cut=None if valid_store is None else validation.cut,
                store=valid_store,
            ),
            settings=config.training,
            profile=config.profile,
            schedule=schedule,
            workdir=Path(workdir),
            logger=Logger(None),
            steps_per_call=chosen,
            store=store,
        ).fit(initial)
    seconds = [row["seconds"] for row in progress.history]
    return {
        "placement": "host" if store is None else "device",
        "steps_per_call": chosen,
        "windows": training.num_windows,
        "steps_per_epoch": training.steps_per_epoch,
        "first_epoch_s": seconds[0],
        "epoch_s": statistics.median(seconds[1:] or seconds),
        "epochs": len(seconds),
        "training_s": time.perf_counter() - began,
    }


def describe(results: list[dict[str, Any]]) -> str:
    """Return the results of `time_epochs` as a Markdown table."""
    header = ["audio on", "steps per call", "steps per epoch", "first epoch", "other epochs"]
    header += ["total time"]
    lines = [header, ["---"] * len(header)]
    for row in results:
        if "note" in row:
            lines.append([row["placement"], *["-"] * 4, row["note"]])
            continue
        lines.append(
            [
                row["placement"],
                str(row["steps_per_call"]),
                str(row["steps_per_epoch"]),
                f"{row['first_epoch_s']:.3g} s",
                f"{row['epoch_s']:.3g} s",
                f"{row['training_s']:.3g} s, {row['epochs']} epochs",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
