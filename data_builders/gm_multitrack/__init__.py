"""Rendered multitrack recordings of chamber and orchestral pieces."""

from typing import Any

from data_builders.common import description
from irec_jax.labels import ORCHESTRA


def _create_builder(
    *,
    size: str = "small",
    format: str = "multitrack44k",
    soundfont: str | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_multitrack.builder import GmMultitrack

    return rendered.create_builder(
        GmMultitrack, size=size, format=format, soundfont=soundfont, data_dir=data_dir
    )


DATASET = description.Description(
    kind="multitrack",
    create_builder=_create_builder,
    options={
        "size": description.SIZE,
        "format": description.MULTITRACK_FORMAT,
        "soundfont": description.SOUNDFONT,
    },
    rendered=True,
    classes=ORCHESTRA,
)
