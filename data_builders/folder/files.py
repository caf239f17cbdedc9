"""Clips in a folder or CSV file, with their labels, songs and splits.

The same checks apply to all layouts. Files are identified by their content rather than their names,
because links, copies and different spellings of a path may all lead to the same recording.
"""

import csv
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from data_builders.common.archives import (
    File,
    check_no_pattern,
    file_at,
    files_in_folder,
    printable_name,
    subfolders,
)
from data_builders.common.copies import find_copies
from data_builders.common.decoding import Clip
from data_builders.common.splits import SPLITS, split_folders
from data_builders.folder.split import choose_test_songs
from irec_jax import registry
from irec_jax.audio import SUFFIXES
from irec_jax.errors import UserError

_COLUMNS = ("file", "labels", "split", "song")


class Layout(NamedTuple):
    """The clips in a folder or CSV file.

    Attributes:
        classes: class names.
        splits: split -> its clips.
        is_split: whether the user has split the clips.
        notes: messages to the user about files that are left out.
    """

    classes: tuple[str, ...]
    splits: dict[str, list[Clip]]
    is_split: bool
    notes: list[str]


def scan(path: str, classes: Sequence[str] | None) -> Layout:
    """Return the clips in a folder or CSV file, without comparing the clips' contents.

    Raises:
        UserError: if the path does not exist, a class is unknown or has no clips, there are too few
            songs to split, a class is in test but not in train, a song or file is in both splits,
            or a file has different labels in two places. Errors in a CSV file give the line number.
    """
    check_no_pattern(path, "a folder or a CSV file")
    if not os.path.exists(path):
        raise UserError(f"{path}: no such folder or CSV file; check the path")
    if os.path.isdir(path):
        splits = _scan_folder(path, classes)
    elif path.lower().endswith(".csv"):
        splits = _scan_csv(path, classes)
    else:
        raise UserError(
            f"{path}: neither a folder nor a CSV file; set path to a folder or a .csv file"
        )
    _check_classes(path, splits, classes)
    splits, notes = _drop_links(path, splits)
    is_split = "test" in splits
    if not is_split:
        splits = _split_by_song(path, splits["train"])
    for split, clips in splits.items():
        if not clips:
            raise UserError(f"{path}: no clips in the {split!r} split; add some")
    if is_split:
        _check_songs(path, splits)
    available = {label for clip in _clips(splits) for label in clip.labels}
    return Layout(tuple(classes or sorted(available)), splits, is_split, notes)


def drop_copies(layout: Layout) -> Layout:
    """Drop byte-identical copies of clips, unless their labels differ within a split.

    Among copies with different labels, those in the split of the first copy are kept.

    Raises:
        UserError: if the user has split the clips and a training clip is a copy of a test clip.
    """
    split_of = {clip.id: split for split, clips in layout.splits.items() for clip in clips}
    dropped: dict[str, str] = {}  # id of the copy -> id of the clip that is kept
    for group in find_copies(_clips(layout.splits)):
        first, *others = sorted(group, key=lambda clip: clip.id)
        for clip in others:
            leaks = split_of[clip.id] != split_of[first.id]
            if leaks and layout.is_split:
                raise UserError(
                    f"{clip.file.origin}: is in {split_of[clip.id]}, but is a copy of "
                    f"{first.file.origin} in {split_of[first.id]}; remove one"
                )
            if leaks or set(clip.labels) == set(first.labels):
                dropped[clip.id] = first.id
    splits = {
        split: [clip for clip in clips if clip.id not in dropped]
        for split, clips in layout.splits.items()
    }
    return layout._replace(splits=splits, notes=layout.notes + _describe("a copy of", dropped))


def _clips(splits: Mapping[str, Sequence[Clip]]) -> Iterable[Clip]:
    return itertools.chain.from_iterable(splits.values())


def _describe(relation: str, dropped: Mapping[str, str]) -> list[str]:
    """Return a message about files that are left out (name -> name of the file that is kept)."""
    if not dropped:
        return []
    name, other = next(iter(dropped.items()))
    files = "file" if len(dropped) == 1 else "files"
    return [f"{len(dropped)} duplicate {files} left out: for example, {name} is {relation} {other}"]


def _check_classes(
    path: str, splits: Mapping[str, Sequence[Clip]], classes: Sequence[str] | None
) -> None:
    """Raise UserError if a class has no clips, no training clips or two spellings."""
    labels = {split: {n for clip in clips for n in clip.labels} for split, clips in splits.items()}
    available = set().union(*labels.values())
    for name in classes or ():
        if name not in available:
            raise UserError(f"{path}: class {name!r} has no clips; add some or leave it out")
    spellings: dict[str, str] = {}
    for name in sorted(available):
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{path}: classes {other!r} and {name!r} differ only in case; use one spelling"
            )
    for name in sorted(labels.get("test", set()) - labels["train"]):
        raise UserError(
            f"{path}: class {name!r} is in test but not in train; add training clips for it"
        )


