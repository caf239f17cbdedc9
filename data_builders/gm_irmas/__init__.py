"""Rendered counterpart of IRMAS."""

from typing import Any

from data_builders.common import description
from irec_jax.labels import IRMAS


def _create_builder(
    *,
    size: str = "small",
    format: str = "mono22k",
    soundfont: str | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_irmas.builder import GmIrmas

    return rendered.create_builder(
        GmIrmas, size=size, format=format, soundfont=soundfont, data_dir=data_dir
    )


DATASET = description.Description(
    kind="clips",
    create_builder=_create_builder,
    options={
        "size": description.SIZE,
        "format": description.CLIP_FORMAT,
        "soundfont": description.SOUNDFONT,
    },
    rendered=True,
    classes=IRMAS,
    test_parts=(1, 2, 3),
)
