"""IRMAS: predominant instrument recognition in Western music recordings (Bosch et al. 2012).

The dataset has 6,705 training clips of 3 s, each labelled with one of 11 instruments, and 2,874
test clips of 5 to 20 s, labelled with one to five instruments. It is for non-commercial use only;
clips must not be redistributed.

Training songs that share byte-identical clips form one group (`song`), so that splits by song do
not leak. Byte-identical test clips with different labels are kept and flagged (`contradictory`).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.common.archives import (
    File,
    check_md5,
    fetch,
    files_in_folder,
    files_in_zip,
    manual_folder,
)
from data_builders.common.copies import find_contradictory
from data_builders.common.decoding import Clip, Examples
from data_builders.common.features import FORMATS, GENRES, recognition_features
from data_builders.common.streaming import StreamingBuilder
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS

_URL = "https://zenodo.org/record/1290750/files"
_TRAINING = "IRMAS-TrainingData"
#: Zip name (without suffix) -> possible names of the unpacked folder.
_FOLDERS = {
    _TRAINING: (_TRAINING,),
    "IRMAS-TestingData-Part1": ("IRMAS-TestingData-Part1", "Part1"),
    "IRMAS-TestingData-Part2": ("IRMAS-TestingData-Part2", "IRTestingData-Part2", "Part2"),
    "IRMAS-TestingData-Part3": ("IRMAS-TestingData-Part3", "Part3"),
}
_TRAINING_NAME = re.compile(r"^(?:(\d+)__)?((?:\[[a-z_-]+\])+)(\d+)__(\d)$")
_DRUMS = {"dru": "yes", "nod": "no", "---": "unknown"}
#: Training songs with byte-identical clips: number -> the smaller number that replaces it.
_MERGED_SONGS = {
    **{number: number - 85 for number in range(757, 762)},
    **{number: number - 54 for number in (762, 763, *range(765, 774))},
    **{774: 670, 858: 856, 2312: 2311},
}


class Irmas(StreamingBuilder):
    """Builder for the `irmas` dataset."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "All clips, merged song groups, contradictory clips flagged."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name=name, description=f"channels: {f.num_channels}, rate: {f.sample_rate_hz} Hz"
        )
        for name, f in FORMATS.items()
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "mono22k"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"The four zips from {_URL.replace('/files', '')}, or their unpacked folders. If there are "
        "none, they are downloaded."
    )
    #: Zip name (without suffix) -> MD5 sum.
    MD5 = {
        _TRAINING: "4fd9f5ed5a18d8e2687e6360b5f60afe",
        "IRMAS-TestingData-Part1": "5a2e65520dcedada565dff2050bb2a56",
        "IRMAS-TestingData-Part2": "afb0c8ea92f34ee653693106be95c895",
        "IRMAS-TestingData-Part3": "9b3fb2d0c89cdc98037121c25bd5b556",
    }
    #: Number of training clips per class, and number of test clips per part.
    NUM_TRAINING = dict(
        zip(IRMAS, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True)
    )
    NUM_TEST = {1: 807, 2: 1301, 3: 766}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__,
            features=recognition_features(IRMAS, FORMATS[self.builder_config.name]),
            homepage="https://www.upf.edu/web/mtg/irmas",
        )

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        files = self._find_files(dl_manager)
        train = list(_training_clips(files[_TRAINING]))
        test = []
        for part in self.NUM_TEST:
            test += _test_clips(files[f"IRMAS-TestingData-Part{part}"], part)
        self._check_counts(train, test)
        audio_format = FORMATS[self.builder_config.name]
        return {
            name: Examples(clips, audio_format, find_contradictory(clips))
            for name, clips in (("train", train), ("test", test))
        }

    def _find_files(self, dl_manager) -> dict[str, list[File]]:
        """Return the files in each zip, whether found in the manual folder or downloaded."""
        manual, is_given = manual_folder(dl_manager)
        found = {name: _find(manual, name) for name in self.MD5}
        paths = {name: path for name, path in found.items() if path is not None}
        missing = [f"{name}.zip" for name in self.MD5 if name not in paths]
        if not paths and not is_given:
            folder = Path(dl_manager.download_dir, "irmas")
            for name, md5 in self.MD5.items():
                paths[name] = fetch(f"{_URL}/{name}.zip", folder / f"{name}.zip", md5)
            return {name: files_in_zip(path) for name, path in paths.items()}
        if missing:
            raise UserError(
                f"{manual}: missing {', '.join(missing)}; get them from "
                f"{_URL.replace('/files', '')} (unpacked folders also work), or leave manual_dir "
                "out to download everything"
            )
        return {name: self._open(name, path) for name, path in paths.items()}

    def _open(self, name: str, path: Path) -> list[File]:
        if path.is_dir():
            return files_in_folder(path)
        remedy = f"download it again from {_URL}/{name}.zip"
        check_md5(path, self.MD5[name], remedy=remedy)
        return files_in_zip(path)

    def _check_counts(self, train: list[Clip], test: list[Clip]) -> None:
        counts = [
            (f"{_TRAINING}/{name}", sum(clip.labels == (name,) for clip in train), expected)
            for name, expected in self.NUM_TRAINING.items()
        ]
        counts += [
            (f"IRMAS-TestingData-Part{part}", sum(clip.part == part for clip in test), expected)
            for part, expected in self.NUM_TEST.items()
        ]
        wrong = [f"{name} has {n} of {total} clips" for name, n, total in counts if n != total]
        if wrong:
            raise UserError(f"irmas: {', '.join(wrong)}; unpack the zips again into a new folder")


