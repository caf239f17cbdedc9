"""Results of a recogniser."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from irec_jax.inference import aggregation
from irec_jax.inference.segments import Segment
from irec_jax.text import to_unicode


@dataclasses.dataclass(frozen=True)
class Recognized:
    """The instruments that were recognised in a clip.

    Attributes:
        source: name of the file, or 'array'.
        labels: instruments whose score reaches their threshold; empty for silence.
        scores: class -> clip score after aggregation.
        thresholds: class -> threshold for its score.
        times_s: (W,) window centres in seconds.
        window_scores: (W, K) probability of each class in each window, 0..1.
        activity: (W, K) window scores relative to the strongest class around each window, 0..1; 0
            in silence. If the system was trained on labels over time, or its aggregation is in
            `aggregation.ABSOLUTE`, the window scores are not rescaled. Plots show the activity, and
            segments are the times during which it reaches the thresholds.
        duration_s: length of the audio in seconds.
        note: remarks for the user, such as 'silent' or 'damaged in places: 3 of 210 frames'; often
            empty. A clip that is silent, too short or constant has no labels.
        systems: class -> names of the systems that its scores come from; empty for a single system.
    """

    source: str
    labels: tuple[str, ...]
    scores: dict[str, float]
    thresholds: dict[str, float]
    times_s: np.ndarray
    window_scores: np.ndarray
    activity: np.ndarray
    duration_s: float
    note: str = ""
    systems: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def segments(self) -> list[Segment]:
        """Segments in which each class is active, including classes that are not clip labels."""
        thresholds = np.array(list(self.thresholds.values()))
        return aggregation.segments(
            self.activity, self.times_s, thresholds, list(self.scores), self.duration_s
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain lists and numbers, for JSON."""
        classes = list(self.scores)
        window_scores = np.round(self.window_scores.astype(float), 5).T.tolist()
        systems = {name: list(map(to_unicode, names)) for name, names in self.systems.items()}
        return {
            "file": to_unicode(self.source),
            "labels": list(self.labels),
            **({"systems": systems} if systems else {}),
            "scores": {k: round(v, 5) for k, v in self.scores.items()},
            "thresholds": self.thresholds,
            "duration_s": round(self.duration_s, 3),
            "note": self.note,
            "segments": [
                {"label": label, "start_s": round(start_s, 3), "end_s": round(end_s, 3)}
                for label, start_s, end_s in self.segments
            ],
            "over_time": {
                "time_s": np.round(self.times_s, 3).tolist(),
                "scores": dict(zip(classes, window_scores, strict=True)),
            },
        }


class WindowScores(NamedTuple):
    """Class probabilities in the windows of a clip.

    Attributes:
        times_s: (W,) window centres in seconds.
        probabilities: (W, K) probability of each class.
        audible: (W,) whether each window is audible.
        counts: (W,) whether each window counts towards the clip scores.
        duration_s: length of the clip in seconds.
        nothing: reason why there is nothing to recognise, such as 'silent'; usually empty.
        notes: other remarks for the user.
    """

    times_s: Float[np.ndarray, " windows"]
    probabilities: Float[np.ndarray, "windows classes"]
    audible: Bool[np.ndarray, " windows"]
    counts: Bool[np.ndarray, " windows"]
    duration_s: float
    nothing: str = ""
    notes: tuple[str, ...] = ()
