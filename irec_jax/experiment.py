"""An experiment of a recogniser: from a config to a trained system and its report in a workdir."""

import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from irec_jax import config as configs
from irec_jax import data
from irec_jax.errors import UserError
from irec_jax.evaluation import baselines, provenance, recognition, report
from irec_jax.evaluation.predict import predict_split
from irec_jax.evaluation.reported import REPORTED
from irec_jax.inference import aggregation
from irec_jax.tasks import Recognition, create_recognition
from irec_jax.training import checkpoints, loop, optimizers, parallel, state, step, validation
from irec_jax.training.logging import Logger, duration, parameter_table


def create_task(
    config: config_dict.ConfigDict, classes: tuple[str, ...], sample_rate_hz: int
) -> Recognition:
    """The task of a config, for these classes."""
    return create_recognition(
        classes=classes,
        sample_rate_hz=sample_rate_hz,
        window_s=config.data.window_s,
        frontend=config.frontend,
        model=config.model,
        loss=config.loss,
        augment=config.augment,
    )


def dry_run(config: config_dict.ConfigDict) -> str:
    """Config, shapes and parameter table, without data and without computing anything."""
    classes, rate = data.describe(config.data)
    task = create_task(config, classes, rate)
    _check_training(config)
    optimizers.create(config.optimizer.to_dict(), 1)
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    features = task.frontend.output_shape(task.window_samples)
    size = config.training.batch_size
    return "\n".join(
        [
            str(config).rstrip(),
            "",
            f"classes   {len(classes)}: {', '.join(classes)}",
            f"audio     ({size}, {task.window_samples}) int16 at {rate} Hz",
            f"features  ({', '.join(map(str, (size, *features)))}) float32",
            f"logits    ({size}, {len(classes)}) float32",
            "",
            parameter_table(params),
            "",
            f"parameters: {parallel.num_parameters(params)}",
        ]
    )


def _check_training(config: config_dict.ConfigDict) -> None:
    parallel.check_batch_size(config.training.batch_size, "training.batch_size")
    for key in ("num_epochs", "repeats", "log_every_steps"):
        if config.training[key] < 1:
            raise UserError(f"config key training.{key}={config.training[key]} must be at least 1")
    aggregation.get(config.evaluation.aggregation)
    if not config.evaluation.hop_s > 0 or config.evaluation.hop_s > config.data.window_s:
        raise UserError(
            f"config key evaluation.hop_s={config.evaluation.hop_s} must be above 0 and at most "
            f"data.window_s={config.data.window_s}"
        )


def claim_workdir(workdir: Path, config: config_dict.ConfigDict, mode: str) -> None:
    """Makes a workdir this config's own, or finds that it is.

    Raises:
        UserError: it belongs to another config (the differing keys are listed), holds other
            files, or cannot be written.
    """
    flat = configs.flatten(config)
    file = workdir / checkpoints.CONFIG_FILE
    if file.exists():
        # What was trained can be evaluated in another way.
        ignored = ("evaluation.",) if mode == "eval" else ()
        differing = configs.differences(flat, checkpoints.read_json(file), ignored)
        if differing:
            raise UserError(
                f"{workdir}: holds a run of another config ({'; '.join(differing)}); choose "
                "another --workdir, or delete this one"
            )
        return
    if mode == "eval":
        raise UserError(f"{workdir}: nothing trained here yet; run with --mode=train first")
    if workdir.is_dir() and any(workdir.iterdir()):
        raise UserError(f"{workdir}: holds other files; choose an empty or new --workdir")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; choose another --workdir")
    if parallel.is_main():
        checkpoints.write_json(file, flat)


@dataclasses.dataclass
class Experiment:
    """What all repeats share: the data, and one compiled step."""

    name: str
    config: config_dict.ConfigDict
    dataset: data.Dataset
    task: Recognition
    train_step: Any = None
    baselines: dict[str, dict] | None = None

    @property
    def hop_samples(self) -> int:
        return max(1, round(self.config.evaluation.hop_s * self.dataset.sample_rate_hz))

    def splits(self, seed: int) -> tuple[data.Clips, data.Clips]:
        """Training and validation clips."""
        clips = self.dataset.train
        train, valid = data.split_songs(
            clips.songs, clips.labels, fraction=self.config.data.validation_fraction, seed=seed
        )
        return clips.subset(train), clips.subset(valid)

    def batches(self, clips: data.Clips, *, seed: int = 0, shuffle: bool) -> data.Batches:
        """Batches of a split for this process."""
        return data.Batches(
            clips,
            window_samples=self.task.window_samples,
            batch_size=self.config.training.batch_size,
            seed=seed,
            shuffle=shuffle,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            max_steps_per_epoch=self.config.training.max_steps_per_epoch if shuffle else 0,
        )


