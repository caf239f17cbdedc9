"""A prepared recognition dataset as plain arrays and a function that reads a clip."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import data_builders
from data_builders.features import FORMATS
from irec_jax.errors import UserError

#: Keys of the config section `data` that are not options of a builder.
OWN_KEYS = (
    "dir",
    "manual_dir",
    "cache_gb",
    "classes",
    "channels",
    "window_s",
    "hop_s",
    "normalize",
    "split",
    "validation_fraction",
    "test_fraction",
)


@dataclasses.dataclass(frozen=True)
class Clips:
    """Clips of a split. `read(i)` gives the mono samples of clip i as int16 (T,)."""

    ids: np.ndarray  # (N,) str
    songs: np.ndarray  # (N,) str
    labels: np.ndarray  # (N, K) float32 multi-hot
    num_samples: np.ndarray  # (N,) int64
    contradictory: np.ndarray  # (N,) bool
    read: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Clips":
        """The clips at these indices, in this order."""
        indices = np.asarray(indices, np.int64)
        return Clips(
            ids=self.ids[indices],
            songs=self.songs[indices],
            labels=self.labels[indices],
            num_samples=self.num_samples[indices],
            contradictory=self.contradictory[indices],
            read=lambda i: self.read(int(indices[i])),
        )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset by its full name, its classes and its splits `train` and `test`."""

    name: str
    version: str
    config: str
    rendered: bool
    classes: tuple[str, ...]
    sample_rate_hz: int
    train: Clips
    test: Clips


def options_of(name: str) -> Callable:
    """The builder class of a dataset, whose keyword arguments are the options of section `data`.

    Raises:
        UserError: no such dataset, or one without labelled clips.
    """
    if name in data_builders.MULTITRACKS:
        known = ", ".join(n for n in data_builders.NAMES if n not in data_builders.MULTITRACKS)
        raise UserError(
            f"dataset {name!r}: holds the tracks of pieces, not labelled clips; here take one of "
            f"{known}"
        )
    return data_builders.builder_class(name)


def _builder_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the builder among the settings; empty ones are left to its defaults."""
    own = (*OWN_KEYS, "name")
    options = {k: v for k, v in settings.items() if k not in own and v != ""}
    return options | dict(
        data_dir=settings["dir"] or None, manual_dir=settings["manual_dir"] or None
    )


def describe(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Class names and sample rate of the dataset of a config section, without preparing it."""
    builder = data_builders.builder(settings["name"], **_builder_arguments(settings))
    return tuple(builder.info.features["labels"].feature.names), _sample_rate_hz(settings)


def _sample_rate_hz(settings: Mapping[str, Any]) -> int:
    return FORMATS[settings["format"]].sample_rate_hz


def load(settings: Mapping[str, Any]) -> Dataset:
    """Prepares (if need be) and opens the dataset of a config section `data`.

    Raises:
        UserError: an unknown dataset or option; files that are missing or cannot be read.
    """
    builder = data_builders.prepare(settings["name"], **_builder_arguments(settings))
    classes = tuple(builder.info.features["labels"].feature.names)
    cache_bytes = settings["cache_gb"] * 1e9
    return Dataset(
        name=settings["name"],
        version=str(builder.version),
        config=builder.builder_config.name,
        rendered=builder.RENDERED,
        classes=classes,
        sample_rate_hz=_sample_rate_hz(settings),
        train=_open(builder, "train", cache_bytes),
        test=_open(builder, "test", 0.0),
    )


def _open(builder: Any, split: str, cache_bytes: float) -> Clips:
    index = data_builders.clip_index(builder, split)
    source = builder.as_data_source(split)

    def read(i: int) -> np.ndarray:
        return _to_mono(source[i]["audio"])

    if 2.0 * index["num_samples"].sum() <= cache_bytes:
        read = _remember(read)
    return Clips(
        ids=index["id"],
        songs=index["song"],
        labels=index["labels"].astype(np.float32),
        num_samples=index["num_samples"],
        contradictory=index["contradictory"],
        read=read,
    )


def _to_mono(audio: np.ndarray) -> np.ndarray:
    """(T, C) int16 to the mean of the channels, rounded to int16."""
    if audio.shape[1] == 1:
        return audio[:, 0]
    return np.round(audio.mean(axis=1, dtype=np.float32)).astype(np.int16)


def _remember(read: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
    """Reads each clip once and keeps it; safe in threads."""
    kept: dict[int, np.ndarray] = {}
    lock = threading.Lock()

    def cached(i: int) -> np.ndarray:
        if i not in kept:
            audio = read(i)
            with lock:
                kept.setdefault(i, audio)
        return kept[i]

    return cached
