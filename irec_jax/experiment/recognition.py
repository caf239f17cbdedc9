"""Experiments with recognisers."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from irec_jax import audio, data, distributed, losses
from irec_jax.checkpoints.workdir import has_checkpoint
from irec_jax.crosstalk.activity import FRAME_LENGTH
from irec_jax.data.splits import window_and_hop
from irec_jax.errors import UserError
from irec_jax.evaluation import baselines, pieces, recognition
from irec_jax.evaluation.predict import predict_split
from irec_jax.experiment.base import Experiment, Trained
from irec_jax.files import read_json, write_json
from irec_jax.inference import aggregation
from irec_jax.inference.prediction import create_predict
from irec_jax.reports import recognition_report
from irec_jax.tasks import Recognition
from irec_jax.text import plural
from irec_jax.training.logging import log

_CLASS_WEIGHTS = "class_weights.json"


class RecognitionExperiment(Experiment[Recognition, data.Dataset, data.Clips]):
    """Experiment that trains and evaluates a recogniser."""

    reports = recognition_report

    def load(self) -> data.Dataset:
        dataset = data.load(self.config.data)
        if len(dataset.classes) == 1:
            raise UserError(
                f"{dataset.name}: only one class, {dataset.classes[0]!r}; a recogniser needs at "
                "least two"
            )
        self._check_stored(dataset)
        return dataset

    def _check_stored(self, dataset: data.Dataset) -> None:
        """Raise UserError if stored examples do not fit the front end."""
        folder, name = self.config.data.get("stored"), self.config.frontend.name
        if name == "stored" and not folder:
            raise UserError(
                "frontend.name=stored: needs stored features; set data.stored to their folder"
            )
        if not folder:
            return
        num_values, expected = int(dataset.train.num_samples[0]), self.task.window_samples
        if num_values != expected:
            raise UserError(
                f"data.stored={folder}: holds {num_values} values per example, but the front end "
                f"{name} takes {expected}; for features, set frontend.name=stored and its num_bins "
                "and num_stored_frames"
            )
        if name == "stored" and self.config.evaluation.baselines:
            raise UserError(
                "evaluation.baselines: needs audio, but features are stored; set it to False"
            )

    def describe_dataset(self) -> str:
        dataset, split = self.dataset, self.config.data.split
        test = f" and {len(dataset.test)} test" if dataset.test else ""
        unit = "instances" if "label_s" in self.config.data else "clips"
        description = data.describe_split(
            self.config.data, dataset.test_split, own_validation=dataset.validation is not None
        )
        return (
            f"{len(dataset.train)} training{test} {unit} of {len(dataset.classes)} classes; "
            f"data.split={split}: {description}"
        )

    def describe_splits(self, splits: data.Splits[data.Clips]) -> str:
        training, validation = len(set(splits.training.songs)), len(set(splits.validation.songs))
        unit = "piece" if "label_s" in self.config.data else "song"
        return f"{training} training and {plural(validation, f'validation {unit}')}"

    def split(self, seed: int) -> data.Splits[data.Clips]:
        return data.split_clips(self.dataset, self.config.data, seed=seed)

    def batches(self, examples: data.Clips, *, seed: int = 0, shuffle: bool) -> data.Batches:
        hop_samples = window_and_hop(self.config.data, self.dataset.sample_rate_hz)[1]
        settings = self.batch_settings(seed=seed, shuffle=shuffle)
        return data.Batches(examples, hop_samples=hop_samples, **settings)

    def training_batches(self, examples: data.Clips, folder: Path, *, seed: int) -> data.Batches:
        """Return the training batches, with class weights if the config enables them.

        The weights are computed once, from the training windows, and stored in the folder; a
        resumed run uses the stored weights.
        """
        batches = self.batches(examples, seed=seed, shuffle=True)
        kind = self._class_weights_kind
        if not kind:
            return batches

        def load_or_store() -> list[float]:
            if not (folder / _CLASS_WEIGHTS).exists() or not has_checkpoint(folder):
                weights = losses.class_weights(kind, batches.class_counts).tolist()
                by_class = dict(zip(self.dataset.classes, weights, strict=True))
                write_json(folder / _CLASS_WEIGHTS, {"kind": kind, "weights": by_class})
            return list(self._read_class_weights(folder)["weights"].values())

        weights = distributed.on_main(load_or_store)
        log(f"class weights ({kind}): {min(weights):.2f} to {max(weights):.2f}")
        return dataclasses.replace(batches, class_weights=np.array(weights))

    @property
    def _class_weights_kind(self) -> str | None:
        kind = self.config.loss.get("class_weights")
        return None if kind == "none" else kind

    def _read_class_weights(self, folder: Path) -> dict[str, Any]:
        """Return the class weights used to train a system, or {} if there are none."""
        file = folder / _CLASS_WEIGHTS
        if not self._class_weights_kind or not file.exists():
            return {}
        content = read_json(file)
        try:
            weights = {name: float(content["weights"][name]) for name in self.dataset.classes}
            return {"kind": str(content["kind"]), "weights": weights}
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{file}: damaged; restore it from a copy, or delete it") from None

    def report(self, trained: Trained[data.Clips]) -> dict:
        splits, folder, classes = trained.splits, trained.folder, self.dataset.classes
        began = time.perf_counter()
        predict = create_predict(self.task, trained.params, trained.model_state)
        test = self._predict(predict, splits.test, "test")
        tuning = self._predict(predict, splits.validation, "validation")
        evaluation, baseline_scores = self._evaluate(test, tuning, splits)
        trained.durations_s["evaluation"] = time.perf_counter() - began
        protocol = data.protocol(self.config.data, splits, self.dataset)
        split = f"{protocol['description']}; {protocol['examples']}"
        report = recognition_report.assemble(
            evaluation,
            baselines=baseline_scores,
            class_weights=distributed.on_main(lambda: self._read_class_weights(folder)),
            **self.report_arguments(trained, split, protocol),
        )
        tuned = {
            kind: _in_class_order(block["threshold"], classes)
            for kind, block in evaluation["thresholds"].items()
            if kind != "oracle"
        }
        self.update_system(folder, {"thresholds": self.system()["thresholds"] | tuned})
        distributed.on_main(lambda: recognition.write_scores(folder, test=test, validation=tuning))
        distributed.on_main(lambda: str(recognition_report.write(report, folder)))
        log(_summary(report))
        return report

    def system(self) -> dict[str, Any]:
        config = self.config.evaluation
        fixed = aggregation.get(config.aggregation, config.threshold).threshold
        settings = self.config.data
        over_time = {}
        if "label_s" in settings:
            over_time = {"label_s": settings.label_s or settings.window_s}
        return over_time | {
            "classes": list(self.dataset.classes),
            "aggregation": config.aggregation,
            "max_decay_db": config.get("max_decay_db"),
            "thresholds": {"fixed": fixed},
        }

    def describe_repeats(self, report: Mapping) -> list[str]:
        repeats, lines = report["repeats"], []
        if report["predominant"]["all_clips"]:
            accuracy = repeats["accuracy"]
            lines.append(f"accuracy: {accuracy['mean']:.3f} ± {accuracy['sd']:.3f}")
        for average in ("micro", "macro"):
            f1 = repeats["thresholds"]["fixed"][average]["f1"]
            lines.append(f"{average} F1 at the fixed threshold: {f1['mean']:.3f} ± {f1['sd']:.3f}")
        return lines

    def _predict(
        self,
        predict: Callable[[Mapping[str, np.ndarray]], ArrayLike],
        clips: data.Clips,
        label: str,
    ) -> recognition.Predictions:
        """Return the model's predictions for the clips of a split."""
        config, dataset = self.config, self.dataset
        hop_samples = max(1, round(config.evaluation.hop_s * dataset.sample_rate_hz))
        windows = predict_split(
            self.task,
            predict,
            clips,
            hop_samples=min(hop_samples, self.task.window_samples),
            batch_size=config.evaluation.batch_size,
            label=label,
            max_decay_db=config.evaluation.get("max_decay_db"),
        )
        return recognition.Predictions(
            ids=list(clips.ids),
            songs=list(clips.songs),
            labels=clips.labels,
            windows=windows,
            classes=dataset.classes,
            contradictory=clips.contradictory,
        )

    def _evaluate(
        self,
        test: recognition.Predictions,
        tuning: recognition.Predictions,
        splits: data.Splits[data.Clips],
    ) -> tuple[dict, dict]:
        """Return the scores of the model and the baselines on the same splits.

        Baselines are computed on process 0 only, if the config enables them.
        """
        config, dataset = self.config, self.dataset
        score = functools.partial(
            recognition.evaluate,
            aggregation=config.evaluation.aggregation,
            threshold=config.evaluation.threshold,
            training_labels=splits.training.labels,
            num_resamples=config.evaluation.num_bootstrap,
        )
        baseline_predictions = {}
        if distributed.is_main() and config.evaluation.baselines:
            log("baselines on the same splits: majority, MFCC statistics + logistic regression")
            baseline_predictions = _baselines(splits, dataset, test, tuning)
        baseline_scores = {
            name: recognition.compact(score(*predictions))
            for name, predictions in baseline_predictions.items()
        }
        evaluation = score(test, tuning)
        if config.evaluation.get("per_piece"):
            label_s = config.data.get("label_s") or config.data.window_s
            evaluation["pieces"] = pieces.evaluate(
                test,
                {name: predictions[0] for name, predictions in baseline_predictions.items()},
                threshold=evaluation["thresholds"]["fixed"]["threshold"],
                frame_labels=dataset.frame_labels,
                frames_per_instance=label_s * dataset.sample_rate_hz / FRAME_LENGTH,
                num_resamples=config.evaluation.num_bootstrap,
            )
        return evaluation, baseline_scores