def run(name: str, config: config_dict.ConfigDict, workdir: Path, mode: str) -> dict:
    """Trains (or takes what was trained) and evaluates every repeat; returns the last report.

    Args:
        name: of the config, such as 'han'.
        config: resolved and locked.
        workdir: where everything goes; repeats go to `seed_N` folders in it.
        mode: 'train' trains, resuming if need be, and evaluates; 'eval' only evaluates.

    Raises:
        UserError: whatever a user can mend.
    """
    _check_training(config)
    workdir = Path(workdir).expanduser()
    claim_workdir(workdir, config, mode)
    logger = Logger(None)
    began = time.perf_counter()
    dataset = data.load(config.data)
    data_s = time.perf_counter() - began
    experiment = Experiment(
        name, config, dataset, create_task(config, dataset.classes, dataset.sample_rate_hz)
    )
    origin = f"{dataset.name} {dataset.version} ({dataset.config})"
    logger.say(
        f"{origin}{', rendered audio' if dataset.rendered else ''}: {len(dataset.train)} training "
        f"and {len(dataset.test)} test clips of {len(dataset.classes)} classes"
    )
    reports = []
    for repeat in range(config.training.repeats):
        seed = config.seed + repeat
        folder = workdir / f"seed_{seed}" if config.training.repeats > 1 else workdir
        if config.training.repeats > 1:
            logger.say(f"repeat {repeat + 1} of {config.training.repeats}, seed {seed}")
        reports.append(_run_once(experiment, folder, seed, mode, {"data": data_s}))
    if len(reports) > 1 and parallel.is_main():
        summary = report.summarize_repeats(reports)
        final = reports[0] | {"repeats": summary}
        page = report.write(final, workdir)
        for average in ("micro", "macro"):
            f1 = summary["thresholds"]["fixed"][average]["f1"]
            logger.say(f"{average} F1 at the fixed threshold: {f1['mean']:.3f} ± {f1['sd']:.3f}")
        logger.say(f"report: {page}")
    return reports[-1]


def _run_once(
    experiment: Experiment, folder: Path, seed: int, mode: str, durations_s: dict[str, float]
) -> dict:
    """One repeat, from its training to its report."""
    train, valid = experiment.splits(seed)
    logger = Logger(folder / "tensorboard")
    if mode == "train":
        params, model_state, progress = _train(experiment, train, valid, folder, seed, logger)
        _write_system(experiment, folder, {})
        history, durations_s["training"] = progress.history, progress.seconds
    else:
        variables = jax.eval_shape(experiment.task.init, jax.random.key(0))
        params, model_state = checkpoints.load_best_variables(folder / "checkpoints", variables)
        history = checkpoints.load_history(folder / "checkpoints")
    parallel.wait_for_all("trained")
    began = time.perf_counter()
    found = _evaluate(experiment, params, model_state, train, valid, logger)
    durations_s["evaluation"] = time.perf_counter() - began
    evaluation, compared = found
    dataset = experiment.dataset
    whole = report.assemble(
        evaluation,
        system=experiment.name,
        rendered=dataset.rendered,
        provenance=provenance.collect(
            dataset=dataset.name,
            version=dataset.version,
            config=dataset.config,
            split="test",
            seed=seed,
            durations_s=durations_s,
        ),
        baselines=compared,
        history=history,
        reported=REPORTED.get(experiment.name),
    )
    if parallel.is_main():
        levels = {
            kind: _in_class_order(block["threshold"], dataset.classes)
            for kind, block in evaluation["thresholds"].items()
            if kind != "oracle"
        }
        _write_system(experiment, folder, levels)
        page = report.write(whole, folder)
        logger.say(_summary(whole))
        logger.say(f"report: {page}")
    logger.close()
    return whole


def _train(
    experiment: Experiment,
    train: data.Clips,
    valid: data.Clips,
    folder: Path,
    seed: int,
    logger: Logger,
) -> tuple[Any, Any, loop.Progress]:
    """Best parameters and model state on the host, and how it went."""
    config, task = experiment.config, experiment.task
    batches = experiment.batches(train, seed=seed, shuffle=True)
    num_steps = batches.steps_per_epoch * config.training.num_epochs
    optimizer, schedule = optimizers.create(config.optimizer.to_dict(), num_steps)
    params, model_state = jax.jit(task.init)(jax.random.key(seed))
    if experiment.train_step is None:
        logger.say(parameter_table(params))
        one_step = functools.partial(
            step.train_step, loss=task.loss, optimizer=optimizer, l2=config.loss.l2
        )
        experiment.train_step = parallel.map_step(one_step, donate_state=True)
    logger.say(
        f"{batches.num_windows} windows of {config.data.window_s} s from {len(train)} clips, "
        f"{batches.steps_per_epoch} steps per epoch on {jax.device_count()} device(s); "
        f"{len(valid)} clips validate; tensorboard --logdir {folder / 'tensorboard'}"
    )
    logger.summaries(0, task.summaries(batches[0]), experiment.dataset.sample_rate_hz)
    valid_batches = experiment.batches(valid, shuffle=False)
    best, progress = loop.fit(
        state.create(params, model_state, optimizer, task.scalars, seed),
        train_step=experiment.train_step,
        batches=batches,
        evaluate=validation.create_evaluate(task.loss, valid_batches.iterate),
        settings=config.training,
        profile=config.profile,
        schedule=schedule,
        workdir=folder,
        logger=logger,
    )
    logger.say(
        f"best epoch {progress.best['epoch']} of {len(progress.history)}, validation loss "
        f"{progress.best['valid_loss']:.4f}, trained in {duration(progress.seconds)}"
    )
    return best.params, best.model_state, progress


