"""Configs for rendered datasets, and the base class for their builders."""

import abc
import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from data_builders.common.streaming import StreamingBuilder
from data_builders.rendering import synth
from irec_jax import registry


@dataclasses.dataclass(eq=False, kw_only=True)
class RenderedConfig(tfds.core.BuilderConfig):
    """Config for a rendered dataset.

    Attributes:
        size: tiny, small, full or, for `gm_multitrack`, long.
        format: audio format; empty if the dataset has only one.
        soundfont: path to the SoundFont; None for the default one.
    """

    size: str = "small"
    format: str = ""
    soundfont: str | None = None


class RenderedBuilder(StreamingBuilder, skip_registration=True):
    """Base class for rendered dataset builders, which are configured by a `RenderedConfig`."""

    SPLITS: tuple[str, ...] = ("train", "test")
    #: Number of rendering processes; None for at most one per core. The data do not depend on it.
    num_workers: int | None = None

    @property
    def builder_config(self) -> RenderedConfig:
        """This builder's config."""
        return super().builder_config

    def _split_generators(self, dl_manager) -> dict[str, "_Examples"]:
        del dl_manager  # nothing is downloaded
        synth.check_soundfont(self.builder_config.soundfont)
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split: str, /) -> "_Examples":
        return _Examples(self, split)

    @abc.abstractmethod
    def _num_examples(self, split: str) -> int:
        """Return the number of examples in a split without rendering them."""

    @abc.abstractmethod
    def _render_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        """Render the examples of a split and yield them as (id, example) pairs."""


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The (id, example) pairs of a split, rendered during iteration."""

    builder: RenderedBuilder
    split: str

    def __len__(self) -> int:
        return self.builder._num_examples(self.split)

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        return self.builder._render_examples(self.split)


def make_config(
    size: str, format: str = "", *, soundfont: str | os.PathLike | None = None
) -> RenderedConfig:
    """Return the config ``<size>[-<format>]``; a SoundFont, if given, is added to its name.

    Raises:
        UserError: if the SoundFont cannot be read, or tinysoundfont is not installed.
    """
    words = [size, format] if format else [size]
    name, soundfont = synth.name_with_soundfont("-".join(words), soundfont)
    return RenderedConfig(
        name=name, description=", ".join(words), size=size, format=format, soundfont=soundfont
    )


def make_configs(sizes: Iterable[str], formats: Iterable[str] = ("",)) -> list[RenderedConfig]:
    """Return the configs for all sizes and formats with the default SoundFont."""
    formats = tuple(formats)
    return [make_config(size, format) for size in sizes for format in formats]


def create_builder(
    builder_class: type[tfds.core.DatasetBuilder],
    size: str,
    format: str,
    soundfont: str | os.PathLike | None,
    data_dir: str | None,
) -> Any:
    """Return a rendered dataset's builder for the given options.

    Raises:
        UserError: if the dataset lacks the size or format, or as for `make_config`.
    """
    own_configs = builder_class.builder_configs
    for option, value in (("size", size), ("format", format)):
        known = dict.fromkeys(getattr(config, option) for config in own_configs.values())
        if value not in known:
            raise registry.unknown(option, value, known)
    config = make_config(size, format, soundfont=soundfont)
    # TFDS accepts a builder's own configs by name only.
    return builder_class(
        config=config.name if config.name in own_configs else config, data_dir=data_dir
    )