def _baselines(
    splits: data.Splits[data.Clips],
    dataset: data.Dataset,
    test: recognition.Predictions,
    tuning: recognition.Predictions,
) -> dict[str, tuple[recognition.Predictions, recognition.Predictions]]:
    """Return the test and validation predictions of each baseline."""

    def read(clips: data.Clips):
        for i in range(len(clips)):
            yield audio.to_float32(clips.read(i)[0])

    majority = baselines.Majority.fit(splits.training.labels)
    pairs = zip(read(splits.training), splits.training.labels, strict=True)
    mfcc = baselines.MfccLogistic.fit(pairs, sample_rate_hz=dataset.sample_rate_hz)
    return {
        "majority": (majority.predict(test), majority.predict(tuning)),
        "MFCC + logistic regression": (
            mfcc.predict(read(splits.test), test),
            mfcc.predict(read(splits.validation), tuning),
        ),
    }


def _in_class_order(threshold: float | Mapping[str, float], classes: tuple[str, ...]) -> Any:
    """Return a single threshold as a number, or per-class thresholds as a list."""
    if isinstance(threshold, Mapping):
        return [float(threshold[name]) for name in classes]
    return float(threshold)


def _summary(report: Mapping) -> str:
    """Return the main scores in two lines, or three if every test example has exactly one label."""
    fixed, accuracy = report["thresholds"]["fixed"], report["predominant"]
    rendered = ", rendered audio" if report["rendered"] else ""
    where = f"{report['dataset']} test (data.split={report['protocol']['split']}){rendered}"
    baseline_reports = report.get("baselines", {})
    lines = []
    if accuracy["all_clips"]:
        others = {"majority": accuracy["majority"]}
        others |= {name: scores["predominant"] for name, scores in baseline_reports.items()}
        low, high = accuracy["accuracy_interval"]
        lines.append(
            f"accuracy {accuracy['accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced "
            f"{accuracy['balanced_accuracy']:.3f} on {where}; chance {accuracy['chance']:.3f}"
            + "".join(f", {name} {scores['accuracy']:.3f}" for name, scores in others.items())
        )
    for average in ("micro", "macro"):
        low, high = fixed[average]["f1_interval"]
        f1_of_baselines = ", ".join(
            f"{name} {scores['thresholds']['fixed'][average]['f1']:.3f}"
            for name, scores in baseline_reports.items()
        )
        lines.append(
            f"{average} F1 {fixed[average]['f1']:.3f} [{low:.3f}, {high:.3f}] at the fixed "
            f"threshold {fixed['threshold']:.2f} on {where}"
            f"{f1_of_baselines and '; '}{f1_of_baselines}"
        )
    return "\n".join(lines)
