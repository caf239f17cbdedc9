"""A prepared recognition dataset: the clips that a config asks for."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import data_builders
from data_builders.common.features import FORMATS, AudioFormat
from irec_jax import registry
from irec_jax.data.clips import Clips, peak
from irec_jax.data.options import builder_arguments, check_kind
from irec_jax.data.stored import open_stored
from irec_jax.errors import UserError

#: What becomes of the channels of a clip.
CHANNELS = ("mean", "separate")
#: Parts of the test split that `data.split=parts` uses: one for training, one for testing.
_TRAINING_PART, _TEST_PART = 2, 3


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset by its full name, the classes that were asked for, and the clips that show them.

    `num_classes` are those of the whole dataset. `train` is what trains and validates, and, where
    the `test` split is not used and None, tests too.
    """

    name: str
    version: str
    config: str
    rendered: bool
    classes: tuple[str, ...]
    num_classes: int
    sample_rate_hz: int
    train: Clips
    test: Clips | None


def describe(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Class names and sample rate of the dataset of a config section, without preparing it.

    Raises:
        UserError: an unknown dataset, option or class, or a split that the dataset lacks.
    """
    _check(settings)
    builder = data_builders.builder(settings["name"], **builder_arguments(settings))
    known = tuple(builder.info.features["labels"].feature.names)
    return _chosen(known, settings["classes"]), _format(settings).sample_rate_hz


def _format(settings: Mapping[str, Any]) -> AudioFormat:
    return FORMATS[settings["format"]]


def _chosen(known: tuple[str, ...], wanted: Sequence[str]) -> tuple[str, ...]:
    """The classes asked for, in that order; all when none are."""
    names = []
    for entry in [wanted] if isinstance(wanted, str) else wanted:
        # 'a,b' on the command line is one entry.
        names += [entry] if entry in known else [name.strip() for name in str(entry).split(",")]
    if not names:
        return known
    for name in names:
        if name not in known:
            raise registry.unknown("class in config key data.classes", name, known)
        if names.count(name) > 1:
            raise UserError(f"config key data.classes: names {name!r} twice")
    if len(names) < 2:
        raise UserError(
            f"config key data.classes: one class, {names[0]!r}; a recogniser tells at least two "
            "apart"
        )
    return tuple(names)


def _check(settings: Mapping[str, Any]) -> None:
    name = settings["name"]
    check_kind(name, "clips")
    parts = {_TRAINING_PART, _TEST_PART}
    if settings["split"] == "parts" and not parts <= {*data_builders.describe(name).test_parts}:
        with_parts = [n for n, d in data_builders.DATASETS.items() if parts <= {*d.test_parts}]
        raise UserError(
            f"data.split=parts: the test split is divided into parts only in "
            f"{' and '.join(with_parts)}, not in {name}; set it to official, song or window"
        )
    if settings.get("stored") and settings["split"] != "parts":
        raise UserError(
            f"config key data.split={settings['split']}: stored examples are the beginnings of "
            "clips; set it to parts, or data.stored to nothing"
        )


def load(settings: Mapping[str, Any]) -> Dataset:
    """Prepares (if need be) and opens the dataset of a config section `data`.

    Raises:
        UserError: an unknown dataset, option or class, or a split that the dataset lacks; files
            that are missing or cannot be read; stored examples of another dataset.
    """
    _check(settings)
    builder = data_builders.prepare(settings["name"], **builder_arguments(settings))
    known = tuple(builder.info.features["labels"].feature.names)
    sample_rate_hz = _format(settings).sample_rate_hz
    train, test = _open(builder, "train", settings), None
    if settings["split"] == "official":
        test = _open(builder, "test", settings)
    if settings["split"] == "parts":
        more = _open(builder, "test", settings, part=_TRAINING_PART)
        test = _open(builder, "test", settings, part=_TEST_PART)
        window_samples = round(settings["window_s"] * sample_rate_hz)
        train = train.followed_by(more).first(window_samples)
        test = test.first(window_samples)
    config = builder.builder_config.name
    if settings.get("stored"):
        stored = open_stored(settings["stored"])
        identity = dataset_of_store(settings, version=str(builder.version), config=config)
        if stored.contents.dataset != identity:
            raise UserError(
                f"config key data.stored={settings['stored']}: holds examples of "
                f"{dict(stored.contents.dataset)}, not of {identity}"
            )
        train, test = stored.clips(train), stored.clips(test)
        config = f"{config}, {stored.contents}"
    elif 2.0 * train.num_samples.sum() <= settings["cache_gb"] * 1e9:
        train = dataclasses.replace(train, read=remember(train.read))
    return Dataset(
        name=settings["name"],
        version=str(builder.version),
        config=config,
        rendered=data_builders.describe(settings["name"]).rendered,
        classes=_chosen(known, settings["classes"]),
        num_classes=len(known),
        sample_rate_hz=sample_rate_hz,
        train=train,
        test=test,
    )


def dataset_of_store(settings: Mapping[str, Any], *, version: str, config: str) -> dict[str, Any]:
    """What a store of the examples of a config section `data` says of their dataset."""
    keys = ("name", "window_s", "channels")
    return {key: settings[key] for key in keys} | {"version": version, "config": config}


def _open(
    builder: Any, split: str, settings: Mapping[str, Any], *, part: int | None = None
) -> Clips:
    """The clips of a split, or of a part of it, that show a class asked for; channels side by side
    or as their mean."""
    index = data_builders.clip_index(builder, split)
    source = builder.as_data_source(split)
    known = tuple(builder.info.features["labels"].feature.names)
    classes = _chosen(known, settings["classes"])
    labels = index["labels"][:, [known.index(name) for name in classes]].astype(np.float32)
    shown = labels.any(axis=1) | (classes == known)
    if part is not None:
        shown &= index["part"] == part
    shown = np.flatnonzero(shown)
    if not len(shown):
        which = f"{split} clip" + (f" of part {part}" if part is not None else "")
        raise UserError(
            f"{builder.name}: no {which} shows any of {', '.join(classes)}: set other data.classes"
        )
    separate = settings["channels"] == "separate"
    num_channels = _format(settings).num_channels if separate else 1
    clip = np.repeat(shown, num_channels)
    channel = np.tile(np.arange(num_channels), len(shown))
    ids = index["id"][clip]
    if num_channels > 1:
        ids = np.array([f"{name}#{c + 1}" for name, c in zip(ids, channel, strict=True)])

    def read(i: int) -> tuple[np.ndarray, np.float32]:
        audio = source[clip[i]]["audio"]
        audio = np.ascontiguousarray(audio[:, channel[i]]) if separate else _to_mono(audio)
        return audio, peak(audio)

    return Clips(
        ids=ids,
        songs=index["song"][clip],
        labels=labels[clip],
        num_samples=index["num_samples"][clip],
        contradictory=index["contradictory"][clip],
        read=read,
    )


def _to_mono(audio: np.ndarray) -> np.ndarray:
    """(T, C) int16 to the mean of the channels, rounded to int16."""
    if audio.shape[1] == 1:
        return audio[:, 0]
    return np.round(audio.mean(axis=1, dtype=np.float32)).astype(np.int16)


def remember(read: Callable[[int], Any]) -> Callable[[int], Any]:
    """Reads each example once and keeps it; safe in threads."""
    kept: dict[int, Any] = {}
    lock = threading.Lock()

    def cached(i: int) -> Any:
        if i not in kept:
            found = read(i)
            with lock:
                kept.setdefault(i, found)
        return kept[i]

    return cached
