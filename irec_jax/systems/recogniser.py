"""A trained recogniser, applied to anybody's audio."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax import audio, labels
from irec_jax.errors import UserError
from irec_jax.inference import activity, aggregation, windows
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.systems.loading import check_array, load_variables, open_system
from irec_jax.tasks import Recognition, create_recognition

#: Windows per call: enough to keep a CPU or an accelerator busy, little enough for a laptop ...
BATCH_SIZE = 64
#: ... and of long ones no more than have so many samples, since most files fill only a few.
BATCH_SAMPLES = 2**23
#: Windows whose RMS lies so far below the peak of the whole are silent.
SILENCE_DB = -60.0
#: What peaks below this (2 steps of 16 bits) is rounding noise: nothing plays there.
SILENT_PEAK = 2 / 32_768


@dataclasses.dataclass(frozen=True)
class Recognized:
    """What a recogniser heard in one piece of audio.

    Attributes:
        source: the file, or 'array'.
        labels: instruments whose score reaches the threshold; none for silence.
        scores: class -> clip score after aggregation.
        thresholds: class -> threshold that its score was held against.
        times_s: (W,) middle of each window in seconds.
        window_scores: (W, K) probability of each class in each window, 0..1.
        activity: (W, K) the same relative to the strongest class around each window, 0..1; 0 in
            silence: what the plot shows and what the thresholds apply to over time.
        duration_s: length of the audio in seconds.
        note: what a reader should know, such as 'silent'; often empty.
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

    @property
    def segments(self) -> list[activity.Segment]:
        """Who plays from when to when, for a moment too: not only the labels of the whole."""
        levels = np.array(list(self.thresholds.values()))
        return activity.segments(
            self.activity, self.times_s, levels, list(self.scores), self.duration_s
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists and numbers, for JSON."""
        classes = list(self.scores)
        over_time = np.round(self.window_scores.astype(float), 5).T.tolist()
        return {
            "file": self.source,
            "labels": list(self.labels),
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
                "scores": dict(zip(classes, over_time, strict=True)),
            },
        }


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """A recognition system that was trained in a workdir."""

    task: Recognition
    predict: Callable[[dict], Any]
    sample_rate_hz: int
    hop_samples: int
    aggregation: str
    thresholds: dict[str, Any]

    def recognize(
        self,
        source: str | Path | np.ndarray,
        *,
        sample_rate_hz: int | None = None,
        threshold: str | float = "fixed",
    ) -> Recognized:
        """Recognises the instruments in a file or an array of any length.

        Of several channels the mean is heard, also by a system that learned each by itself.

        Args:
            source: a file, read block by block, or samples (T,) or (T, C), float in -1..1 or int16.
            sample_rate_hz: of an array.
            threshold: 'fixed', 'validation', 'validation_per_class', or a number.

        Raises:
            UserError: a file that cannot be read, an array without its rate, an unknown threshold.
        """
        levels = self.levels(threshold)
        if hasattr(source, "__array__"):
            source = np.asarray(source)
        name = "array" if isinstance(source, np.ndarray) else str(source)
        blocks, peak, num_samples = self._open(source, sample_rate_hz)
        sizes = dict(window_samples=self.task.window_samples, hop_samples=self.hop_samples)
        clip = windows.Clip(blocks(), gain=peak)
        levels_db: list[float] = []

        def predict(batch: dict) -> Any:
            levels_db.extend(_levels_db(batch))
            return self.predict(batch)

        batch_size = local_batch_size(_num_windows(self.task.window_samples))
        ((_, found),) = windows.predict_clips([clip], predict, **sizes, batch_size=batch_size)
        scores = aggregation.get(self.aggregation)([found])[0]
        note = "silent" if peak < SILENT_PEAK else ""
        on = np.zeros(len(scores), bool) if note else scores >= levels
        audible = np.array(levels_db) > (np.inf if note else SILENCE_DB)
        classes = self.task.classes
        return Recognized(
            source=name,
            labels=labels.decode(on, classes),
            scores=dict(zip(classes, map(float, scores), strict=True)),
            thresholds=dict(zip(classes, map(float, levels), strict=True)),
            times_s=windows.centres_s(num_samples, **sizes, sample_rate_hz=self.sample_rate_hz),
            window_scores=found,
            activity=activity.activity(found, audible),
            duration_s=num_samples / self.sample_rate_hz,
            note=note,
        )

    def levels(self, threshold: str | float) -> np.ndarray:
        """(K,) thresholds by name or number; UserError for an unknown name."""
        if isinstance(threshold, bool) or not isinstance(threshold, str | int | float):
            raise UserError(f"threshold {threshold!r}: a name or a number, please")
        if isinstance(threshold, str) and threshold not in self.thresholds:
            try:
                threshold = float(threshold)
            except ValueError:
                known = ", ".join(self.thresholds)
                hint = "" if "validation" in self.thresholds else "; --mode=eval tunes the others"
                raise UserError(
                    f"threshold {threshold!r}: a number or one of {known}{hint}"
                ) from None
        level = self.thresholds[threshold] if isinstance(threshold, str) else threshold
        if not np.all((np.asarray(level) >= 0) & (np.asarray(level) <= 1)):
            raise UserError(f"threshold {threshold!r}: a number from 0 to 1, please")
        return np.broadcast_to(np.asarray(level, np.float64), (len(self.task.classes),))

    def _open(
        self, source: Any, sample_rate_hz: int | None
    ) -> tuple[Callable[[], Iterable[np.ndarray]], float, int]:
        """Blocks (n,) at the system's rate as often as asked for, their peak and their length."""
        rate = self.sample_rate_hz
        if isinstance(source, np.ndarray):
            samples = check_array(source, sample_rate_hz).mean(axis=1)
            if sample_rate_hz != rate:
                samples = audio.resample(samples[:, None], sample_rate_hz, rate)[:, 0]
            return lambda: [samples], float(np.abs(samples).max(initial=0.0)), len(samples)
        if not isinstance(source, str | Path):
            raise UserError(f"source: a path or a numpy array, please, not {type(source).__name__}")
        read = functools.partial(_mono_blocks, source, rate)
        peak, num_samples = 0.0, 0
        for block in read():
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            num_samples += len(block)
        return read, peak, num_samples


def _mono_blocks(path: str | Path, sample_rate_hz: int) -> Iterator[np.ndarray]:
    for block in audio.blocks(path, sample_rate_hz=sample_rate_hz, mono=True):
        yield block.reshape(len(block), -1)[:, 0]


def _levels_db(batch: dict[str, np.ndarray]) -> list[float]:
    """RMS of the unmasked windows relative to the clip's peak."""
    rows = batch["mask"] > 0
    audible = batch["audio"][rows] / np.maximum(batch["gain"][rows], 1e-9)[:, None]
    mean_square = np.sum(np.square(audible), axis=1) / np.maximum(batch["num_samples"][rows], 1)
    return (10 * np.log10(np.maximum(mean_square, 1e-12))).tolist()


def _num_windows(window_samples: int) -> int:
    """Windows per call."""
    return max(1, min(BATCH_SIZE, BATCH_SAMPLES // window_samples))


def load_recogniser(workdir: str | Path) -> Recogniser:
    """The recogniser that was trained in a workdir.

    Raises:
        UserError: no such folder, not a workdir, a workdir of another kind of system, damage.
    """
    workdir = Path(workdir).expanduser()
    system = open_system(workdir, "recognition")
    config = system["config"]
    if config["data"].get("stored"):
        raise UserError(
            f"{workdir}: learned from {config['data']['stored']}, what a separator made, and does "
            "not know audio as it is; give a recogniser that was trained on audio"
        )
    task = create_recognition(
        classes=system["classes"],
        sample_rate_hz=system["sample_rate_hz"],
        window_s=system["window_s"],
        frontend=system["frontend"],
        model=config["model"],
        loss=config["loss"],
        augment=config["augment"],
        normalize=config["data"].get("normalize", "peak"),
    )
    return Recogniser(
        task=task,
        predict=create_predict(task, *load_variables(workdir, task)),
        sample_rate_hz=system["sample_rate_hz"],
        hop_samples=max(1, round(system["hop_s"] * system["sample_rate_hz"])),
        aggregation=system["aggregation"],
        thresholds=system["thresholds"],
    )


def recognize(
    path_or_array: str | Path | np.ndarray,
    *,
    workdir: str | Path,
    sample_rate: int | None = None,
    threshold: str | float = "fixed",
) -> Recognized:
    """Recognises the instruments in a file or an array with the system trained in `workdir`.

    For many files, load the system once: `load_recogniser(workdir).recognize(file)`.

    Args:
        path_or_array: any audio file, or samples (T,) or (T, C), float in -1..1 or int16.
        workdir: of a training of a recogniser.
        sample_rate: of an array, in Hz.
        threshold: 'fixed', 'validation', 'validation_per_class', or a number.

    Returns:
        Labels, clip scores and scores over time.

    Raises:
        UserError: a file, an array or a workdir that cannot be used, in one line.
    """
    system = load_recogniser(workdir)
    return system.recognize(path_or_array, sample_rate_hz=sample_rate, threshold=threshold)
