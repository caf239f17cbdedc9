"""A user's own clips: a folder per class, or a CSV file of files and labels.

- ``<class>/*.wav`` (flac, mp3, ogg, m4a ...), at any depth below the class;
- ``train/<class>/*`` and ``test/<class>/*``;
- a CSV file with the header ``file,labels[,split][,song]``: paths relative to it, labels separated
  by ``;`` or ``|``, split ``train`` or ``test``, song the recording that a clip was cut from.

Without a split, a fifth of the songs (of the files if there is no such column) becomes the test
split: always the same ones, with at least one of every class that has two. Each file becomes one
clip of up to `decoding.MAX_CLIP_BYTES`. Files that cannot be read are reported and skipped.
"""

import csv
import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_builders.common.archives import (
    File,
    config_name,
    file_at,
    files_in_folder,
    printable_name,
    subfolders,
)
from data_builders.common.decoding import Clip, Examples, find_contradictory
from data_builders.common.features import FORMATS, check_format, recognition_features
from data_builders.common.streaming import OptionsBuilder, StreamingBuilder
from data_builders.folder.split import choose_test_songs
from irec_jax import registry
from irec_jax.audio import SUFFIXES
from irec_jax.errors import UserError
from irec_jax.files import expand_home

_SPLITS = ("train", "test")
_COLUMNS = ("file", "labels", "split", "song")


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
    """Current content of the folder or CSV file at ``path``, with a format and classes."""

    path: str
    format: str
    classes: tuple[str, ...]


def make_config(
    path: str | os.PathLike | None = None,
    format: str = "mono22k",
    classes: str | Sequence[str] | None = None,
) -> FolderConfig:
    """Return the config of a folder or CSV file.

    Its name contains a digest of the content, so that changed files are prepared again.

    Args:
        path: folder or CSV file.
        format: key of `features.FORMATS`.
        classes: class names, a sequence or separated by commas; None for all, sorted.

    Raises:
        UserError: no path, unknown format, or see `scan`.
    """
    if not path:
        raise UserError(
            "folder: no path given; set path to a folder of <class>/*.wav or a CSV file"
        )
    check_format(format)
    path = os.path.abspath(expand_home(path))
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    class_names, splits = scan(path, classes)
    files = (
        ((split, clip.id, clip.labels, clip.song), clip.file)
        for split, clips in splits.items()
        for clip in clips
    )
    name = config_name(Path(path).stem, format, repr((path, class_names)), files, default="sounds")
    return FolderConfig(name=name, description=path, path=path, format=format, classes=class_names)


class Folder(OptionsBuilder, StreamingBuilder):
    """Builder of `folder`, with a `FolderConfig` as its config."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Folders of classes and CSV files."}

    make_config = staticmethod(make_config)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The sounds of {config.path}.",
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
                print(f"{len(self._errors)} files could not be read", file=sys.stderr)

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        del dl_manager
        config = self.builder_config
        _, splits = scan(config.path, config.classes)
        return {split: self._examples(clips) for split, clips in splits.items()}

    def _examples(self, clips: list[Clip]) -> Examples:
        return Examples(
            clips,
            FORMATS[self.builder_config.format],
            find_contradictory(clips),
            on_error=self._errors.append,
        )


def scan(path: str, classes: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, list[Clip]]]:
    """Return the class names of a folder or CSV file, and the clips of the splits train and test.

    Raises:
        UserError: no such path, a class without clips, an unknown class, or too few songs to
            split; errors in a CSV file name the line.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: no such folder or CSV file; check the path")
    if os.path.isdir(path):
        splits = _scan_folder(path, classes)
    elif path.lower().endswith(".csv"):
        splits = _scan_csv(path, classes)
    else:
        raise UserError(f"{path}: neither a folder nor a CSV file; set path to one of them")
    available = {label for clips in splits.values() for clip in clips for label in clip.labels}
    for name in classes or ():
        if name not in available:
            raise UserError(f"{path}: class {name!r} has no clips; add some or leave it out")
    if "test" not in splits:
        splits = _split_by_song(path, splits["train"])
    for split, clips in splits.items():
        if not clips:
            raise UserError(f"{path}: no clips in the split {split!r}; add some")
    return tuple(classes or sorted(available)), splits