def _find(manual: Path, name: str) -> Path | None:
    """Return the path to a zip or its unpacked folder, in the manual folder or a subfolder."""
    folders = [manual]
    if manual.is_dir():
        folders += sorted(path for path in manual.iterdir() if path.is_dir())
    for candidate in (f"{name}.zip", *_FOLDERS[name]):
        for folder in folders:
            if (folder / candidate).exists():
                return folder / candidate
    return None


def _training_clips(files: list[File]) -> Iterator[Clip]:
    for file in files:
        path = Path(file.name)
        if path.suffix.lower() != ".wav":
            continue
        folder = path.parent.name  # tags are ambiguous: `cla` is both an instrument and a genre
        match = _TRAINING_NAME.match(path.stem)
        if folder not in IRMAS or not match:
            raise UserError(f"{file.origin}: not a clip from {_TRAINING}; remove it")
        song = int(match[3])
        drums, genre = _tags(match[2])
        yield Clip(
            file=file,
            id=f"{folder}/{path.stem}",
            labels=(folder,),
            song=f"{_MERGED_SONGS.get(song, song):04d}",
            drums=drums,
            genre=genre,
        )


def _tags(tags: str) -> tuple[str, str]:
    """Read drums and genre from `[instrument][drums][genre]`; the drums tag is often omitted."""
    drums = genre = "unknown"
    for tag in tags[1:-1].split("][")[1:]:
        if tag in _DRUMS:
            drums = _DRUMS[tag]
        elif tag in GENRES:
            genre = tag
    return drums, genre


def _test_clips(files: list[File], part: int) -> Iterator[Clip]:
    by_name = {file.name.lower(): file for file in files}
    for file in files:
        path = Path(file.name)
        if path.suffix.lower() != ".wav":
            continue
        labels = by_name.get(f"{file.name[:-4]}.txt".lower())
        if labels is None:
            raise UserError(f"{file.origin}: no label file {path.stem}.txt; unpack the zip again")
        yield Clip(
            file=file,
            id=f"part{part}/{path.stem}",
            labels=_read_labels(labels),
            song=re.sub(r"-\d+$", "", path.stem),
            part=part,
        )


def _read_labels(file: File) -> tuple[str, ...]:
    """Read a label file, which has one label per line, often followed by a tab."""
    lines = file.read().decode("utf-8-sig", "replace").splitlines()
    labels = [line.strip() for line in lines if line.strip()]
    for label in labels:
        if label not in IRMAS:
            known = ", ".join(IRMAS)
            raise UserError(f"{file.origin}: unknown class {label!r}; expected {known}")
    if not labels:
        raise UserError(f"{file.origin}: no labels; unpack the zip again")
    return tuple(dict.fromkeys(labels))
