"""Index of the clips in a prepared split: their lengths, and all features except the audio."""

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax.errors import UserError
from irec_jax.files import atomic_write
from irec_jax.progress import progress_bar

_DTYPES = {
    "num_samples": np.int64,
    "labels": np.float32,
    "id": str,
    "song": str,
    "contradictory": bool,
} | dict.fromkeys(("drums", "genre", "part"), np.int64)


def clip_index(builder: Any, split: str) -> dict[str, np.ndarray]:
    """Return the index of the N clips in a prepared split, in the order of ``as_data_source``.

    The first call reads all clips and stores the index next to the data; later calls load it. K is
    the number of classes.

    Returns:
        ``num_samples`` int64 (N,); ``labels`` float32 (N, K), multi-hot; ``id`` and ``song`` str
        (N,); ``contradictory`` bool (N,); ``drums``, ``genre`` and ``part`` int64 (N,).
    """
    path = Path(builder.data_dir, f"clip_index-{split}.npz")
    # A damaged index is rebuilt silently, since the user neither caused nor needs to fix it.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path) as file:
            index = {name: file[name] for name in file.files}
        if len(index["num_samples"]) == builder.info.splits[split].num_examples:
            return index
    index = _scan(builder, split)
    with contextlib.suppress(UserError):  # prepared data may be on a read-only disk
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **index)
    return index


def _scan(builder: Any, split: str) -> dict[str, np.ndarray]:
    source = builder.as_data_source(split)
    classes = np.arange(builder.info.features["labels"].feature.num_classes)
    columns: dict[str, list] = {name: [] for name in _DTYPES}
    label = f"indexing {builder.name} {split}"
    for i in progress_bar(range(len(source)), desc=label, unit=" clips", delay=1):
        clip = dict(source[i])
        clip |= {"num_samples": len(clip["audio"]), "labels": np.isin(classes, clip["labels"])}
        clip |= {name: clip[name].decode() for name in ("id", "song")}
        for name, column in columns.items():
            column.append(clip[name])
    return {name: np.array(column, _DTYPES[name]) for name, column in columns.items()}
