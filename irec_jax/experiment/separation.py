"""Experiments with separators."""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from irec_jax import audio, data, distributed
from irec_jax.evaluation import separation
from irec_jax.experiment.base import Experiment, Trained
from irec_jax.frontends import Gate
from irec_jax.frontends.gate import FILLS, REFERENCES
from irec_jax.inference import separation as inference
from irec_jax.inference import side_by_side
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.progress import progress_bar
from irec_jax.reports import separation_report
from irec_jax.tasks import Separation
from irec_jax.text import mean_sd, plural
from irec_jax.training.logging import log

#: Function that maps windows, float32 (B, T), to the target's features.
Predict = Callable[[np.ndarray], np.ndarray]


class SeparationExperiment(Experiment[Separation, data.StemDataset, data.Tracks]):
    """Experiment that trains and evaluates a separator."""

    reports = separation_report

    def load(self) -> data.StemDataset:
        return data.load_stems(self.config.data)

    def describe_dataset(self) -> str:
        dataset, split = self.dataset, self.config.data.split
        splits = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
        counts = ", ".join(f"{len(v)} {name}" for name, v in splits.items() if v is not None)
        target = " + ".join(self.task.target)
        description = data.describe_stem_split(self.config.data, dataset)
        return f"{counts} tracks; data.split={split}: {description}; target {target}"

    def describe_splits(self, splits: data.Splits[data.Tracks]) -> str:
        validation = plural(len(splits.validation), "validation track")
        return f"{len(splits.training)} training and {validation}"

    def split(self, seed: int) -> data.Splits[data.Tracks]:
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

    def report(self, trained: Trained[data.Tracks]) -> dict:
        self.update_system(trained.folder)
        began = time.perf_counter()
        predict = create_predict(self.task, trained.params, trained.model_state)
        scores, example = self._score(
            trained.splits.test, lambda windows: np.asarray(predict({"audio": windows}))
        )
        trained.durations_s["evaluation"] = time.perf_counter() - began

        def write() -> dict:
            protocol = self._protocol(trained.splits)
            report = separation_report.assemble(
                separation.summarize(scores),
                target=self.task.target,
                **self.report_arguments(trained, protocol["description"], protocol),
            )
            separation_report.write(report, trained.folder, example=example)
            return report

        report = distributed.on_main(write)
        log(_summary(report))
        return report

    def _score(
        self, tracks: data.Tracks, predict: Predict
    ) -> tuple[list[separation.TrackScores], separation.Example | None]:
        """Score the tracks; each process scores a share of them.

        Returns:
            The scores of all tracks (on every process), and spectrograms of the first track whose
            target is not silent (on process 0).
        """
        frontend, rate_hz = self.task.frontend, self.dataset.sample_rate_hz
        examples: dict[int, separation.Example] = {}

        def score_share() -> list[dict]:
            rows, hidden = [], not distributed.is_main()
            share = range(jax.process_index(), len(tracks), jax.process_count())
            for i in progress_bar(share, desc="test", unit="track", disable=hidden):
                track = self._estimate(tracks, i, predict)
                score = separation.score_track(
                    track,
                    frontend=frontend,
                    sample_rate_hz=rate_hz,
                    post_variants=self._post_variants(),
                )
                if not examples and not score.silent:
                    examples[i] = separation.example(
                        track, frontend=frontend, sample_rate_hz=rate_hz
                    )
                rows.append(dataclasses.asdict(score))
            return rows

        by_process = [iter(rows) for rows in distributed.on_all(score_share)]
        scores = [
            separation.TrackScores(**next(by_process[i % len(by_process)]))
            for i in range(len(tracks))
        ]
        first = next((i for i, score in enumerate(scores) if not score.silent), None)
        if first is None or not distributed.is_main():
            return scores, None
        if first not in examples:  # another process has scored it
            track = self._estimate(tracks, first, predict)
            examples[first] = separation.example(track, frontend=frontend, sample_rate_hz=rate_hz)
        return scores, examples[first]

    def _estimate(self, tracks: data.Tracks, i: int, predict: Predict) -> separation.TrackEstimates:
        """Return a track's estimated features (for the channel mean) and waveforms.

        The scores of Ligtenberg (2022) are computed from the features.
        """
        task = self.task

        def read(streams: Iterable[str]) -> np.ndarray:
            length = int(tracks.num_samples[i])
            parts = (audio.to_float32(tracks.read(i, name, 0, length)) for name in streams)
            return functools.reduce(np.add, parts)

        mixture = read(["mixture"])
        joined = self.config.evaluation.windows == "side_by_side"
        estimate = self._estimate_joined if joined else self._estimate_overlapping
        features, waveforms = estimate(mixture, predict)
        return separation.TrackEstimates(
            name=str(tracks.names[i]),
            mixture=mixture,
            target=read(task.target),
            remainder=read([name for name in task.stems if name not in task.target]),
            waveforms=waveforms,
            features=features,
            errata=str(tracks.errata[i]),
            window_samples=task.window_samples if joined else None,
        )

    def _estimate_overlapping(
        self, mixture: np.ndarray, predict: Predict
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return raw and postprocessed features and waveforms from averaged overlapping windows."""
        task, settings = self.task, self.config.evaluation
        hop_samples = settings.hop_s * self.dataset.sample_rate_hz
        sizes = dict(
            window_samples=task.window_samples,
            hop_frames=max(1, round(hop_samples / task.frontend.hop_length)),
            batch_size=local_batch_size(settings.batch_size),
        )
        raw = inference.estimate_features(mixture.mean(axis=1), predict, task.frontend, **sizes)
        estimated = inference.estimate_segments([mixture], predict, task.frontend, **sizes)
        posts: dict[str, Gate | None] = {"raw": None, "post": self._gate}
        waveforms = {
            name: inference.resynthesise(
                segments,
                task.frontend,
                post=posts[name],
                phase=settings.phase,
                num_iterations=settings.griffin_lim_iterations,
            )
            for name, segments in zip(posts, itertools.tee(estimated), strict=True)
        }
        joined = {name: np.concatenate(list(blocks)) for name, blocks in waveforms.items()}
        return {"raw": raw, "post": self._gated(self._gate, raw)}, joined

    def _estimate_joined(
        self, mixture: np.ndarray, predict: Predict
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return raw and postprocessed features and waveforms from adjacent windows."""
        task, settings = self.task, self.config.evaluation
        window = dict(window_samples=task.window_samples)

        def estimate(audio: np.ndarray) -> np.ndarray:
            batch_size = local_batch_size(settings.batch_size)
            return side_by_side.estimate_joined(
                audio, predict, task.frontend, batch_size=batch_size, **window
            )

        raw = estimate(mixture.mean(axis=1, keepdims=True))[0]
        by_channel = estimate(mixture)
        waveforms = {
            name: side_by_side.resynthesise_joined(
                mixture,
                features,
                task.frontend,
                phase=settings.phase,
                num_iterations=settings.griffin_lim_iterations,
                **window,
            )
            for name, features in (
                ("raw", by_channel),
                ("post", self._gated(self._gate, by_channel)),
            )
        }
        return {"raw": raw, "post": self._gated(self._gate, raw)}, waveforms

    @property
    def _gate(self) -> Gate:
        """The postprocessing that the config selects."""
        settings = self.config.evaluation
        return Gate(
            post_db=settings.post_db,
            reference=settings.post_reference,
            fill=settings.post_fill,
        )

    def _post_variants(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """Return postprocessing functions for all combinations of reference and fill value."""
        gate = self._gate
        return {
            f"{reference}, {fill}": functools.partial(
                self._gated, dataclasses.replace(gate, reference=reference, fill=fill)
            )
            for reference in REFERENCES
            for fill in FILLS
        }

    def _gated(self, gate: Gate, features: np.ndarray) -> np.ndarray:
        """Return postprocessed features (..., bins, frames) of a track."""
        frontend = self.task.frontend
        num_frames = frontend.num_real_frames(self.task.window_samples)
        return np.asarray(gate(features, frontend, segment_frames=num_frames))

    def _protocol(self, splits: data.Splits[data.Tracks]) -> dict:
        """Return the description of the data splits for the report."""
        name, rate = self.config.data.split, self.dataset.sample_rate_hz
        return {
            "description": f"{name}: {data.describe_stem_split(self.config.data, self.dataset)}",
            "sides": {
                part: dict(
                    num_tracks=len(tracks), duration_s=float(tracks.num_samples.sum()) / rate
                )
                for part, tracks in splits._asdict().items()
            },
        }

    def system(self) -> dict[str, Any]:
        settings = self.config.evaluation
        return {
            "stems": list(self.task.stems),
            "target": list(self.task.target),
            "target_name": "_".join(self.task.target),
            **{key: settings[key] for key in ("post_db", "post_reference", "post_fill")},
        }

    def describe_repeats(self, report: Mapping) -> list[str]:
        raw = report["repeats"]["summary"]["raw"]["amplitude_sdr_db"]
        return [f"amplitude SDR: {raw['mean']:.2f} ± {raw['sd']:.2f} dB"]


def _summary(report: dict) -> str:
    """Return the main scores in two lines."""
    rendered = ", rendered audio" if report["rendered"] else ""
    where = f"{plural(report['num_tracks'], 'test track')} of {report['dataset']}{rendered}"
    lines = []
    for score in ("amplitude_sdr_db", "bss_sdr_db"):
        values = [
            f"{name} {mean_sd(report['summary'][name][score])}"
            for name in ("raw", "post", "mixture", "ideal")
        ]
        lines.append(f"{separation.SCORES[score]} in dB on {where}: {', '.join(values)}")
    return "\n".join(lines)