def _check_songs(path: str, splits: Mapping[str, Sequence[Clip]]) -> None:
    """Raise UserError if a song, as given in a CSV file, is in both splits."""
    songs = {split: {clip.song for clip in clips} for split, clips in splits.items()}
    for song in sorted(songs["train"] & songs["test"]):
        raise UserError(
            f"{path}: song {song!r} is in both train and test; move all its clips to one split"
        )


def _drop_links(
    path: str, splits: Mapping[str, Sequence[Clip]]
) -> tuple[dict[str, list[Clip]], list[str]]:
    """Drop links to other clips' files; return the remaining clips and messages.

    Raises:
        UserError: if two names for one file have different labels or are in different splits, or if
            the names of two files differ only in their Unicode form.
    """
    firsts: dict[tuple[int, int], tuple[str, Clip]] = {}
    ids: set[str] = set()
    dropped: dict[str, str] = {}
    remaining: dict[str, list[Clip]] = {}
    for split, clips in splits.items():
        remaining[split] = []
        for clip in clips:
            first_split, first = firsts.setdefault(clip.file.identity, (split, clip))
            if first is clip:
                if clip.id in ids:
                    raise UserError(
                        f"{path}: the name of another file differs from {clip.file.origin} only in "
                        "its Unicode form; rename one"
                    )
                ids.add(clip.id)
                remaining[split].append(clip)
                continue
            names = f"{path}: {clip.file.origin} is the same file as {first.file.origin}"
            if first_split != split:
                raise UserError(f"{names}, but in {split} instead of {first_split}; remove one")
            if set(first.labels) != set(clip.labels):
                raise UserError(
                    f"{names}, but with the labels {';'.join(clip.labels)} instead of "
                    f"{';'.join(first.labels)}; remove one, or list the file with all its labels "
                    "in a CSV file"
                )
            dropped[clip.file.origin] = first.file.origin
    return remaining, _describe("another name of", dropped)


def _scan_folder(root: str, classes: Sequence[str] | None) -> dict[str, list[Clip]]:
    folders = split_folders(root, "validation clips are taken from train")
    if not folders:
        return {"train": _scan_classes(root, "", "", classes)}
    for split in SPLITS:
        if split not in folders:
            raise UserError(f"{root}: no {split} folder; add {split}/<class>/*.wav")
    return {split: _scan_classes(root, folders[split], split, classes) for split in SPLITS}


def _scan_classes(
    root: str, folder_name: str, split: str, classes: Sequence[str] | None
) -> list[Clip]:
    folder = os.path.join(root, folder_name)
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
    first_lines: dict[tuple[int, int], tuple[int, str]] = {}
    for line, row in _rows(path):
        where = f"{path} line {line}"
        labels = tuple(
            dict.fromkeys(n.strip() for n in re.split("[;|]", row["labels"]) if n.strip())
        )
        if not labels:
            raise UserError(f"{where}: no labels; add one or more, separated by ';'")
        for label in labels:
            if classes is not None and label not in classes:
                raise UserError(f"{where}: {registry.unknown('class', label, classes)}")
        split = row.get("split", "train").lower()
        if split not in SPLITS:
            raise UserError(f"{where}: unknown split {split!r}; expected train or test")
        if "split" in row:
            splits.setdefault("test", [])
        file = _listed_file(path, row["file"], where)
        first, name = first_lines.setdefault(file.identity, (line, file.name))
        if first != line:
            known_as = f" as {name}" if name != file.name else ""
            raise UserError(
                f"{where}: {file.name} is also listed in line {first}{known_as}; remove one"
            )
        clip = Clip(file=file, id=file.name, labels=labels, song=row.get("song") or file.name)
        splits[split].append(clip)
    if not first_lines:
        raise UserError(f"{path}: no lines after the header; add a file,labels line for each clip")
    return splits


def _listed_file(path: str, name: str, where: str) -> File:
    if not name:
        raise UserError(f"{where}: no file name; fill in the 'file' column")
    spellings = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    paths = [os.path.join(os.path.dirname(path), spelling) for spelling in spellings]
    full_path = next(filter(os.path.isfile, paths), paths[0])
    if not os.path.isfile(full_path):
        is_pattern = re.search(r"[*?[]", name)
        remedy = "list one file per line" if is_pattern else "paths are relative to the CSV file"
        raise UserError(f"{where}: no such file {full_path}; {remedy}")
    return file_at(full_path, os.path.normpath(name))


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the fields (column name -> text) of each row in a CSV file."""
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
                        f"{path} line {reader.line_num}: more columns than the header; quote "
                        "fields that contain commas"
                    )
                yield reader.line_num, {name: text.strip() for name, text in row.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not a CSV file in UTF-8 ({error}); export it as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the file") from error


def _split_by_song(path: str, clips: list[Clip]) -> dict[str, list[Clip]]:
    labels: dict[str, set[str]] = {}
    for clip in clips:
        labels.setdefault(clip.song, set()).update(clip.labels)
    test = choose_test_songs(labels)
    if not test:
        raise UserError(
            f"{path}: no class has two songs, so none can be held out for testing; add songs "
            "or specify the split"
        )
    splits: dict[str, list[Clip]] = {"train": [], "test": []}
    for clip in clips:
        splits["test" if clip.song in test else "train"].append(clip)
    return splits
