"""A task over all clips of a split: window probabilities, whatever the number of devices."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from irec_jax import distributed
from irec_jax.data import Clips
from irec_jax.inference import sliding_windows
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.tasks import Recognition


def predict_split(
    task: Recognition,
    params: Any,
    model_state: Any,
    clips: Clips,
    *,
    hop_samples: int,
    batch_size: int,
    label: str,
) -> list[np.ndarray]:
    """Window probabilities float32 (W_i, K) of every clip of a split, on every process.

    Each process predicts its share of the clips on its own devices.

    Args:
        task: of the parameters.
        params, model_state: on the host, not replicated.
        clips: the split.
        hop_samples: distance of windows.
        batch_size: windows per call on this process.
        label: of the progress bar.
    """
    mine = np.arange(jax.process_index(), len(clips), jax.process_count())
    bar = tqdm(
        total=len(mine), desc=label, unit="clip", leave=False, disable=not distributed.is_main()
    )

    def read() -> Iterable[sliding_windows.ClipAudio]:
        for i in mine:
            audio, gain = clips.read(int(i))
            yield sliding_windows.ClipAudio(audio, gain=float(gain))

    found = {}
    for i, probabilities in sliding_windows.predict_clips(
        read(),
        create_predict(task, params, model_state),
        window_samples=task.window_samples,
        hop_samples=hop_samples,
        batch_size=local_batch_size(batch_size),
        dtype=np.int16,
    ):
        found[int(mine[i])] = probabilities
        bar.update()
    bar.close()
    return _exchange(found, len(clips), len(task.classes))


def _exchange(found: dict[int, np.ndarray], num_clips: int, num_classes: int) -> list[np.ndarray]:
    """Every process's clips on every process, in clip order."""
    order = sorted(found)
    counts = np.zeros(num_clips, np.int64)
    counts[order] = [len(found[i]) for i in order]
    rows = np.concatenate([found[i] for i in order] or [np.zeros((0, num_classes), np.float32)])
    everyone = distributed.gather_rows(rows)
    all_counts = np.sum(distributed.gather_rows(counts[None]), axis=0)[0]
    result: list[np.ndarray] = [np.zeros((0, num_classes), np.float32)] * num_clips
    for process, gathered in enumerate(everyone):
        theirs = np.arange(process, num_clips, len(everyone))
        ends = np.cumsum(all_counts[theirs])
        for i, end in zip(theirs, ends, strict=True):
            result[i] = gathered[end - all_counts[i] : end]
    return result
