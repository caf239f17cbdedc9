"""Configs of rendered datasets, and creation of their builders from options."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import tensorflow_datasets as tfds

from data_builders.rendering import synth
from irec_jax import registry


@dataclasses.dataclass(eq=False, kw_only=True)
class RenderedConfig(tfds.core.BuilderConfig):
    """Config of a rendered dataset.

    Attributes:
        size: tiny, small or full.
        format: format of the audio; empty if the dataset has only one.
        soundfont: path of the SoundFont; None for the default one.
    """

    size: str = "small"
    format: str = ""
    soundfont: str | None = None


def make_config(
    size: str, format: str = "", *, soundfont: str | os.PathLike | None = None
) -> RenderedConfig:
    """Return the config ``<size>[-<format>]``, with the SoundFont in its name if one is given.

    Raises:
        UserError: the SoundFont cannot be read, or tinysoundfont is not installed.
    """
    words = [size, format] if format else [size]
    name, soundfont = synth.name_with_soundfont("-".join(words), soundfont)
    return RenderedConfig(
        name=name,
        description=", ".join(words),
        size=size,
        format=format,
        soundfont=soundfont,
    )


def make_configs(sizes: Iterable[str], formats: Iterable[str] = ("",)) -> list[RenderedConfig]:
    """Return the configs of all sizes and formats with the default SoundFont."""
    formats = tuple(formats)
    return [make_config(size, format) for size in sizes for format in formats]


def create_builder(
    builder_class: type[tfds.core.DatasetBuilder],
    *,
    size: str,
    format: str = "",
    soundfont: str | os.PathLike | None,
    data_dir: str | None,
) -> Any:
    """Return the builder of a rendered dataset with these options.

    Raises:
        UserError: a size or format that none of the builder's own configs has; see `make_config`.
    """
    configs = builder_class.builder_configs.values()
    for option, value in (("size", size), ("format", format)):
        known = dict.fromkeys(getattr(config, option) for config in configs)
        if value not in known:
            raise registry.unknown(option, value, known)
    config = make_config(size, format, soundfont=soundfont)
    # TFDS takes a builder's own configs by name only.
    return builder_class(
        config=config.name if config.name in builder_class.builder_configs else config,
        data_dir=data_dir,
    )
