"""A trained recogniser for audio files and arrays."""

import dataclasses
import functools
import itertools
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float

from irec_jax import audio
from irec_jax.checkpoints import pretrained
from irec_jax.checkpoints.workdir import system_errors
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.inference import aggregation, sliding_windows
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.systems.clip import Clip, read_clip
from irec_jax.systems.inputs import check_array, is_file, is_path, source_name
from irec_jax.systems.loading import load_variables, open_system
from irec_jax.systems.recognized import Recognized, WindowScores
from irec_jax.tasks import Recognition, create_trained

if TYPE_CHECKING:
    from irec_jax.systems.ensemble import Ensemble

#: Windows per batch: enough to keep a CPU or an accelerator busy, few enough for a laptop's memory.
BATCH_SIZE = 64
#: Maximum number of samples per batch. Batches of long windows contain fewer windows, because most
#: files contain only a few of them.
BATCH_SAMPLES = 2**23
#: RMS below which a window counts as silent, in dB relative to the peak of the clip.
SILENCE_DB = -60.0


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """A trained recognition system; see `load_recogniser`.

    Attributes:
        task: front end, window and classes.
        predict: maps a batch of windows to probabilities (B, K).
        sample_rate_hz: sample rate of the input.
        hop_samples: distance between the starts of successive windows.
        label_samples: for a system that was trained on labels over time, the length of the central
            part of each window, to which the prediction applies; these parts cover every sample
            exactly once. None for other systems.
        aggregation: name of the clip score.
        thresholds: name -> threshold, a single number or one per class.
        name: name of the config.
        dataset: `name`, `version`, `config` and `rendered` of the training data; empty if unknown.
        max_decay_db: windows in which an earlier sound decays by more than this value in dB do not
            count towards the clip scores (`aggregation.counting_windows`); None: all windows count.
    """

    task: Recognition
    predict: Callable[[dict], Any]
    sample_rate_hz: int
    hop_samples: int
    label_samples: int | None
    aggregation: str
    thresholds: dict[str, Any]
    name: str = ""
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    max_decay_db: float | None = None

    def recognize(
        self,
        source: Any,
        *,
        sample_rate_hz: float | None = None,
        threshold: str | float = "fixed",
        progress: Callable[[float], None] | None = None,
    ) -> Recognized:
        """Recognise the instruments in a file or an array of any length.

        Channels are averaged, even for a system that was trained on single channels; if they
        cancel each other out, the loudest one is used.

        Args:
            source: a path or an open binary file, read block by block; or samples (T,) or (T, C) as
                a NumPy, JAX or PyTorch array or a list: floats in -1..1, or 8-, 16- or
                32-bit integers.
            sample_rate_hz: sample rate of an array.
            threshold: 'fixed', 'validation', 'validation_per_class', or a number.
            progress: called with the fraction of the audio that has been processed, 0..1.

        Raises:
            UserError: if the file is unreadable, an array has no sample rate, or the threshold is
                unknown.
        """
        thresholds = self.class_thresholds(threshold)
        windows = self.predict_windows(self.read(source, sample_rate_hz), progress)
        return self.summarise(windows, thresholds, name=source_name(source))

    def read(self, source: Any, sample_rate_hz: float | None = None) -> Clip:
        """Return the audio of a file or an array at the system's sample rate; see `recognize`."""
        return read_clip(self._reader(source, sample_rate_hz), self.sample_rate_hz)

    def predict_windows(
        self, clip: Clip, progress: Callable[[float], None] | None = None
    ) -> WindowScores:
        """Return the window probabilities of a clip that has the system's sample rate."""
        num_samples = clip.samples.num_samples
        probabilities, levels_db = self._predict(clip, progress)
        return WindowScores(
            times_s=self._times_s(num_samples, len(probabilities)),
            probabilities=probabilities,
            audible=levels_db > (np.inf if clip.nothing else SILENCE_DB),
            counts=aggregation.counting_windows(
                levels_db,
                num_before=self.task.window_samples // self.hop_samples,
                max_decay_db=self.max_decay_db,
            ),
            duration_s=num_samples / self.sample_rate_hz,
            nothing=clip.nothing,
            notes=clip.notes,
        )

    def padded(self, clip: Clip) -> tuple[Iterable[np.ndarray], int, int]:
        """Return the padded audio in blocks, its length, and the number of zeros at its start.

        Only a system that was trained on labels over time needs padding, so that the central parts
        of the windows cover the clip.
        """
        blocks, num_samples = clip.samples.blocks(), clip.samples.num_samples
        if not self.label_samples:
            return blocks, num_samples, 0
        window_samples = self.task.window_samples
        context = (window_samples - self.label_samples) // 2
        num_windows = max(1, -(-num_samples // self.label_samples))
        length = (num_windows - 1) * self.label_samples + window_samples
        before = np.zeros(context, np.float32)
        after = np.zeros(length - context - num_samples, np.float32)
        return itertools.chain([before], blocks, [after]), length, context

    def summarise(
        self, windows: WindowScores, thresholds: Float[np.ndarray, " classes"], *, name: str
    ) -> Recognized:
        """Return the labels and scores of a clip, given the probabilities of its windows."""
        classes, probabilities, audible = self.task.classes, windows.probabilities, windows.audible
        scores = aggregation.get(self.aggregation)([probabilities[windows.counts]])[0]
        is_on = np.zeros(len(scores), bool) if windows.nothing else scores >= thresholds
        return Recognized(
            source=name,
            labels=tuple(itertools.compress(classes, is_on)),
            scores=dict(zip(classes, map(float, scores), strict=True)),
            thresholds=dict(zip(classes, map(float, thresholds), strict=True)),
            times_s=windows.times_s,
            window_scores=probabilities,
            activity=(
                np.where(audible[:, None], probabilities, 0)
                if self.label_samples or self.aggregation in aggregation.ABSOLUTE
                else aggregation.activity(probabilities, audible)
            ),
            duration_s=windows.duration_s,
            note="; ".join(filter(None, [windows.nothing, *windows.notes])),
        )

    def class_thresholds(self, threshold: str | float) -> np.ndarray:
        """Return the thresholds (K,) for a name or number; raise UserError for an unknown name."""
        if isinstance(threshold, bool) or not isinstance(threshold, str | numbers.Real):
            raise UserError(f"threshold {threshold!r}: expected a name or a number")
        if isinstance(threshold, str) and threshold not in self.thresholds:
            try:
                threshold = float(threshold)
            except ValueError:
                known = ", ".join(self.thresholds)
                hint = "" if "validation" in self.thresholds else "; --mode=eval tunes the others"
                raise UserError(
                    f"threshold {threshold!r}: expected a number or one of {known}{hint}"
                ) from None
        value = self.thresholds[threshold] if isinstance(threshold, str) else threshold
        if not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1)):
            raise UserError(f"threshold {threshold!r}: expected a number from 0 to 1")
        return np.broadcast_to(np.asarray(value, np.float64), (len(self.task.classes),))

    def _reader(
        self, source: Any, sample_rate_hz: float | None
    ) -> Callable[..., Iterable[np.ndarray]]:
        """Return a function that reads mono blocks (n, 1) at the system's rate; see `read_clip`."""
        rate_hz = self.sample_rate_hz
        if is_path(source) or is_file(source):
            file = expand_home(source) if is_path(source) else source
            return functools.partial(audio.blocks, file, sample_rate_hz=rate_hz, mono=True)
        channels, source_rate_hz = check_array(source, sample_rate_hz)

        def read(
            channel: int | None, levels: audio.ChannelLevels | None, notes: list[str]
        ) -> list[np.ndarray]:
            if levels is not None:
                levels.add(channels)
            samples = channels.mean(axis=1) if channel is None else channels[:, channel]
            if source_rate_hz != rate_hz:
                samples = audio.resample(samples[:, None], source_rate_hz, rate_hz)[:, 0]
            return [samples[:, None]]

        return read

    def _predict(
        self, clip: Clip, progress: Callable[[float], None] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities (W, K) and the levels in dB (W,) of a clip's windows."""
        levels_db: list[float] = []
        window_samples = self.task.window_samples
        blocks, num_samples, context = self.padded(clip)
        if progress:
            blocks = _report(blocks, num_samples, progress)

        def predict(batch: dict) -> Any:
            levels_db.extend(sliding_windows.levels_db(batch, context, self.label_samples))
            return self.predict(batch)

        # Batches contain fewer windows if the windows are long.
        num_windows = max(1, min(BATCH_SIZE, BATCH_SAMPLES // window_samples))
        ((_, probabilities),) = sliding_windows.predict_clips(
            [sliding_windows.ClipAudio(blocks, gain=clip.peak)],
            predict,
            window_samples=window_samples,
            hop_samples=self.label_samples or self.hop_samples,
            batch_size=local_batch_size(num_windows),
        )
        return probabilities, np.array(levels_db)

    def _times_s(self, num_samples: int, num_windows: int) -> np.ndarray:
        """Return the time in seconds to which each prediction applies, (W,)."""
        if self.label_samples:
            return (np.arange(num_windows) + 0.5) * self.label_samples / self.sample_rate_hz
        return sliding_windows.window_centres_s(
            num_samples,
            window_samples=self.task.window_samples,
            hop_samples=self.hop_samples,
            sample_rate_hz=self.sample_rate_hz,
        )


def _report(
    blocks: Iterable[np.ndarray], num_samples: int, progress: Callable[[float], None]
) -> Iterator[np.ndarray]:
    """Yield the blocks of a clip, and report the fraction that has been processed."""
    num_used = 0
    for block in blocks:
        yield block
        num_used += len(block)
        progress(num_used / num_samples)


#: Path to a workdir.
Workdir = str | os.PathLike


@overload
def load_recogniser(workdir: Workdir | None = None, *, model: None = None) -> Recogniser: ...
@overload
def load_recogniser(workdir: None = None, *, model: str | None = None) -> Recogniser: ...
@overload
def load_recogniser(
    workdir: Workdir | Sequence[Workdir] | None = None, *, model: str | Sequence[str] | None = None
) -> "Recogniser | Ensemble": ...
def load_recogniser(
    workdir: Workdir | Sequence[Workdir] | None = None, *, model: str | Sequence[str] | None = None
) -> "Recogniser | Ensemble":
    """Load a trained recogniser, or several that are applied together.

    Args:
        workdir: the workdir in which the recogniser was trained, or a folder written by
            `irec export`; or a list of such folders.
        model: name of a system that comes with irec-jax, or a list of names. If neither argument is
            given, the default recogniser is loaded.

    Returns:
        A `Recogniser` or, for several systems, an `Ensemble` with the same `recognize` method.

    Raises:
        UserError: if a name is unknown or given twice, a checkpoint is damaged, or a system was
            trained on separated audio; see also `open_system`.
    """
    named = pretrained.resolve(_listed(workdir), _listed(model))
    loaded = {name: _load(folder) for name, folder in named.items()}
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    from irec_jax.systems.ensemble import Ensemble  # here to avoid a circular import

    return Ensemble(loaded)


def _listed(names: Workdir | Sequence[Workdir] | None) -> list[Any]:
    """Return a list of names, given a list, a single name or None."""
    if names is None:
        return []
    return list(names) if isinstance(names, list | tuple) else [names]


def _load(folder: Path) -> Recogniser:
    system, task = open_recogniser(folder)
    return create_recogniser(system, task, *load_variables(folder, task))


def create_recogniser(
    system: Mapping[str, Any], task: Recognition, params: Any, model_state: Any
) -> Recogniser:
    """Create a recogniser from the results of `open_recogniser` and `load_variables`."""
    label_s = system.get("label_s")
    return Recogniser(
        task=task,
        predict=create_predict(task, params, model_state),
        sample_rate_hz=system["sample_rate_hz"],
        hop_samples=max(1, round(system["hop_s"] * system["sample_rate_hz"])),
        label_samples=round(label_s * system["sample_rate_hz"]) if label_s else None,
        aggregation=system["aggregation"],
        thresholds=system["thresholds"],
        name=system["name"],
        dataset=system.get("dataset") or {},
        max_decay_db=system.get("max_decay_db"),
    )


def open_recogniser(folder: Path) -> tuple[dict[str, Any], Recognition]:
    """Return `system.json` and the task of a trained recogniser.

    Raises:
        UserError: see `load_recogniser`.
    """
    system = open_system(folder, "recognition", "multi_instance")
    if stored := system["config"]["data"].get("stored"):
        raise UserError(
            f"{folder}: trained on the output of a separator ({stored}), not on audio files; "
            "choose a recogniser that was trained on audio"
        )
    with system_errors(folder):
        task = create_trained(system)
        assert isinstance(task, Recognition)
        aggregation.get(system["aggregation"])
        for threshold in system["thresholds"].values():
            np.broadcast_to(np.asarray(threshold, np.float64), len(task.classes))
        max_decay_db = system.get("max_decay_db")
        if max_decay_db is not None and not 0 <= max_decay_db < np.inf:
            raise ValueError(f"max_decay_db is {max_decay_db}, expected a number of at least 0")
    return system, task


def recognize(
    path_or_array: Any,
    *,
    workdir: Workdir | Sequence[Workdir] | None = None,
    model: str | Sequence[str] | None = None,
    sample_rate: float | None = None,
    threshold: str | float = "fixed",
) -> Recognized:
    """Recognise the instruments in a file or an array with a trained system.

    For many files, load the system once: `load_recogniser(workdir).recognize(file)`.

    Args:
        path_or_array: path to any audio file, or the file opened in binary mode; or samples (T,)
            or (T, C) as a NumPy, JAX or PyTorch array or a list: floats in -1..1, or 8-, 16- or
            32-bit integers, which are scaled to -1..1 (for unsigned integers, the middle of the
            range is silence).
        workdir, model: the trained recogniser, or several; see `load_recogniser`.
        sample_rate: sample rate of an array, in Hz.
        threshold: 'fixed', 'validation', 'validation_per_class', or a number.

    Returns:
        Labels, clip scores and scores over time.

    Raises:
        UserError: if the file, array or workdir is invalid.
    """
    recogniser = load_recogniser(workdir, model=model)
    return recogniser.recognize(path_or_array, sample_rate_hz=sample_rate, threshold=threshold)
