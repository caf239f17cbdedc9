"""Rendered multitrack recordings of chamber and orchestral pieces."""

from typing import Any

from data_builders.common.description import MULTITRACK_FORMAT, SOUNDFONT, Description
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

    return rendered.create_builder(GmMultitrack, size, format, soundfont, data_dir)


DATASET = Description(
    kind="multitrack",
    create_builder=_create_builder,
    options={
        "size": "tiny, small (default), full or long (pieces of 2 to 5 minutes)",
        "format": MULTITRACK_FORMAT,
        "soundfont": SOUNDFONT,
    },
    rendered=True,
    classes=ORCHESTRA,
)
