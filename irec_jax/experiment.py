"""An experiment of a recogniser: from a config to a trained system and its report in a workdir."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import config_dict

from irec_jax import audio, data, workdir
from irec_jax import config as configs
from irec_jax.errors import UserError
from irec_jax.evaluation import baselines, provenance, recognition, report
from irec_jax.evaluation.predict import predict_split
from irec_jax.evaluation.reported import REPORTED
from irec_jax.inference import aggregation
from irec_jax.tasks import Recognition
from irec_jax.training import checkpoints, loop, optimizers, parallel, state, step, validation
from irec_jax.training.logging import Logger, duration, parameter_table, say
from irec_jax.validate import validate


@dataclasses.dataclass
class Experiment:
    """What all repeats share: the data, the task, and one compiled step."""

    name: str
    config: config_dict.ConfigDict
    dataset: data.Dataset
    task: Recognition

    @property
    def num_steps(self) -> int:
        """Steps of a whole training on an average split, so that every seed gets the same
        schedule."""
        settings, training = self.config.data, self.config.training
        window_samples, hop_samples = data.window_and_hop(settings, self.dataset.sample_rate_hz)
        windows = data.cut(
            self.dataset.train.num_samples, window_samples=window_samples, hop_samples=hop_samples
        )
        share = 1.0 - settings.validation_fraction
        if settings.split != "official":
            share -= settings.test_fraction
        steps = math.ceil(round(len(windows) * share) / training.batch_size)
        steps = min(steps, training.max_steps_per_epoch or steps)
        return max(1, math.ceil(training.min_steps_per_epoch / steps)) * steps * training.num_epochs

    @functools.cached_property
    def optimizer(self) -> tuple[Any, Any]:
        """Optimiser and schedule."""
        return optimizers.create(self.config.optimizer.to_dict(), self.num_steps)

    @functools.cached_property
    def train_step(self) -> Any:
        """The step over all devices."""
        one_step = functools.partial(
            step.train_step,
            loss=self.task.loss,
            optimizer=self.optimizer[0],
            l2=self.config.loss.l2,
        )
        return parallel.map_step(one_step, donate_state=True)

    @property
    def hop_samples(self) -> int:
        """Distance of windows at test time."""
        return max(1, round(self.config.evaluation.hop_s * self.dataset.sample_rate_hz))

    def batches(self, clips: data.Clips, *, seed: int = 0, shuffle: bool) -> data.Batches:
        """Batches of a split for this process."""
        return data.Batches(
            clips,
            window_samples=self.task.window_samples,
            hop_samples=data.window_and_hop(self.config.data, self.dataset.sample_rate_hz)[1],
            batch_size=self.config.training.batch_size,
            seed=seed,
            shuffle=shuffle,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            min_steps_per_epoch=self.config.training.min_steps_per_epoch if shuffle else 0,
            max_steps_per_epoch=self.config.training.max_steps_per_epoch if shuffle else 0,
        )


def run(name: str, config: config_dict.ConfigDict, folder: Path, mode: str) -> dict:
    """Trains (or takes what was trained) and evaluates every repeat.

    Args:
        name: of the config, such as 'han'.
        config: resolved and locked.
        folder: the workdir; repeats go to `seed_N` folders in it.
        mode: 'train' trains, resuming if need be, and evaluates; 'eval' only evaluates.

    Returns:
        The report; of repeats the first one's, with the summary of all under `repeats`.

    Raises:
        UserError: whatever a user can mend.
    """
    task, _, _ = validate(config)
    folder, flat = Path(folder).expanduser(), configs.flatten(config)
    parallel.on_main(lambda: workdir.check(folder, flat, mode))
    began = time.perf_counter()
    dataset = data.load(config.data)
    durations_s = {"data": time.perf_counter() - began}
    if len(dataset.classes) < 2:
        raise UserError(
            f"{dataset.name}: holds one class, {dataset.classes[0]!r}; a recogniser tells at least "
            "two apart"
        )
    if mode == "train":
        parallel.on_main(lambda: workdir.claim(folder, flat))
    experiment = Experiment(name, config, dataset, task)
    tests = f" and {len(dataset.test)} test" if dataset.test else ""
    say(
        f"{dataset.name} {dataset.version} ({dataset.config})"
        f"{', rendered audio' if dataset.rendered else ''}: {len(dataset.train)} training{tests} "
        f"clips of {len(dataset.classes)} classes; {config.data.split} split: "
        f"{data.SPLITS[config.data.split]}"
    )
    seeds = range(config.seed, config.seed + config.training.repeats)
    reports = []
    for seed in seeds:
        if len(seeds) > 1:
            say(f"repeat {len(reports) + 1} of {len(seeds)}, seed {seed}")
        place = folder / f"seed_{seed}" if len(seeds) > 1 else folder
        reports.append(_run_once(experiment, place, seed, mode, dict(durations_s)))
    final = reports[0]
    if len(reports) > 1:
        final = final | {"repeats": report.summarize_repeats(reports)}
        parallel.on_main(lambda: str(report.write(final, folder)))
        if final["predominant"]["all_clips"]:
            accuracy = final["repeats"]["accuracy"]
            say(f"accuracy: {accuracy['mean']:.3f} ± {accuracy['sd']:.3f}")
        for average in ("micro", "macro"):
            f1 = final["repeats"]["thresholds"]["fixed"][average]["f1"]
            say(f"{average} F1 at the fixed threshold: {f1['mean']:.3f} ± {f1['sd']:.3f}")
        say(f"report: {folder / 'report.md'}")
    return final


def _run_once(
    experiment: Experiment, folder: Path, seed: int, mode: str, durations_s: dict[str, float]
) -> dict:
    """One repeat, from its training to its report."""
    config, dataset = experiment.config, experiment.dataset
    sides = data.split(dataset, config.data, seed=seed)
    if mode == "train":
        params, model_state, progress = _train(experiment, sides, folder, seed)
        durations_s["training"] = progress.seconds
    else:
        variables = jax.eval_shape(experiment.task.init, jax.random.key(0))
        params, model_state = checkpoints.load_best_variables(folder / "checkpoints", variables)
        history = checkpoints.load_history(folder / "checkpoints")
        progress = loop.Progress(best_by=config.training.best_by, history=history)
    began = time.perf_counter()
    evaluation, compared = _evaluate(experiment, params, model_state, sides)
    durations_s["evaluation"] = time.perf_counter() - began
    protocol = data.protocol(config.data, sides, dataset.classes)
    whole = report.assemble(
        evaluation,
        system=experiment.name,
        rendered=dataset.rendered,
        provenance=provenance.collect(
            dataset=dataset.name,
            version=dataset.version,
            config=dataset.config,
            split=f"{protocol['description']}; {protocol['examples']}",
            seed=seed,
            durations_s=durations_s,
        ),
        protocol=protocol,
        best_epoch=progress.best,
        baselines=compared,
        history=progress.history,
        reported=REPORTED.get(experiment.name),
    )
    levels = {
        kind: _in_class_order(block["threshold"], dataset.classes)
        for kind, block in evaluation["thresholds"].items()
        if kind != "oracle"
    }
    _write_system(experiment, folder, levels)
    parallel.on_main(lambda: str(report.write(whole, folder)))
    say(_summary(whole))
    say(f"report: {folder / 'report.md'}")
    return whole


def _train(
    experiment: Experiment, sides: data.Sides, folder: Path, seed: int
) -> tuple[Any, Any, loop.Progress]:
    """Best parameters and model state on the host, and how it went."""
    config, task = experiment.config, experiment.task
    batches = experiment.batches(sides.training, seed=seed, shuffle=True)
    valid_batches = experiment.batches(sides.validation, shuffle=False)
    optimizer, schedule = experiment.optimizer
    params, model_state = jax.jit(task.init)(jax.random.key(seed))
    # Before the first checkpoint, so that every checkpoint is a complete system.
    _write_system(experiment, folder, {})
    say(parameter_table(params))
    say(
        f"{batches.num_windows} windows of {config.data.window_s:g} s from "
        f"{len(set(sides.training.songs))} songs, {batches.steps_per_epoch} steps per epoch on "
        f"{jax.device_count()} device(s); {valid_batches.num_windows} windows of "
        f"{len(set(sides.validation.songs))} songs validate; tensorboard --logdir "
        f"{folder / 'tensorboard'}"
    )
    with contextlib.closing(Logger(folder / "tensorboard")) as logger:
        logger.summaries(0, task.summaries(batches[0]), experiment.dataset.sample_rate_hz)
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
    say(
        f"best epoch {progress.best['epoch']} of {len(progress.history)} by validation "
        f"{progress.best_by}, trained in {duration(progress.seconds)}"
    )
    return best.params, best.model_state, progress


def _evaluate(
    experiment: Experiment, params: Any, model_state: Any, sides: data.Sides
) -> tuple[dict, dict]:
    """Scores of the model, and (on process 0, where asked for) of the baselines on the same
    sides."""
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

    test, tuning = predict(sides.test, "test"), predict(sides.validation, "validation")
    score = functools.partial(
        recognition.evaluate,
        aggregation=config.evaluation.aggregation,
        threshold=config.evaluation.threshold or None,
        training_labels=sides.training.labels,
        num_resamples=config.evaluation.num_bootstrap,
    )
    compared = {}
    if parallel.is_main() and config.evaluation.baselines:
        say("baselines on the same splits: majority, MFCC statistics + logistic regression")
        for name, predictions in _baselines(sides, dataset, test, tuning).items():
            compared[name] = recognition.compact(score(*predictions))
    return score(test, tuning), compared


def _baselines(
    sides: data.Sides,
    dataset: data.Dataset,
    test: recognition.Predictions,
    tuning: recognition.Predictions,
) -> dict[str, tuple[recognition.Predictions, recognition.Predictions]]:
    """Test and validation predictions of both baselines."""

    def read(clips: data.Clips):
        for i in range(len(clips)):
            yield audio.to_float32(clips.read(i)[0])

    majority = baselines.Majority.fit(sides.training.labels)
    pairs = zip(read(sides.training), sides.training.labels, strict=True)
    mfcc = baselines.MfccLogistic.fit(pairs, sample_rate_hz=dataset.sample_rate_hz)
    return {
        "majority": (majority.predict(test), majority.predict(tuning)),
        "MFCC + logistic regression": (
            mfcc.predict(read(sides.test), test),
            mfcc.predict(read(sides.validation), tuning),
        ),
    }


def _in_class_order(threshold: float | Mapping[str, float], classes: tuple[str, ...]) -> Any:
    if isinstance(threshold, Mapping):
        return [float(threshold[name]) for name in classes]
    return float(threshold)


def _write_system(experiment: Experiment, folder: Path, thresholds: dict[str, Any]) -> None:
    """`system.json`: what a user of the parameters needs beside them."""
    config, dataset = experiment.config, experiment.dataset
    fixed = config.evaluation.threshold or aggregation.get(config.evaluation.aggregation).threshold
    system = {
        "task": config.task,
        "name": experiment.name,
        "classes": list(dataset.classes),
        "sample_rate_hz": dataset.sample_rate_hz,
        "window_s": config.data.window_s,
        "hop_s": config.evaluation.hop_s,
        "frontend": {"name": config.frontend.name} | dataclasses.asdict(experiment.task.frontend),
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
    }
    parallel.on_main(lambda: workdir.write_system(folder, system))


def _summary(whole: Mapping) -> str:
    """The report in two lines, three where every test example has one label."""
    fixed, accuracy = whole["thresholds"]["fixed"], whole["predominant"]
    where = f"{whole['dataset']} test ({whole['protocol']['split']} split)"
    where += ", rendered audio" if whole["rendered"] else ""
    others = whole.get("baselines", {})
    lines = []
    if accuracy["all_clips"]:
        compared = {"majority": accuracy["majority"]}
        compared |= {name: one["predominant"] for name, one in others.items()}
        low, high = accuracy["accuracy_interval"]
        lines.append(
            f"accuracy {accuracy['accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced "
            f"{accuracy['balanced_accuracy']:.3f} on {where}; chance {accuracy['chance']:.3f}"
            + "".join(f", {name} {one['accuracy']:.3f}" for name, one in compared.items())
        )
    for average in ("micro", "macro"):
        low, high = fixed[average]["f1_interval"]
        compared = ", ".join(
            f"{name} {one['thresholds']['fixed'][average]['f1']:.3f}"
            for name, one in others.items()
        )
        lines.append(
            f"{average} F1 {fixed[average]['f1']:.3f} [{low:.3f}, {high:.3f}] at the fixed "
            f"threshold {fixed['threshold']:.2f} on {where}{compared and '; '}{compared}"
        )
    return "\n".join(lines)
