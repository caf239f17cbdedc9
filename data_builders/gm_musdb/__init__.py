"""Rendered counterpart of MUSDB18."""

from typing import Any

from data_builders.common.description import SIZE, SOUNDFONT, Description


def _create_builder(
    *, size: str = "small", soundfont: str | None = None, data_dir: str | None = None
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_musdb.builder import GmMusdb

    return rendered.create_builder(GmMusdb, size, "", soundfont, data_dir)


DATASET = Description(
    kind="stems",
    create_builder=_create_builder,
    options={"size": SIZE, "soundfont": SOUNDFONT},
    rendered=True,
)
