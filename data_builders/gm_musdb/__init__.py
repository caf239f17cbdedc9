"""Rendered counterpart of MUSDB18."""

from typing import Any

from data_builders.common import description


def _create_builder(
    *, size: str = "small", soundfont: str | None = None, data_dir: str | None = None
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_musdb.builder import GmMusdb

    return rendered.create_builder(GmMusdb, size=size, soundfont=soundfont, data_dir=data_dir)


DATASET = description.Description(
    kind="stems",
    create_builder=_create_builder,
    options={"size": description.SIZE, "soundfont": description.SOUNDFONT},
    rendered=True,
)
