"""MUSDB18 (Rafii et al. 2017): 150 music tracks, each with a mixture and four stems.

There are 100 training tracks, 14 of which are used for validation by convention, and 50 test
tracks, in stereo at 44.1 kHz. For academic use only; tracks must not be redistributed. The folder
`path` may contain any part of the dataset, its edition with 7-second excerpts, or your own tracks,
in one of these layouts:

    {train,test}/<artist - title>.stem.mp4  (AAC, five streams; MUSDB18)
    {train,test}/<artist - title>/{mixture,drums,bass,other,vocals}.wav  (MUSDB18-HQ)

Without a path, the full MUSDB18 (or MUSDB18-HQ, with format `hq`) is read from manual_dir, as a zip
or an unpacked folder, or downloaded.
"""

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds

from data_builders.common.archives import config_name, files_in_folder, find_or_fetch
from data_builders.common.features import stem_features
from data_builders.common.stems import StemBuilder
from data_builders.musdb18.audio import Examples, prepare_examples
from data_builders.musdb18.files import TrackFiles, find_tracks
from data_builders.musdb18.tracks import OFFICIAL, official_split
from irec_jax.errors import UserError
from irec_jax.files import expand_home


class Edition(NamedTuple):
    """A published zip that contains the full dataset."""

    name: str
    url: str
    md5: str


#: `format` option -> edition.
EDITIONS = {
    "aac": Edition(
        "musdb18",
        "https://zenodo.org/record/1117372/files/musdb18.zip",
        "af06762477334799bfc5abf237648207",
    ),
    "hq": Edition(
        "musdb18hq",
        "https://zenodo.org/record/3338373/files/musdb18hq.zip",
        "12d4f2ecd55245a4688754dd76363103",
    ),
}
_WORDS = {"train": "training", "validation": "validation", "test": "test"}


@dataclasses.dataclass(eq=False, kw_only=True)
class Musdb18Config(tfds.core.BuilderConfig):
    """Config for the tracks in ``path`` or, if it is None, in ``edition`` (a key of `EDITIONS`)."""

    path: str | None = None
    edition: str | None = None


def make_config(path: str | os.PathLike) -> Musdb18Config:
    """Return the config for a folder.

    The config's name contains a digest of the files' names, sizes and modification times, so that
    changed files are prepared again.

    Raises:
        UserError: if the folder does not exist, or as for `files.find_tracks`.
    """
    path = os.path.abspath(expand_home(path))
    files = (
        ((split, track.name, stream), file)
        for split, tracks in _scan(path).items()
        for track in tracks
        for stream, (file, _) in track.streams.items()
    )
    name = config_name(Path(path).name, "", path, files, default="tracks")
    return Musdb18Config(name=name, description=path, path=path)


class Musdb18(StemBuilder):
    """Builder for the `musdb18` dataset, configured by a `Musdb18Config`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "MUSDB18, MUSDB18-HQ, parts of them, and tracks in these layouts."}
    BUILDER_CONFIGS = [
        Musdb18Config(name=edition.name, description=edition.name, edition=key)
        for key, edition in EDITIONS.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "musdb18.zip from https://zenodo.org/record/1117372 or, for the hq format, musdb18hq.zip "
        "from https://zenodo.org/record/3338373; or the unpacked folder. If there is neither, the "
        "zip is downloaded."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__,
            features=stem_features(),
            homepage="https://sigsep.github.io/datasets/musdb.html",
        )

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        config = self.builder_config
        splits = _scan(config.path) if config.path else self._find_edition(dl_manager)
        print(f"{self.name}: {_counts(splits)}", file=sys.stderr)
        return {split: prepare_examples(tracks) for split, tracks in splits.items()}

    def _find_edition(self, dl_manager) -> dict[str, list[TrackFiles]]:
        edition = EDITIONS[self.builder_config.edition]
        source, files = find_or_fetch(
            dl_manager,
            dataset=self.name,
            zip_name=f"{edition.name}.zip",
            url=edition.url,
            md5=edition.md5,
            marker="train",
        )
        splits = find_tracks(source, files)
        if sum(map(len, splits.values())) < sum(map(len, OFFICIAL.values())):
            raise UserError(
                f"{source}: contains only {_counts(splits)}; unpack the full zip, or set path to "
                "this folder to use the available tracks"
            )
        return splits


def _scan(path: str) -> dict[str, list[TrackFiles]]:
    if not os.path.isdir(path):
        raise UserError(f"{path}: no such folder; set path to a folder that has train and test")
    return find_tracks(path, files_in_folder(path))


def _counts(splits: Mapping[str, Sequence[TrackFiles]]) -> str:
    """Describe how many tracks are in each official split, and how many are not in MUSDB18."""
    counts = Counter(official_split(track.name) for split in splits.values() for track in split)
    official = (f"{counts[s]} of {len(OFFICIAL[s])} {word}" for s, word in _WORDS.items())
    others = f", and {counts[None]} not in MUSDB18" if counts[None] else ""
    return f"{', '.join(official)} tracks{others}"
