"""Ensembles of trained recognisers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from irec_jax.systems.clip import Clip
from irec_jax.systems.inputs import source_name
from irec_jax.systems.recogniser import Recogniser
from irec_jax.systems.recognized import Recognized, WindowScores


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Several recognisers that are applied together; see `load_recogniser`.

    Systems with the same classes are combined by averaging their window probabilities; the first of
    these systems determines the aggregation and the thresholds. The results of systems with
    different classes are merged. If several systems share a class, it is recognised if any of them
    recognises it, and its scores come from the system whose score exceeds the threshold by the
    largest margin.

    Systems may differ in sample rate and windows. The result uses the times of the system with the
    most windows; the probabilities of the other systems are interpolated at these times.

    Attributes:
        systems: name -> recogniser, for two or more systems.
    """

    systems: Mapping[str, Recogniser]

    @property
    def groups(self) -> list[list[str]]:
        """Names of the systems, grouped by their classes."""
        by_classes: dict[frozenset[str], list[str]] = {}
        for name, system in self.systems.items():
            by_classes.setdefault(frozenset(system.task.classes), []).append(name)
        return list(by_classes.values())

    def class_thresholds(self, threshold: str | float) -> list[np.ndarray]:
        """Return the thresholds (K,) of each group; see `Recogniser.class_thresholds`."""
        return [self.systems[first].class_thresholds(threshold) for first, *_ in self.groups]

    def recognize(
        self,
        source: Any,
        *,
        sample_rate_hz: float | None = None,
        threshold: str | float = "fixed",
        progress: Callable[[float], None] | None = None,
    ) -> Recognized:
        """Recognise the instruments in a file or an array; see `Recogniser.recognize`.

        A file is decoded once for each sample rate that the systems use.
        """
        thresholds = self.class_thresholds(threshold)
        # In each group, the first system determines which windows count.
        limits = {
            name: self.systems[names[0]].max_decay_db for names in self.groups for name in names
        }
        clips: dict[int, Clip] = {}
        windows: dict[str, WindowScores] = {}
        for i, (name, system) in enumerate(self.systems.items()):
            rate_hz = system.sample_rate_hz
            if rate_hz not in clips:
                clips[rate_hz] = system.read(source, sample_rate_hz)
            report = functools.partial(self._report, progress, i) if progress else None
            system = dataclasses.replace(system, max_decay_db=limits[name])
            windows[name] = system.predict_windows(clips[rate_hz], report)
        results = []
        for names, values in zip(self.groups, thresholds, strict=True):
            first = self.systems[names[0]]
            averaged = average([self._reorder(windows[name], name, first) for name in names])
            result = first.summarise(averaged, values, name=source_name(source))
            known = dict.fromkeys(result.scores, tuple(names))
            results.append(dataclasses.replace(result, systems=known))
        return unite(results)

    def _report(self, progress: Callable[[float], None], i: int, fraction: float) -> None:
        progress((i + fraction) / len(self.systems))

    def _reorder(self, windows: WindowScores, name: str, first: Recogniser) -> WindowScores:
        """Reorder the classes of window probabilities to match `first`."""
        classes = self.systems[name].task.classes
        order = [classes.index(label) for label in first.task.classes]
        return windows._replace(probabilities=windows.probabilities[:, order])


def average(windows: Sequence[WindowScores]) -> WindowScores:
    """Return the mean probabilities of systems with the same classes.

    A system that finds nothing to recognise at its sample rate is left out, unless all systems find
    nothing.
    """
    usable = [scores for scores in windows if not scores.nothing] or windows
    finest = max(usable, key=lambda scores: len(scores.times_s))
    on_grid = [_resample(w.times_s, w.probabilities, finest.times_s) for w in usable]
    notes = dict.fromkeys(note for scores in usable for note in scores.notes)
    return finest._replace(probabilities=np.mean(on_grid, axis=0), notes=tuple(notes))


def unite(results: Sequence[Recognized]) -> Recognized:
    """Merge the results of systems with different classes; see `Ensemble`."""
    finest = max(results, key=lambda result: len(result.times_s))
    best: dict[str, Recognized] = {}
    for name in dict.fromkeys(name for result in results for name in result.scores):
        candidates = [result for result in results if name in result.scores]
        best[name] = max(
            candidates, key=lambda r: (name in r.labels, r.scores[name] - r.thresholds[name])
        )

    def over_time(attribute: str) -> np.ndarray:
        columns = [
            _resample(
                result.times_s,
                getattr(result, attribute)[:, [list(result.scores).index(name)]],
                finest.times_s,
            )
            for name, result in best.items()
        ]
        return np.concatenate(columns, axis=1)

    notes = dict.fromkeys(note for result in results for note in result.note.split("; ") if note)
    return dataclasses.replace(
        finest,
        labels=tuple(name for name, result in best.items() if name in result.labels),
        scores={name: result.scores[name] for name, result in best.items()},
        thresholds={name: result.thresholds[name] for name, result in best.items()},
        systems={name: result.systems[name] for name, result in best.items()},
        window_scores=over_time("window_scores"),
        activity=over_time("activity"),
        note="; ".join(notes),
    )


def _resample(
    times_s: Float[np.ndarray, " windows"],
    values: Float[np.ndarray, "windows classes"],
    new_times_s: Float[np.ndarray, " new_windows"],
) -> Float[np.ndarray, "new_windows classes"]:
    """Interpolate values linearly at new times; beyond the ends, repeat the outermost values."""
    return np.stack([np.interp(new_times_s, times_s, column) for column in values.T], axis=1)