def _scan_folder(root: str, classes: Sequence[str] | None) -> dict[str, list[Clip]]:
    folders = subfolders(root)
    if not set(_SPLITS) & set(folders):
        return {"train": _scan_classes(root, "", classes)}
    for name in folders:
        if name not in _SPLITS:
            raise UserError(
                f"{os.path.join(root, name)}: unexpected folder next to train and test; remove it "
                "(validation clips are taken from train)"
            )
    for split in _SPLITS:
        if split not in folders:
            raise UserError(f"{root}: lacks the folder {split}; add {split}/<class>/*.wav")
    splits = {split: _scan_classes(root, split, classes) for split in _SPLITS}
    training_classes = {label for clip in splits["train"] for label in clip.labels}
    for clip in splits["test"]:
        if clip.labels[0] not in training_classes:
            raise UserError(f"{root}/train: lacks the class {clip.labels[0]!r} of test; add it")
    return splits


def _scan_classes(root: str, split: str, classes: Sequence[str] | None) -> list[Clip]:
    folder = os.path.join(root, split)
    names = subfolders(folder)
    if not names:
        raise UserError(f"{folder}: no class folders; expected <class>/*.wav")
    clips = []
    for name in names:
        class_folder = os.path.join(folder, name)
        name = printable_name(name)
        if classes is not None and name not in classes:
            raise UserError(f"{class_folder}: {registry.unknown('class', name, classes)}")
        files = [f for f in files_in_folder(class_folder) if f.name.lower().endswith(SUFFIXES)]
        if not files:
            raise UserError(f"{class_folder}: no audio files; add some or remove the folder")
        for file in files:
            key = "/".join(part for part in (split, name, file.name) if part)
            clips.append(Clip(file=file, id=key, labels=(name,), song=key))
    return clips


def _scan_csv(path: str, classes: Sequence[str] | None) -> dict[str, list[Clip]]:
    splits: dict[str, list[Clip]] = {"train": []}
    first_lines: dict[str, int] = {}
    for line, row in _rows(path):
        where = f"{path} line {line}"
        labels = tuple(
            dict.fromkeys(n.strip() for n in re.split("[;|]", row["labels"]) if n.strip())
        )
        if not labels:
            raise UserError(f"{where}: no labels; add one or more, separated by ;")
        for label in labels:
            if classes is not None and label not in classes:
                raise UserError(f"{where}: {registry.unknown('class', label, classes)}")
        split = row.get("split", "train")
        if split not in _SPLITS:
            raise UserError(f"{where}: unknown split {split!r}; expected train or test")
        if "split" in row:
            splits.setdefault("test", [])
        file = _listed_file(path, row["file"], where)
        if file.name in first_lines:
            first = first_lines[file.name]
            raise UserError(f"{where}: {file.name} is also in line {first}; remove one")
        first_lines[file.name] = line
        clip = Clip(file=file, id=file.name, labels=labels, song=row.get("song") or file.name)
        splits[split].append(clip)
    if not first_lines:
        raise UserError(f"{path}: no lines after the header; add file,labels")
    return splits


def _listed_file(path: str, name: str, where: str) -> File:
    if not name:
        raise UserError(f"{where}: no file name; fill in the column file")
    full_path = os.path.join(os.path.dirname(path), name)
    if not os.path.isfile(full_path):
        raise UserError(f"{where}: no such file {full_path}; paths are relative to the CSV file")
    return file_at(full_path, os.path.normpath(name))


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line numbers of a CSV file and the stripped texts by column."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            if not {"file", "labels"} <= set(columns) <= set(_COLUMNS):
                header = ",".join(columns)
                raise UserError(
                    f"{path} line 1: header {header!r}; expected file,labels[,split][,song]"
                )
            reader.fieldnames = columns
            for row in reader:
                if None in row:
                    raise UserError(
                        f"{path} line {reader.line_num}: more columns than the header; quote names "
                        "that contain commas"
                    )
                yield reader.line_num, {name: text.strip() for name, text in row.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error}); export it again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the file") from error


def _split_by_song(path: str, clips: list[Clip]) -> dict[str, list[Clip]]:
    labels: dict[str, set[str]] = {}
    for clip in clips:
        labels.setdefault(clip.song, set()).update(clip.labels)
    test = choose_test_songs(labels)
    if not test:
        raise UserError(
            f"{path}: no class has two songs, so none can be held out for testing; add some or "
            "specify the split"
        )
    splits: dict[str, list[Clip]] = {"train": [], "test": []}
    for clip in clips:
        splits["test" if clip.song in test else "train"].append(clip)
    return splits
