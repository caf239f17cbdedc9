"""Multitrack recordings: a user's own, MedleyDB, Mixing Secrets and PHENICX-Anechoic."""

import os
from collections.abc import Sequence
from typing import Any

from data_builders.common import description


def _create_builder(
    *,
    path: str | os.PathLike | None = None,
    layout: str = "folder",
    format: str = "multitrack44k",
    classes: str | Sequence[str] | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.multitrack.builder import Multitrack

    return Multitrack(path=path, layout=layout, format=format, classes=classes, data_dir=data_dir)


DATASET = description.Description(
    kind="multitrack",
    create_builder=_create_builder,
    options={
        "path": "your recordings: a folder of <piece>/mix.wav and <piece>/<instrument>[-N].wav, "
        "or a folder with train/<piece> and test/<piece>",
        "layout": "folder (default), phenicx for PHENICX-Anechoic, medleydb or medleydb_raw for "
        "the stems or raw tracks of MedleyDB, or mixing_secrets for the Cambridge MT library",
        "format": description.MULTITRACK_FORMAT,
        "classes": "class names, separated by commas, or all for every instrument in path "
        "(default: 13 orchestral instruments; all for medleydb and mixing_secrets)",
    },
)
