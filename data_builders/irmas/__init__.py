"""IRMAS: predominant instrument recognition in recorded music."""

from typing import Any

from data_builders.common import description
from irec_jax.labels import IRMAS


def _create_builder(*, format: str = "mono22k", data_dir: str | None = None) -> Any:
    from data_builders.common.features import check_format
    from data_builders.irmas.builder import Irmas

    return Irmas(config=check_format(format), data_dir=data_dir)


DATASET = description.Description(
    kind="clips",
    create_builder=_create_builder,
    options={"format": description.CLIP_FORMAT},
    classes=IRMAS,
    test_parts=(1, 2, 3),
)
