"""Fingerprints of datasets and their splits, for detecting changed data.

A workdir stores the fingerprint of the data that its system was trained on. No audio is read: clips
are identified by their names, labels and lengths.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from irec_jax.data.dataset import Dataset
from irec_jax.data.labelled_clips import Clips
from irec_jax.data.splits import Splits
from irec_jax.data.stems import StemDataset, Tracks


def fingerprint(dataset: Dataset | StemDataset, splits: Splits) -> dict[str, Any]:
    """Return the fingerprint of a dataset and its splits as a JSON-serialisable dict.

    Returns:
        dict: ``name``, ``version``, ``config`` and ``sample_rate_hz`` of the dataset; its
        ``classes`` (or stems); ``splits``, the ``num_examples`` and a ``digest`` of each split;
        ``trained_on``, digests of the songs or tracks used for training and validation; and
        ``num_shared``, the number of these songs or tracks that are also in the test split.
    """
    classes = dataset.classes if isinstance(dataset, Dataset) else dataset.stems
    trained_on = _songs(splits.training) | _songs(splits.validation)
    keys = ("name", "version", "config", "sample_rate_hz")
    return {key: getattr(dataset, key) for key in keys} | {
        "classes": list(classes),
        "splits": {
            name: {"num_examples": len(examples), "digest": _digest(_rows(examples))}
            for name, examples in splits._asdict().items()
        },
        "trained_on": sorted(trained_on),
        "num_shared": len(trained_on & _songs(splits.test)),
    }


def changes(earlier: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return short descriptions of the differences between two fingerprints.

    Builder configs are not compared, since their names change when the same files are copied or
    moved.
    """
    found = [
        f"{key} {earlier[key]} -> {current[key]}"
        for key in ("name", "version", "sample_rate_hz")
        if earlier[key] != current[key]
    ]
    if earlier["classes"] != current["classes"]:
        found.append(f"classes {_listed(earlier['classes'])} -> {_listed(current['classes'])}")
    for name, split in current["splits"].items():
        before, now = earlier["splits"][name]["num_examples"], split["num_examples"]
        if before != now:
            found.append(f"{name} {before} -> {now} examples")
        elif earlier["splits"][name]["digest"] != split["digest"]:
            found.append(f"{name} {now} different examples")
    return found


def num_trained_on(earlier: Mapping[str, Any], splits: Splits) -> int:
    """Return how many songs in the current test split were trained on before the data changed.

    Songs are compared by name. The result is 0 if the training and test splits shared songs from
    the start.
    """
    if earlier["num_shared"]:
        return 0
    return len(set(earlier["trained_on"]) & _songs(splits.test))


def _songs(examples: Clips | Tracks) -> set[str]:
    """Return short digests of song or track names, without their `train/` or `test/` prefixes."""
    names = examples.songs if isinstance(examples, Clips) else examples.names
    names = (str(name).removeprefix("train/").removeprefix("test/") for name in np.unique(names))
    return {_digest([name])[:8] for name in names}


def _rows(examples: Clips | Tracks) -> list[str]:
    """Return one line of text per example, sorted."""
    if isinstance(examples, Clips):
        labels = (np.flatnonzero(row).tolist() for row in examples.labels)
        columns = (examples.ids, examples.songs, labels, examples.num_samples)
    else:
        columns = (examples.names, examples.num_samples)
    return sorted(repr(tuple(map(str, row))) for row in zip(*columns, strict=True))


def _digest(lines: Iterable[str]) -> str:
    text = "\n".join(lines).encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def _listed(names: list[str]) -> str:
    return ",".join(names[:4]) + (f",... ({len(names)})" if names[4:] else "")
