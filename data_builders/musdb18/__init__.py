"""MUSDB18 and MUSDB18-HQ: music tracks with their stems."""

import os
from typing import Any

from data_builders.common import description


def _create_builder(
    *,
    path: str | os.PathLike | None = None,
    format: str = "aac",
    data_dir: str | None = None,
) -> Any:
    from data_builders.musdb18 import builder
    from irec_jax import registry

    if format not in builder.EDITIONS:
        raise registry.unknown("format", format, builder.EDITIONS)
    # TFDS accepts a builder's own configs by name only.
    config = builder.make_config(path) if path else builder.EDITIONS[format].name
    return builder.Musdb18(config=config, data_dir=data_dir)


DATASET = description.Description(
    kind="stems",
    create_builder=_create_builder,
    options={
        "path": "a part of the dataset, or your own tracks: a folder of <track>.stem.mp4 and "
        "<track>/{mixture,drums,bass,other,vocals}.wav, or a folder with these in train and test",
        "format": "without path: aac (default) or hq (MUSDB18-HQ)",
    },
)
