"""Experiments of separators: tracks, scores, report."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax import audio, data, distributed
from irec_jax.evaluation import separation
from irec_jax.experiment.base import Experiment
from irec_jax.frontends import SpectrogramDb
from irec_jax.inference import separation as inference
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.progress import progress_bar
from irec_jax.reports import separation_report
from irec_jax.tasks import Separation
from irec_jax.text import mean_sd
from irec_jax.training import loop
from irec_jax.training.logging import log


class SeparationExperiment(Experiment):
    """Trains and evaluates a separator."""

    reports = separation_report
    task: Separation
    dataset: data.StemDataset

    def load(self) -> data.StemDataset:
        return data.load_stems(self.config.data)

    def describe_dataset(self) -> str:
        dataset, split = self.dataset, self.config.data.split
        counts = ", ".join(
            f"{len(tracks)} {name}"
            for name, tracks in (
                ("training", dataset.train),
                ("validation", dataset.validation),
                ("test", dataset.test),
            )
            if tracks is not None
        )
        return (
            f"{counts} tracks; {split} split: {data.STEM_SPLITS[split]}; target "
            f"{' + '.join(self.task.target)}"
        )

    def describe_splits(self, splits: data.Splits) -> str:
        return f"{len(splits.training)} training and {len(splits.validation)} validation tracks"

    def split(self, seed: int) -> data.Splits:
        return data.split_tracks(self.dataset, self.config.data, seed=seed)

    def batches(self, examples: data.Tracks, *, seed: int = 0, shuffle: bool) -> data.StemBatches:
        settings = self.config.data
        return data.StemBatches(
            examples,
            stems=self.task.stems,
            remix=settings.remix,
            channels=settings.channels,
            **self.batch_settings(seed=seed, shuffle=shuffle),
        )

    def report(
        self,
        params: Any,
        model_state: Any,
        splits: data.Splits,
        folder: Path,
        progress: loop.Progress,
        details: dict,
    ) -> dict:
        def evaluate_and_write() -> dict:
            began = time.perf_counter()
            predict = self.create_predict(params, model_state)
            scores, example = self._score(splits.test, predict)
            details["durations_s"]["evaluation"] = time.perf_counter() - began
            protocol = self._protocol(splits)
            report = separation_report.assemble(
                separation.summarize(scores),
                target=self.task.target,
                settings=self.config.evaluation.to_dict(),
                **self.report_arguments(protocol["description"], protocol, progress, details),
            )
            separation_report.write(report, folder, example=example)
            return report

        self.write_system(folder)
        report = distributed.on_main(evaluate_and_write)
        log(_summary(report))
        return report

    def create_predict(self, params: Any, model_state: Any) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function of windows float32 (B, T) to features of the target.

        It runs on this process's devices.
        """
        predict = create_predict(self.task, params, model_state)
        return lambda windows: np.asarray(predict({"audio": windows}))

    def _score(
        self, tracks: data.Tracks, predict: Callable
    ) -> tuple[list[separation.TrackScores], separation.Example]:
        """Return the scores of every track, and spectrograms of the first one with a target."""
        settings = dict(frontend=self.task.frontend, sample_rate_hz=self.dataset.sample_rate_hz)
        scores, example = [], None
        for i in progress_bar(range(len(tracks)), desc="test", unit="track"):
            track = self._estimates(tracks, i, predict)
            scores.append(separation.score_track(track, **settings))
            if example is None and not scores[-1].silent:
                example = separation.example(track, **settings)
        return scores, example

    def _estimates(
        self, tracks: data.Tracks, i: int, predict: Callable
    ) -> separation.TrackEstimates:
        """Return the estimates of a track.

        They are features of the mean of the channels, which Ligtenberg (2022) scores, and a
        waveform of each channel.
        """
        task, settings = self.task, self.config.evaluation

        def read(streams: Iterable[str]) -> np.ndarray:
            length = int(tracks.num_samples[i])
            return sum(audio.to_float32(tracks.read(i, name, 0, length)) for name in streams)

        mixture = read(["mixture"])
        sizes = dict(
            window_samples=task.window_samples,
            hop_frames=hop_frames(settings.hop_s, task.frontend, self.dataset.sample_rate_hz),
            batch_size=local_batch_size(settings.batch_size),
        )
        raw = inference.estimate_features(mixture.mean(axis=1), predict, task.frontend, **sizes)
        post_db = {"raw": None, "post": settings.post_db}
        estimated = inference.estimate_segments([mixture], predict, task.frontend, **sizes)
        waveforms = {
            name: inference.resynthesise(
                stretches,
                task.frontend,
                post_db=post_db[name],
                phase=settings.phase,
                num_iterations=settings.griffin_lim_iterations,
            )
            for name, stretches in zip(post_db, itertools.tee(estimated), strict=True)
        }
        return separation.TrackEstimates(
            name=str(tracks.names[i]),
            mixture=mixture,
            target=read(task.target),
            remainder=read([name for name in task.stems if name not in task.target]),
            waveforms={name: np.concatenate(list(blocks)) for name, blocks in waveforms.items()},
            features={
                name: inference.gate(raw, task.frontend, level) for name, level in post_db.items()
            },
            errata=str(tracks.errata[i]),
        )

    def _protocol(self, splits: data.Splits) -> dict:
        """Return the data splits, for the report."""
        name, rate = self.config.data.split, self.dataset.sample_rate_hz
        return {
            "description": f"{name}: {data.STEM_SPLITS[name]}",
            "sides": {
                side: {
                    "num_tracks": len(tracks),
                    "duration_s": float(tracks.num_samples.sum()) / rate,
                }
                for side, tracks in splits._asdict().items()
            },
        }

    def system(self) -> dict[str, Any]:
        return {
            "stems": list(self.task.stems),
            "target": list(self.task.target),
            "target_name": "_".join(self.task.target),
            "post_db": self.config.evaluation.post_db,
        }

    def describe_repeats(self, report: Mapping) -> list[str]:
        raw = report["repeats"]["summary"]["raw"]["amplitude_sdr_db"]
        return [f"amplitude SDR: {raw['mean']:.2f} ± {raw['sd']:.2f} dB"]


def hop_frames(hop_s: float, frontend: SpectrogramDb, sample_rate_hz: int) -> int:
    """Return the hop of windows in frames, at least 1."""
    return max(1, round(hop_s * sample_rate_hz / frontend.hop_length))


def _summary(report: dict) -> str:
    """Return the main scores in two lines."""
    where = f"{report['num_tracks']} test tracks of {report['dataset']}"
    where += ", rendered audio" if report["rendered"] else ""
    lines = []
    for score in ("amplitude_sdr_db", "bss_sdr_db"):
        values = [
            f"{name} {mean_sd(report['summary'][name][score])}"
            for name in ("raw", "post", "mixture", "ideal")
        ]
        lines.append(f"{separation.SCORES[score]} in dB on {where}: {', '.join(values)}")
    return "\n".join(lines)
