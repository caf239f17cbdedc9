"""Index of a prepared split of clips: all features except the audio."""

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax.errors import UserError
from irec_jax.files import atomic_write
from irec_jax.progress import progress_bar

_TAGS = ("drums", "genre", "part")


def clip_index(builder: Any, split: str) -> dict[str, np.ndarray]:
    """Return the index of the N clips of a split, in the order of ``as_data_source(split)``.

    It is read from the data once and then from a file next to them.

    Args:
        builder: prepared builder of a recognition dataset with K classes.
        split: name of the split.

    Returns:
        ``num_samples`` int64 (N,); ``labels`` float32 (N, K), multi-hot; ``id`` and ``song`` str
        (N,); ``contradictory`` bool (N,); ``drums``, ``genre`` and ``part`` int64 (N,).
    """
    path = Path(builder.data_dir, f"clip_index-{split}.npz")
    # A damaged file is not the user's fault: it is written again.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path) as file:
            index = {name: file[name] for name in file.files}
        if len(index["num_samples"]) == builder.info.splits[split].num_examples:
            return index
    index = _scan(builder, split)
    with contextlib.suppress(UserError):  # prepared data may be on a read-only disk
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **index)
    return index


def _scan(builder: Any, split: str) -> dict[str, np.ndarray]:
    source = builder.as_data_source(split)
    num_clips = len(source)
    labels = np.zeros((num_clips, builder.info.features["labels"].feature.num_classes), np.float32)
    num_samples = np.zeros(num_clips, np.int64)
    contradictory = np.zeros(num_clips, bool)
    tags = {name: np.zeros(num_clips, np.int64) for name in _TAGS}
    ids, songs = [], []
    label = f"{builder.name} {split}: index"
    for i in progress_bar(range(num_clips), desc=label, unit=" clips", delay=1):
        clip = source[i]
        num_samples[i] = len(clip["audio"])
        labels[i, np.asarray(clip["labels"], np.int64)] = 1.0
        contradictory[i] = clip["contradictory"]
        ids.append(clip["id"].decode())
        songs.append(clip["song"].decode())
        for name, column in tags.items():
            column[i] = clip[name]
    return dict(
        num_samples=num_samples,
        labels=labels,
        id=np.array(ids, str),
        song=np.array(songs, str),
        contradictory=contradictory,
        **tags,
    )
