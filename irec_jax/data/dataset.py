"""Recognition datasets: the labelled clips that the `data` section of a config selects."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

import data_builders
from data_builders.common.features import FORMATS, AudioFormat
from irec_jax import registry
from irec_jax.audio import ChannelLevels
from irec_jax.data.example_store import open_store
from irec_jax.data.instances import describe_instances, load_instances
from irec_jax.data.labelled_clips import Clips, peak
from irec_jax.data.options import builder_arguments, check_kind
from irec_jax.errors import UserError

#: Channel handling: average a clip's channels, or make each channel a separate example.
CHANNELS = ("mean", "separate")
#: With `data.split=parts`, one part of the test split is added to the training data and another is
#: the test set.
_TRAINING_PART, _TEST_PART = 2, 3
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A recognition dataset, restricted to the selected classes and the clips labelled with them.

    Attributes:
        name, version, config: identification of the prepared dataset.
        rendered: True for synthesised audio.
        classes: the selected classes.
        num_classes: number of classes in the full dataset.
        train: training clips, from which `validation` and `test` are also taken if they are None.
        test: test clips; None if they are taken from the training clips.
        validation: the dataset's own validation clips, if it has any and `split` is official.
        test_split: description of the test split for reports.
        frame_labels: name of each test piece -> whether each class plays in each frame, bool
            (F, K), with frames of `crosstalk.activity.FRAME_LENGTH` samples. None if labels apply
            to entire clips.
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
    validation: Clips | None = None
    test_split: str = "the dataset's own test clips"
    frame_labels: Mapping[str, np.ndarray] | None = None


def describe(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return the class names and sample rate (Hz) of a dataset without preparing it.

    Args:
        settings: the `data` section of a config.

    Raises:
        UserError: unknown dataset, option or class, or a split that the dataset does not have.
    """
    if data_builders.describe(settings["name"]).kind == "multitrack":
        return describe_instances(settings)
    _check_settings(settings)
    builder = data_builders.builder(settings["name"], **builder_arguments(settings))
    known = tuple(builder.info.features["labels"].feature.names)
    return _selected_classes(known, settings["classes"]), _format(settings).sample_rate_hz


def _format(settings: Mapping[str, Any]) -> AudioFormat:
    return FORMATS[settings["format"]]


def _selected_classes(known: tuple[str, ...], selection: Sequence[str]) -> tuple[str, ...]:
    """Return the selected classes in the given order, or all classes if none are selected."""
    names = []
    for entry in [selection] if isinstance(selection, str) else selection:
        # From the command line, 'a,b' arrives as a single entry.
        names += [entry] if entry in known else [name.strip() for name in str(entry).split(",")]
    if not names:
        return known
    for name in names:
        if name not in known:
            raise registry.unknown("data.classes entry", name, known)
        if names.count(name) > 1:
            raise UserError(f"data.classes: {name!r} appears twice; remove one")
    if len(names) < 2:
        raise UserError(f"data.classes: only one class, {names[0]!r}; name at least two")
    return tuple(names)


def _check_settings(settings: Mapping[str, Any]) -> None:
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
            f"data.split={settings['split']}: stored examples hold only the first seconds of "
            "clips; set it to parts, or leave data.stored unset"
        )


def test_split(settings: Mapping[str, Any]) -> str:
    """Return a description of a dataset's test split for reports, without preparing the data."""
    builder = data_builders.builder(settings["name"], **builder_arguments(settings))
    return data_builders.describe(settings["name"]).test_split(builder)


