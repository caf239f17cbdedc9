"""Explanations that show which parts of a recording a trained recogniser responds to."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from irec_jax import frontends, registry
from irec_jax.checkpoints import pretrained
from irec_jax.errors import UserError
from irec_jax.inference import sliding_windows
from irec_jax.inference.prediction import local_batch_size
from irec_jax.labels import IRMAS_NAMES
from irec_jax.models.convnet import ConvNet
from irec_jax.models.deconvolution import Unit, deconvolve
from irec_jax.systems.clip import Clip
from irec_jax.systems.inputs import source_name
from irec_jax.systems.loading import load_variables
from irec_jax.systems.recogniser import Recogniser, create_recogniser, open_recogniser
from irec_jax.systems.recognized import Recognized
from irec_jax.tasks import Recognition
from irec_jax.tasks.task import Batch

#: Maximum number of classes to explain if none are specified.
MAX_CLASSES = 4
#: Length of the deconvolved segment in seconds, as in figure 7 of Han et al. (2017).
SEGMENT_S = 3.0
#: Maximum number of columns in a picture; in long recordings, a column averages several frames.
MAX_COLUMNS = 2000
_BATCH_SIZE = 32


class Segment(NamedTuple):
    """A segment of a recording, and what the most active units of the network respond to in it.

    Attributes:
        start_s, end_s: start and end of the segment within the recording, in seconds.
        spectrogram: (bands, frames) features.
        units: the two most active units of each block; their pictures are (frames, bands).
    """

    start_s: float
    end_s: float
    spectrogram: np.ndarray
    units: list[Unit]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The parts of a recording that a recogniser responds to.

    Attributes:
        recognized: the recognised instruments.
        spectrogram: (bands, columns) features, lowest band first, in columns of equal duration.
        frequencies_hz: (bands,) band centres.
        class_activation: class -> (bands, columns) gradient of its logit times the features
            relative to silence; see `class_activation`. Positive values are evidence for the class,
            negative values evidence against it. Each column is the mean over all windows that
            contain it.
        segment: the deconvolved segment; None if the network is not a `ConvNet`.
    """

    recognized: Recognized
    spectrogram: np.ndarray
    frequencies_hz: np.ndarray
    class_activation: dict[str, np.ndarray]
    segment: Segment | None

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.recognized.duration_s


def class_activation(
    task: Recognition,
    params: Any,
    model_state: Any,
    batch: Batch,
    classes: Int[Array | np.ndarray, " classes"],
) -> tuple[Float[Array, "batch _ _"], Float[Array, "classes batch _ _"]]:
    """Return the features of a batch, and gradient times input for the given classes.

    The input is relative to silence: (features - features of silence) * gradient of the logit. To
    first order, each value is the amount by which the logit would decrease if that part of the
    spectrogram were silent.

    Args:
        task: a task whose front end computes spectrograms.
        params, model_state: parameters and state of the task's model.
        batch: a batch of windows; see `Task.loss`.
        classes: indices of the classes.
    """
    features = task.features(batch)
    silence = task.frontend(jnp.zeros((1, np.shape(batch["audio"])[-1])))
    assert isinstance(features, jax.Array) and isinstance(silence, jax.Array)
    logits, pull_back = jax.vjp(functools.partial(task.logits, params, model_state), features)

    def gradient(index: Array) -> Array:
        return pull_back(jnp.zeros_like(logits).at[:, index].set(1.0))[0]

    return features, (features - silence) * jax.lax.map(gradient, jnp.asarray(classes))