def _evaluate(
    experiment: Experiment,
    params: Any,
    model_state: Any,
    train: data.Clips,
    valid: data.Clips,
    logger: Logger,
) -> tuple[dict, dict]:
    """Scores of the model, and of the baselines on the same split."""
    config, dataset = experiment.config, experiment.dataset

    def predict(clips: data.Clips, label: str) -> recognition.Predictions:
        sizes = dict(hop_samples=experiment.hop_samples, batch_size=config.evaluation.batch_size)
        found = predict_split(experiment.task, params, model_state, clips, **sizes, label=label)
        return recognition.Predictions(
            ids=list(clips.ids),
            songs=list(clips.songs),
            labels=clips.labels,
            windows=found,
            classes=dataset.classes,
            contradictory=clips.contradictory,
        )

    test, tuning = predict(dataset.test, "test"), predict(valid, "validation")
    score = functools.partial(
        recognition.evaluate,
        aggregation=config.evaluation.aggregation,
        num_resamples=config.evaluation.num_bootstrap,
    )
    if experiment.baselines is None and parallel.is_main():
        logger.say("baselines on the same split: majority, MFCC statistics + logistic regression")
        experiment.baselines = {
            name: recognition.compact(score(*predictions))
            for name, predictions in _baselines(train, valid, dataset, test, tuning).items()
        }
    return score(test, tuning), experiment.baselines or {}


def _baselines(
    train: data.Clips,
    valid: data.Clips,
    dataset: data.Dataset,
    test: recognition.Predictions,
    tuning: recognition.Predictions,
) -> dict[str, tuple[recognition.Predictions, recognition.Predictions]]:
    """Test and validation predictions of both baselines."""

    def audio(clips: data.Clips):
        for i in range(len(clips)):
            yield clips.read(i).astype(np.float32) / data.INT16_SCALE

    majority = baselines.Majority.fit(train.labels)
    pairs = zip(audio(train), train.labels, strict=True)
    mfcc = baselines.MfccLogistic.fit(pairs, sample_rate_hz=dataset.sample_rate_hz)
    return {
        "majority": (majority.predict(test), majority.predict(tuning)),
        "MFCC + logistic regression": (
            mfcc.predict(audio(dataset.test), test),
            mfcc.predict(audio(valid), tuning),
        ),
    }


def _in_class_order(threshold: float | Mapping[str, float], classes: tuple[str, ...]) -> Any:
    if isinstance(threshold, Mapping):
        return [float(threshold[name]) for name in classes]
    return float(threshold)


def _write_system(experiment: Experiment, folder: Path, thresholds: dict[str, Any]) -> None:
    """`system.json`: what a user of the parameters needs beside them."""
    if not parallel.is_main():
        return
    config, dataset = experiment.config, experiment.dataset
    fixed = aggregation.get(config.evaluation.aggregation).threshold
    checkpoints.write_system(
        folder,
        {
            "task": config.task,
            "name": experiment.name,
            "classes": list(dataset.classes),
            "sample_rate_hz": dataset.sample_rate_hz,
            "window_s": config.data.window_s,
            "hop_s": config.evaluation.hop_s,
            "frontend": {"name": config.frontend.name}
            | dataclasses.asdict(experiment.task.frontend),
            "aggregation": config.evaluation.aggregation,
            "thresholds": {"fixed": fixed} | thresholds,
            "dataset": {
                "name": dataset.name,
                "version": dataset.version,
                "config": dataset.config,
                "rendered": dataset.rendered,
            },
            "config": config.to_dict(),
            "versions": provenance.versions(),
        },
    )


def _summary(whole: Mapping) -> str:
    """The report in three lines."""
    fixed = whole["thresholds"]["fixed"]
    where = f"{whole['dataset']} test" + (", rendered audio" if whole["rendered"] else "")
    lines = []
    for average in ("micro", "macro"):
        low, high = fixed[average]["f1_interval"]
        others = ", ".join(
            f"{name} {one['thresholds']['fixed'][average]['f1']:.3f}"
            for name, one in whole.get("baselines", {}).items()
        )
        lines.append(
            f"{average} F1 {fixed[average]['f1']:.3f} [{low:.3f}, {high:.3f}] at the fixed "
            f"threshold {fixed['threshold']:.2f} on {where}; {others}"
        )
    return "\n".join(lines)
