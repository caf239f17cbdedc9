"""What the builders of rendered datasets share: their config, and how options choose one."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import tensorflow_datasets as tfds

from data_builders.rendering import synth
from irec_jax import registry


@dataclasses.dataclass(eq=False, kw_only=True)
class RenderedConfig(tfds.core.BuilderConfig):
    """``size`` tiny, small or full; ``format`` of the audio, empty where there is but one.

    ``soundfont`` is the path of that which plays, None for the default one.
    """

    size: str = "small"
    format: str = ""
    soundfont: str | None = None


def make_config(
    size: str, format: str = "", *, soundfont: str | os.PathLike | None = None
) -> RenderedConfig:
    """The config ``<size>-<format>`` or ``<size>``, or one named after a SoundFont of the user's.

    Raises:
        UserError: the SoundFont cannot be read, or tinysoundfont is missing.
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
    """The configs of all sizes in all formats, played by the default SoundFont."""
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
    """The builder of a rendered dataset with these options.

    Raises:
        UserError: a size or format that none of the builder's own configs has; as `make_config`.
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