def load(settings: Mapping[str, Any]) -> Dataset:
    """Open the dataset that the `data` section of a config selects, preparing it on first use.

    Raises:
        UserError: unknown dataset, option or class, or a split that the dataset does not have;
            missing or unreadable files; stored examples that belong to another dataset.
    """
    if data_builders.describe(settings["name"]).kind == "multitrack":
        return _load_multitrack(settings)
    _check_settings(settings)
    builder = data_builders.prepare(settings["name"], **builder_arguments(settings))
    known = tuple(builder.info.features["labels"].feature.names)
    sample_rate_hz = _format(settings).sample_rate_hz
    train, test, validation = _open_split(builder, "train", settings), None, None
    if settings["split"] == "official":
        test = _open_split(builder, "test", settings)
        if "validation" in builder.info.splits:
            validation = _open_split(builder, "validation", settings)
    if settings["split"] == "parts":
        more = _open_split(builder, "test", settings, part=_TRAINING_PART)
        test = _open_split(builder, "test", settings, part=_TEST_PART)
        window_samples = round(settings["window_s"] * sample_rate_hz)
        train = train.concatenate(more).truncate(window_samples)
        test = test.truncate(window_samples)
    config = builder.builder_config.name
    if settings.get("stored"):
        store = open_store(settings["stored"])
        identity = store_identity(settings, version=str(builder.version), config=config)
        if store.contents.dataset != identity:
            raise UserError(
                f"data.stored={settings['stored']}: holds examples of "
                f"{dict(store.contents.dataset)}, not of {identity}; store them again"
            )
        train = store.replace_audio(train)
        test = store.replace_audio(test) if test is not None else None
        config = f"{config}, {store.contents}"
    elif 2.0 * train.num_samples.sum() <= settings["cache_gb"] * 1e9:
        train = dataclasses.replace(train, read=cache_reads(train.read))
    return Dataset(
        name=settings["name"],
        version=str(builder.version),
        config=config,
        rendered=data_builders.describe(settings["name"]).rendered,
        classes=_selected_classes(known, settings["classes"]),
        num_classes=len(known),
        sample_rate_hz=sample_rate_hz,
        train=train,
        test=test,
        validation=validation,
        test_split=data_builders.describe(settings["name"]).test_split(builder),
    )


def _load_multitrack(settings: Mapping[str, Any]) -> Dataset:
    """Return a multitrack dataset, divided into instances; see `instances.load_instances`."""
    builder, pieces, splits, frame_labels = load_instances(settings)
    return Dataset(
        name=settings["name"],
        version=str(builder.version),
        config=builder.builder_config.name,
        rendered=pieces.rendered,
        classes=pieces.classes,
        num_classes=len(pieces.classes),
        sample_rate_hz=pieces.sample_rate_hz,
        train=splits["train"],
        test=splits["test"],
        test_split=data_builders.describe(settings["name"]).test_split(builder),
        frame_labels=frame_labels,
    )


def store_identity(settings: Mapping[str, Any], *, version: str, config: str) -> dict[str, Any]:
    """Return a dataset's identity, as recorded in stores of its examples."""
    keys = ("name", "window_s", "channels")
    return {key: settings[key] for key in keys} | {"version": version, "config": config}


def _open_split(
    builder: Any, split: str, settings: Mapping[str, Any], *, part: int | None = None
) -> Clips:
    """Return the clips in a split, or in one part of it, that have at least one selected class.

    With `channels` "separate", each channel becomes a separate example; otherwise, the channels of
    a clip are averaged.
    """
    index = data_builders.clip_index(builder, split)
    source = builder.as_data_source(split)
    known = tuple(builder.info.features["labels"].feature.names)
    classes = _selected_classes(known, settings["classes"])
    labels = index["labels"][:, [known.index(name) for name in classes]].astype(np.float32)
    selected = labels.any(axis=1) | (classes == known)
    if part is not None:
        selected &= index["part"] == part
    selected = np.flatnonzero(selected)
    if not len(selected):
        where = split if part is None else f"part {part} of {split}"
        raise UserError(
            f"{builder.name}: no clip in {where} is labelled with any of {', '.join(classes)}; "
            "change data.classes"
        )
    separate = settings["channels"] == "separate"
    num_channels = _format(settings).num_channels if separate else 1
    clip = np.repeat(selected, num_channels)
    channel = np.tile(np.arange(num_channels), len(selected))
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
    """Average the channels of int16 audio (T, C), rounding to int16.

    If the channels cancel, as in a stereo pair with one channel inverted, return the loudest
    channel.
    """
    if audio.shape[1] == 1:
        return audio[:, 0]
    levels = ChannelLevels()
    levels.add(audio.astype(np.float32))
    if levels.cancel:
        return np.ascontiguousarray(audio[:, levels.loudest])
    return np.round(audio.mean(axis=1, dtype=np.float32)).astype(np.int16)


def cache_reads(read: Callable[[int], _T]) -> Callable[[int], _T]:
    """Return a thread-safe version of `read` that keeps every example in memory."""
    cache: dict[int, _T] = {}
    lock = threading.Lock()

    def cached_read(i: int) -> _T:
        if i not in cache:
            example = read(i)
            with lock:
                cache.setdefault(i, example)
        return cache[i]

    return cached_read
