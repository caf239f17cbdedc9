"""The experiment of a recogniser: its clips, its scores, its report."""

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irec_jax import audio, data, distributed
from irec_jax.errors import UserError
from irec_jax.evaluation import baselines, provenance, recognition
from irec_jax.evaluation.predict import predict_split
from irec_jax.experiment.base import Experiment
from irec_jax.inference import aggregation
from irec_jax.reports import recognition_report as report
from irec_jax.studies import published
from irec_jax.tasks import Recognition
from irec_jax.training import loop
from irec_jax.training.logging import log


class RecognitionExperiment(Experiment):
    """An experiment of a recogniser."""

    task: Recognition
    dataset: data.Dataset

    def load(self) -> data.Dataset:
        dataset = data.load(self.config.data)
        if len(dataset.classes) < 2:
            raise UserError(
                f"{dataset.name}: holds one class, {dataset.classes[0]!r}; a recogniser tells at "
                "least two apart"
            )
        self._check_stored(dataset)
        return dataset

    def _check_stored(self, dataset: data.Dataset) -> None:
        """Raises UserError where what is stored is not what the front end takes."""
        folder, name = self.config.data.get("stored", ""), self.config.frontend.name
        if name == "stored" and not folder:
            raise UserError(
                "config key frontend.name=stored: takes what is stored; set data.stored to its "
                "folder"
            )
        if not folder:
            return
        num_values, wanted = int(dataset.train.num_samples[0]), self.task.window_samples
        if num_values != wanted:
            raise UserError(
                f"config key data.stored={folder}: holds {num_values} values per example, and the "
                f"front end {name} takes {wanted}; with features set frontend.name=stored, with "
                "their num_bins and num_stored_frames"
            )
        if name == "stored" and self.config.evaluation.baselines:
            raise UserError(
                "config key evaluation.baselines: they listen to audio, and features are stored; "
                "set it to False"
            )

    def told(self) -> str:
        dataset, split = self.dataset, self.config.data.split
        tests = f" and {len(dataset.test)} test" if dataset.test else ""
        return (
            f"{dataset.name} {dataset.version} ({dataset.config})"
            f"{', rendered audio' if dataset.rendered else ''}: {len(dataset.train)} training"
            f"{tests} clips of {len(dataset.classes)} classes; {split} split: {data.SPLITS[split]}"
        )

    def told_of(self, splits: data.Splits) -> str:
        return (
            f"{len(set(splits.training.songs))} songs train, {len(set(splits.validation.songs))} "
            "validate"
        )

    def split(self, seed: int) -> data.Splits:
        return data.split(self.dataset, self.config.data, seed=seed)

    def batches(self, side: data.Clips, *, seed: int = 0, shuffle: bool) -> data.Batches:
        hop_samples = data.window_and_hop(self.config.data, self.dataset.sample_rate_hz)[1]
        settings = self.batch_settings(seed=seed, shuffle=shuffle)
        return data.Batches(side, hop_samples=hop_samples, **settings)

    def report(
        self,
        params: Any,
        model_state: Any,
        splits: data.Splits,
        folder: Path,
        progress: loop.Progress,
        details: dict,
    ) -> dict:
        config, dataset = self.config, self.dataset
        began = time.perf_counter()
        test, tuning = (
            self._predict(params, model_state, clips, label)
            for clips, label in ((splits.test, "test"), (splits.validation, "validation"))
        )
        evaluation, compared = self._evaluate(test, tuning, splits)
        details["durations_s"]["evaluation"] = time.perf_counter() - began
        protocol = data.protocol(config.data, splits, dataset.classes)
        split = f"{protocol['description']}; {protocol['examples']}"
        whole = report.assemble(
            evaluation,
            system=self.name,
            rendered=dataset.rendered,
            provenance=provenance.collect(split=split, **details),
            protocol=protocol,
            best_epoch=progress.best,
            baselines=compared,
            history=progress.history,
            reported=published.RESULTS.get(self.name),
        )
        levels = {
            kind: _in_class_order(block["threshold"], dataset.classes)
            for kind, block in evaluation["thresholds"].items()
            if kind != "oracle"
        }
        fixed = self.system()["thresholds"]
        self.write_system(folder, {"thresholds": fixed | levels})
        distributed.on_main(lambda: recognition.write_scores(folder, test=test, validation=tuning))
        distributed.on_main(lambda: str(report.write(whole, folder)))
        log(_summary(whole))
        return whole

    def system(self) -> dict[str, Any]:
        config = self.config
        fixed = config.evaluation.threshold
        fixed = fixed or aggregation.get(config.evaluation.aggregation).threshold
        return {
            "classes": list(self.dataset.classes),
            "aggregation": config.evaluation.aggregation,
            "thresholds": {"fixed": fixed},
        }

    def summarize_repeats(self, reports: list[dict], folder: Path) -> dict:
        final = reports[0] | {"repeats": report.summarize_repeats(reports)}
        distributed.on_main(lambda: str(report.write(final, folder)))
        if final["predominant"]["all_clips"]:
            accuracy = final["repeats"]["accuracy"]
            log(f"accuracy: {accuracy['mean']:.3f} ± {accuracy['sd']:.3f}")
        for average in ("micro", "macro"):
            f1 = final["repeats"]["thresholds"]["fixed"][average]["f1"]
            log(f"{average} F1 at the fixed threshold: {f1['mean']:.3f} ± {f1['sd']:.3f}")
        return final

    def _predict(
        self, params: Any, model_state: Any, clips: data.Clips, label: str
    ) -> recognition.Predictions:
        """What the model says of a side."""
        config, dataset = self.config, self.dataset
        hop_samples = max(1, round(config.evaluation.hop_s * dataset.sample_rate_hz))
        found = predict_split(
            self.task,
            params,
            model_state,
            clips,
            hop_samples=min(hop_samples, self.task.window_samples),
            batch_size=config.evaluation.batch_size,
            label=label,
        )
        return recognition.Predictions(
            ids=list(clips.ids),
            songs=list(clips.songs),
            labels=clips.labels,
            windows=found,
            classes=dataset.classes,
            contradictory=clips.contradictory,
        )

    def _evaluate(
        self, test: recognition.Predictions, tuning: recognition.Predictions, splits: data.Splits
    ) -> tuple[dict, dict]:
        """Scores of the model, and (on process 0, where asked for) of the baselines on the same
        sides."""
        config, dataset = self.config, self.dataset
        score = functools.partial(
            recognition.evaluate,
            aggregation=config.evaluation.aggregation,
            threshold=config.evaluation.threshold or None,
            training_labels=splits.training.labels,
            num_resamples=config.evaluation.num_bootstrap,
        )
        compared = {}
        if distributed.is_main() and config.evaluation.baselines:
            log("baselines on the same splits: majority, MFCC statistics + logistic regression")
            for name, predictions in _baselines(splits, dataset, test, tuning).items():
                compared[name] = recognition.compact(score(*predictions))
        return score(test, tuning), compared


def _baselines(
    splits: data.Splits,
    dataset: data.Dataset,
    test: recognition.Predictions,
    tuning: recognition.Predictions,
) -> dict[str, tuple[recognition.Predictions, recognition.Predictions]]:
    """Test and validation predictions of both baselines."""

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
    if isinstance(threshold, Mapping):
        return [float(threshold[name]) for name in classes]
    return float(threshold)


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
