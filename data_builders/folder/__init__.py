"""A user's own labelled clips."""

import os
from collections.abc import Sequence
from typing import Any

from data_builders.common import description


def _create_builder(
    *,
    path: str | os.PathLike | None = None,
    format: str = "mono22k",
    classes: str | Sequence[str] | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.folder.builder import Folder

    return Folder(path=path, format=format, classes=classes, data_dir=data_dir)


def _describe_test(builder: Any) -> str:
    config = builder.builder_config
    if not config.is_split:
        return "a fifth of the songs, held out when the data were prepared"
    where = "CSV file" if config.path.lower().endswith(".csv") else "folder"
    return f"the {where}'s own test clips"


DATASET = description.Description(
    kind="clips",
    create_builder=_create_builder,
    options={
        "path": "your clips: a folder of <class>/*.wav (or mp3, flac, ogg, m4a), a folder with "
        "train/<class> and test/<class>, or a CSV file with the header "
        "file,labels[,split][,song]",
        "format": description.CLIP_FORMAT,
        "classes": "class names, separated by commas (default: all classes in path)",
    },
    describe_test=_describe_test,
)
