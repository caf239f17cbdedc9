"""A user's own clips: one folder per class, or a CSV file with paths and labels.

The following layouts are supported:

- ``<class>/*.wav`` (flac, mp3, ogg, m4a ...), at any depth below the class folder;
- ``train/<class>/*`` and ``test/<class>/*``;
- a CSV file with the header ``file,labels[,split][,song]``: paths are relative to the CSV file,
  labels are separated by ``;`` or ``|``, the split is ``train`` or ``test``, and the song is the
  recording that the clip was cut from.

If the clips are not split, a fifth of the songs (or of the files, if there is no song column) is
held out for testing; see `split.choose_test_songs`. Each file becomes one clip of up to
`decoding.MAX_CLIP_BYTES`. Files that cannot be read are reported and skipped. A file that occurs
several times, as a link or as a copy with the same labels, is used once. A file that occurs in both
train and test is reported as an error.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_builders.common.archives import config_name
from data_builders.common.copies import find_contradictory
from data_builders.common.decoding import Clip, Examples
from data_builders.common.features import FORMATS, check_format, recognition_features
from data_builders.common.streaming import OptionsBuilder, StreamingBuilder
from data_builders.folder.files import drop_copies, scan
from irec_jax.errors import UserError
from irec_jax.files import expand_home


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
    """Config for the current contents of the folder or CSV file at ``path``.

    ``is_split`` is True if the user has split the clips into training and test clips.
    """

    path: str
    format: str
    classes: tuple[str, ...]
    is_split: bool


def make_config(
    path: str | os.PathLike | None = None,
    format: str = "mono22k",
    classes: str | Sequence[str] | None = None,
) -> FolderConfig:
    """Return the config for a folder or CSV file.

    The config's name contains a digest of the labels and of the files' names, sizes and
    modification times, so that changed files are prepared again.

    Args:
        path: folder or CSV file.
        format: key of `features.FORMATS`.
        classes: class names, as a sequence or separated by commas; None for all, sorted.

    Raises:
        UserError: if there is no path or the format is unknown, or as for `scan`.
    """
    if not path:
        raise UserError(
            "folder: no path given; set path to a folder of <class>/*.wav or to a CSV file"
        )
    check_format(format)
    path = os.path.abspath(expand_home(path))
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    layout = scan(path, classes)
    class_names = layout.classes
    files = (
        ((split, clip.id, clip.labels, clip.song), clip.file)
        for split, clips in layout.splits.items()
        for clip in clips
    )
    name = config_name(Path(path).stem, format, repr((path, class_names)), files, default="sounds")
    return FolderConfig(
        name=name,
        description=path,
        path=path,
        format=format,
        classes=class_names,
        is_split=layout.is_split,
    )


class Folder(OptionsBuilder, StreamingBuilder):
    """Builder for the `folder` dataset, configured by a `FolderConfig`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Class folders and CSV files."}

    make_config = staticmethod(make_config)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            description=f"The clips in {config.path}.",
            features=recognition_features(config.classes, FORMATS[config.format]),
        )

    def _download_and_prepare(self, dl_manager, download_config: Any = None) -> None:
        self._errors: list[UserError] = []
        try:
            super()._download_and_prepare(dl_manager, download_config)
        finally:
            for error in self._errors:
                print(f"skipped: {error}", file=sys.stderr)
            if self._errors:
                files = "file" if len(self._errors) == 1 else "files"
                print(f"{len(self._errors)} {files} could not be read", file=sys.stderr)

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        del dl_manager
        config = self.builder_config
        layout = drop_copies(scan(config.path, config.classes))
        for note in layout.notes:
            print(f"{config.path}: {note}", file=sys.stderr)
        return {split: self._examples(clips) for split, clips in layout.splits.items()}

    def _examples(self, clips: list[Clip]) -> Examples:
        return Examples(
            clips,
            FORMATS[self.builder_config.format],
            find_contradictory(clips),
            on_error=self._errors.append,
        )
