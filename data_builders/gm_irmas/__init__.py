"""Rendered counterpart of IRMAS."""

from typing import Any

from data_builders.common.description import CLIP_FORMAT, SIZE, SOUNDFONT, Description
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

    return rendered.create_builder(GmIrmas, size, format, soundfont, data_dir)


DATASET = Description(
    kind="clips",
    create_builder=_create_builder,
    options={"size": SIZE, "format": CLIP_FORMAT, "soundfont": SOUNDFONT},
    rendered=True,
    classes=IRMAS,
    test_parts=(1, 2, 3),
)
