"""Prediction of window probabilities for a split, on all processes and devices."""

import collections
from collections.abc import Callable, Mapping

import jax
import numpy as np
from numpy.typing import ArrayLike

from irec_jax import distributed
from irec_jax.data import Clips
from irec_jax.inference import aggregation, sliding_windows
from irec_jax.inference.prediction import local_batch_size
from irec_jax.progress import progress_bar
from irec_jax.tasks import Recognition


def predict_split(
    task: Recognition,
    predict: Callable[[Mapping[str, np.ndarray]], ArrayLike],
    clips: Clips,
    *,
    hop_samples: int,
    batch_size: int,
    label: str,
    max_decay_db: float | None = None,
) -> list[np.ndarray]:
    """Predict the window probabilities of every clip in a split.

    Each process predicts its share of the clips on its own devices.

    Args:
        task: the recognition task.
        predict: result of `create_predict` for the task, which can be reused for every split.
        clips: clips of the split.
        hop_samples: hop between windows.
        batch_size: number of windows per call in this process, rounded up to a multiple of its
            device count.
        label: description shown with the progress bar.
        max_decay_db: return only the windows that count towards the clip scores
            (`aggregation.counting_windows`); None to return all windows.

    Returns:
        The window probabilities of each clip, float32 (W_i, K). Every process returns the
        probabilities of all clips.
    """
    indices = np.arange(jax.process_index(), len(clips), jax.process_count())
    audio = (
        sliding_windows.ClipAudio(samples, gain=float(gain))
        for samples, gain in (clips.read(int(i)) for i in indices)
    )
    levels_db: collections.deque[float] = collections.deque()  # of windows that are not yielded yet

    def predict_and_measure(batch: Mapping[str, np.ndarray]) -> ArrayLike:
        if max_decay_db is not None:
            levels_db.extend(sliding_windows.levels_db(batch))
        return predict(batch)

    by_clip = sliding_windows.predict_clips(
        audio,
        predict_and_measure,
        window_samples=task.window_samples,
        hop_samples=hop_samples,
        batch_size=local_batch_size(batch_size),
        dtype=np.int16,
    )
    hidden = not distributed.is_main()
    bar = progress_bar(by_clip, desc=label, unit="clip", disable=hidden, total=len(indices))
    predicted = {}
    for i, probabilities in bar:
        if max_decay_db is not None:
            counts = aggregation.counting_windows(
                np.array([levels_db.popleft() for _ in probabilities]),
                num_before=task.window_samples // hop_samples,
                max_decay_db=max_decay_db,
            )
            probabilities = probabilities[counts]
        predicted[int(indices[i])] = probabilities
    return _gather(predicted, len(clips), len(task.classes))


def _gather(predicted: dict[int, np.ndarray], num_clips: int, num_classes: int) -> list[np.ndarray]:
    """Gather the predictions from all processes on every process, in clip order."""
    order = sorted(predicted)
    counts = np.zeros(num_clips, np.int64)
    counts[order] = [len(predicted[i]) for i in order]
    rows = np.concatenate([predicted[i] for i in order] or [np.zeros((0, num_classes), np.float32)])
    by_process = distributed.gather_rows(rows)
    all_counts = np.sum(distributed.gather_rows(counts[None]), axis=0)[0]
    probabilities: list[np.ndarray] = [np.zeros((0, num_classes), np.float32)] * num_clips
    for process, gathered in enumerate(by_process):
        indices = np.arange(process, num_clips, len(by_process))
        ends = np.cumsum(all_counts[indices])
        for i, end in zip(indices, ends, strict=True):
            probabilities[i] = gathered[end - all_counts[i] : end]
    return probabilities
