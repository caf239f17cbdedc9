"""Rendered clips for training recognisers that are applied to real recordings."""

from typing import Any

from data_builders.common.description import CLIP_FORMAT, SIZE, Description
from irec_jax.labels import IRMAS


def _create_builder(
    *,
    size: str = "small",
    format: str = "mono22k",
    sounds: str = "timgm",
    validation_sounds: str | None = None,
    test_sounds: str | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.gm_wild.builder import GmWild, make_config

    config = make_config(
        size, format, sounds=sounds, validation_sounds=validation_sounds, test_sounds=test_sounds
    )
    return GmWild(config=config, data_dir=data_dir)


DATASET = Description(
    kind="clips",
    create_builder=_create_builder,
    options={
        "size": SIZE,
        "format": CLIP_FORMAT,
        "sounds": "sound libraries for the training clips, joined by +, such as "
        "fluid+musescore+notes (default: timgm; see irec fetch-sounds)",
        "validation_sounds": "sound libraries for the validation clips (default: some training "
        "clips are held out)",
        "test_sounds": "sound libraries for the test clips (default: those of the training clips)",
    },
    rendered=True,
    classes=IRMAS,
)