@dataclasses.dataclass(frozen=True)
class Explainer:
    """A trained recogniser with its parameters; see `load_explainer`.

    Attributes:
        recogniser: the recogniser.
        params, model_state: parameters and state of its model, on the host.
    """

    recogniser: Recogniser
    params: Any
    model_state: Any

    def explain(
        self,
        source: Any,
        *,
        sample_rate_hz: float | None = None,
        classes: Sequence[str] = (),
        at_s: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Explanation:
        """Explain what the recogniser responds to in a file or an array of any length.

        Args:
            source, sample_rate_hz: see `Recogniser.recognize`.
            classes: the classes to explain; by default the recognised ones, at most `MAX_CLASSES`,
                or the strongest class if none is recognised.
            at_s: time in seconds on which the deconvolved segment is centred, if possible; by
                default the centre of the window in which the first class is strongest.
            progress: called with the fraction of the work that has been completed, 0..1.

        Raises:
            UserError: if the audio is unreadable or silent, an array has no sample rate, a class
                is unknown, or `at_s` is outside the recording.
        """
        recogniser, name = self.recogniser, source_name(source)
        chosen = self.class_names(classes)
        clip = recogniser.read(source, sample_rate_hz)
        if clip.nothing:
            raise UserError(f"{name}: {clip.nothing}; choose a recording of an instrument")
        duration_s = clip.samples.num_samples / recogniser.sample_rate_hz
        if at_s is not None and self.can_deconvolve and not 0 <= at_s <= duration_s:
            raise UserError(
                f"{name}: {at_s:g} s is outside the recording of {duration_s:.4g} s; choose "
                "another time"
            )
        halves = [functools.partial(_report, progress, half) for half in (0.0, 0.5)]
        windows = recogniser.predict_windows(clip, halves[0])
        result = recogniser.summarise(windows, recogniser.class_thresholds("fixed"), name=name)
        by_score = sorted(result.scores, key=lambda label: -result.scores[label])
        labels = [label for label in by_score if label in result.labels]
        chosen = chosen or labels[:MAX_CLASSES] or by_score[:1]
        spectrogram, *maps = self._accumulate(clip, chosen, halves[1])
        if at_s is None:
            scores = result.window_scores[:, recogniser.task.classes.index(chosen[0])]
            at_s = float(result.times_s[np.where(windows.counts, scores, -1).argmax()])
        return Explanation(
            recognized=result,
            spectrogram=spectrogram,
            frequencies_hz=self.frequencies_hz,
            class_activation=dict(zip(chosen, maps, strict=True)),
            segment=self._segment(clip, at_s),
        )

    def class_names(self, names: Sequence[str]) -> list[str]:
        """Return the system's names for classes; full names of IRMAS classes are accepted as well.

        Raises:
            UserError: if a class is unknown.
        """
        known = self.recogniser.task.classes
        codes = {IRMAS_NAMES.get(code, code): code for code in known} | {c: c for c in known}
        for name in names:
            if name not in codes:
                raise registry.unknown("class", name, list(dict.fromkeys(codes)))
        return list(dict.fromkeys(codes[name] for name in names))

    @property
    def can_deconvolve(self) -> bool:
        """Whether explanations have a deconvolved segment."""
        return isinstance(self.recogniser.task.model, ConvNet)

    @functools.cached_property
    def frequencies_hz(self) -> np.ndarray:
        """Band centres of the front end."""
        frequencies_hz = _frequencies_hz(self.recogniser)
        assert frequencies_hz is not None  # checked by `load_explainer`
        return frequencies_hz

    @functools.cached_property
    def _class_activation(self) -> Callable[..., tuple[Array, Array]]:
        return jax.jit(
            functools.partial(class_activation, self.recogniser.task, self.params, self.model_state)
        )

    def _accumulate(
        self, clip: Clip, classes: Sequence[str], progress: Callable[[float], None]
    ) -> np.ndarray:
        """Return the spectrogram and the class activations, (1 + C, bands, columns)."""
        recogniser, task = self.recogniser, self.recogniser.task
        rate_hz, (blocks, num_samples, context) = recogniser.sample_rate_hz, recogniser.padded(clip)
        sizes: dict[str, Any] = dict(
            window_samples=task.window_samples,
            hop_samples=min(recogniser.label_samples or recogniser.hop_samples,
                            task.window_samples),
        )  # fmt: skip
        starts_s = (sliding_windows.window_starts(num_samples, **sizes) - context) / rate_hz
        indices = np.array([task.classes.index(name) for name in classes])
        columns = _Columns(clip.samples.num_samples / rate_hz, self._frame_s)
        remaining = iter(starts_s.tolist())

        def add(batch: dict) -> np.ndarray:
            features, maps = self._class_activation(batch, indices)
            images = np.concatenate([np.asarray(features)[None], np.asarray(maps)])
            if task.frontend.axes == ("frequency", "time"):
                images = images.swapaxes(-1, -2)
            num_windows = int(np.sum(batch["mask"]))
            for row, start_s in enumerate(itertools.islice(remaining, num_windows)):
                columns.add(start_s, images[:, row], batch["num_samples"][row] / rate_hz)
                end = start_s * rate_hz + context + batch["num_samples"][row]
                progress(end / num_samples)
            return np.zeros((len(batch["mask"]), 1), np.float32)

        clip_audio = sliding_windows.ClipAudio(blocks, gain=clip.peak)
        size = local_batch_size(min(_BATCH_SIZE, len(starts_s)))
        list(sliding_windows.predict_clips([clip_audio], add, **sizes, batch_size=size))
        return columns.means()

    @property
    def _frame_s(self) -> float:
        frontend: Any = self.recogniser.task.frontend  # has a hop length, see `_frequencies_hz`
        return frontend.hop_length / self.recogniser.sample_rate_hz

    def _segment(self, clip: Clip, at_s: float) -> Segment | None:
        """Return the deconvolved segment around a time; None if the model is not a ConvNet."""
        task, rate_hz = self.recogniser.task, self.recogniser.sample_rate_hz
        if not isinstance(task.model, ConvNet):
            return None
        length = task.window_samples
        if isinstance(task.frontend, frontends.LogMel):  # accepts any number of samples
            length = max(length, round(SEGMENT_S * rate_hz))
        num_samples = clip.samples.num_samples
        start = max(0, min(round(at_s * rate_hz) - length // 2, num_samples - length))
        samples = _read(clip, start, min(length, num_samples))
        batch = {
            "audio": np.pad(samples, (0, length - len(samples)))[None],
            "gain": np.array([clip.peak], np.float32),
            "num_samples": np.array([len(samples)], np.int32),
        }
        features = np.asarray(jax.jit(task.features)(batch))[0]
        units = deconvolve(task.model, self.params, features)
        num_frames = max(1, round(len(samples) / rate_hz / self._frame_s))
        return Segment(
            start_s=start / rate_hz,
            end_s=(start + len(samples)) / rate_hz,
            spectrogram=features[:num_frames].T,
            units=[unit._replace(picture=unit.picture[:num_frames]) for unit in units],
        )


def _report(progress: Callable[[float], None] | None, first: float, fraction: float) -> None:
    if progress:
        progress(first + 0.5 * min(fraction, 1.0))


def _read(clip: Clip, start: int, num_samples: int) -> np.ndarray:
    """Return samples of a clip, float32 (num_samples,)."""
    parts, first = [], 0
    for block in clip.samples.blocks():
        part = block[max(0, start - first) : max(0, start + num_samples - first)]
        parts.append(part)
        first += len(block)
    return np.concatenate(parts)


class _Columns:
    """Weighted means over the frames of overlapping windows, in columns of equal duration.

    Frames at the ends of a window have little weight, because they extend beyond it and are
    complete in a neighbouring window.
    """

    def __init__(self, duration_s: float, frame_s: float):
        self._duration_s, self._frame_s = duration_s, frame_s
        self._num_columns = int(np.clip(duration_s / frame_s, 1, MAX_COLUMNS))
        self._weights = np.zeros(self._num_columns)
        self._sums: np.ndarray | None = None

    def add(self, start_s: float, images: np.ndarray, length_s: float) -> None:
        """Add the frames of a window, (images, frames, bands).

        Frames beyond the end of the window, and those in the padding of the recording, are ignored.
        """
        times_s = start_s + (np.arange(images.shape[1]) + 0.5) * self._frame_s
        end_s = min(start_s + max(length_s, self._frame_s), max(self._duration_s, self._frame_s))
        inside = (times_s >= 0) & (times_s < end_s)
        column = (times_s / self._duration_s * self._num_columns).astype(int)
        column = np.minimum(column, self._num_columns - 1)[inside]
        if self._sums is None:
            self._sums = np.zeros((self._num_columns, len(images), images.shape[2]))
        weight = np.sin(np.pi * (np.arange(len(inside)) + 0.5) / len(inside))[inside] ** 4
        np.add.at(self._sums, column, weight[:, None, None] * images[:, inside].swapaxes(0, 1))
        np.add.at(self._weights, column, weight)

    def means(self) -> np.ndarray:
        """Return the means, (images, bands, columns).

        Columns without frames, which can occur after the last frame, repeat the previous column.
        """
        assert self._sums is not None  # every clip has at least one window
        filled = np.maximum.accumulate(np.where(self._weights, np.arange(self._num_columns), 0))
        means = self._sums[filled] / self._weights[filled][:, None, None]
        return means.transpose(1, 2, 0)


def _frequencies_hz(recogniser: Recogniser) -> np.ndarray | None:
    """Return the band centres of a system's spectrograms; None if it uses no spectrograms."""
    frontend: Any = recogniser.task.frontend
    if set(frontend.axes or ()) != {"time", "frequency"} or not hasattr(frontend, "hop_length"):
        return None
    return frontend.frequencies_hz(recogniser.sample_rate_hz)


def load_explainer(
    workdir: str | os.PathLike | None = None, *, model: str | None = None
) -> Explainer:
    """Load a trained recogniser to explain what it responds to.

    Args:
        workdir: the workdir in which the recogniser was trained, or a folder written by
            `irec export`.
        model: name of a system that comes with irec-jax. If neither argument is given, the default
            recogniser is loaded.

    Raises:
        UserError: see `load_recogniser`; also if the system does not use spectrograms.
    """
    workdirs = [] if workdir is None else [workdir]
    models = [] if model is None else [model]
    if workdirs and models:
        raise UserError("--workdir and --model: only one system can be explained; give one of them")
    ((name, folder),) = pretrained.resolve(workdirs, models).items()
    system, task = open_recogniser(folder)
    params, model_state = load_variables(folder, task)
    recogniser = create_recogniser(system, task, params, model_state)
    if _frequencies_hz(recogniser) is None:
        raise UserError(
            f"{name}: the network does not use spectrograms (frontend "
            f"{system['frontend']['name']}); choose a system that does, such as one trained with "
            "configs/han.py"
        )
    return Explainer(recogniser, params, model_state)
