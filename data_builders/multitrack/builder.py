"""Multitrack recordings: a user's own, MedleyDB, Mixing Secrets and PHENICX-Anechoic.

The `folder` layout consists of ``<piece>/mix.wav`` and ``<piece>/<instrument>[-N].wav`` (flac, mp3,
m4a ...), or of ``train/<piece>/*`` and ``test/<piece>/*``. Without train and test folders, a fifth
of the pieces is held out for testing; the choice depends only on their names. The tracks are spot
microphone signals (`spots`), whose channels are averaged. The mix is stereo. A missing mix is
replaced by the sum of the tracks, normalised to full scale.

For the `medleydb`, `medleydb_raw` and `mixing_secrets` layouts, see `layouts`. The tracks of
MedleyDB pieces without bleed are dry (`stems`); all other tracks in these layouts are `spots`.

The `phenicx` layout is PHENICX-Anechoic (Miron et al. 2016, CC BY-NC-SA 4.0): four orchestral
excerpts, anechoic and denoised, in ``audio/<piece>/<instrument><n>.wav``. The tracks are dry
(`stems`), and there is no mix.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.common.archives import File, config_name, find_or_fetch
from data_builders.common.features import MULTITRACK_FORMATS, multitrack_features
from data_builders.common.multitrack import MultitrackBuilder
from data_builders.common.streaming import OptionsBuilder
from data_builders.multitrack import files as multitrack_files
from data_builders.multitrack.audio import Examples, prepare_examples
from data_builders.multitrack.files import PieceFiles
from data_builders.multitrack.layouts import READERS, missing_numbers
from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.labels import ORCHESTRA

LAYOUTS = ("folder", "phenicx", *READERS)
_NAME = "PHENICX-Anechoic"
_URL = f"https://zenodo.org/record/840025/files/{_NAME}.zip"


@dataclasses.dataclass(eq=False, kw_only=True)
class MultitrackConfig(tfds.core.BuilderConfig):
    """Config for `multitrack`; ``path`` is the folder with the pieces, or None for `phenicx`."""

    layout: str
    path: str | None
    format: str
    classes: tuple[str, ...]


def make_config(
    path: str | os.PathLike | None = None,
    layout: str = "folder",
    format: str = "multitrack44k",
    classes: str | Sequence[str] | None = None,
) -> MultitrackConfig:
    """Return the config for a folder or for PHENICX-Anechoic.

    The name of a folder's config contains a digest of the files' names, sizes and modification
    times, so that changed files are prepared again.

    Args:
        path: folder with the pieces; None for the `phenicx` layout.
        layout: one of `LAYOUTS`.
        format: key of `features.MULTITRACK_FORMATS`.
        classes: class names, as a sequence or separated by commas; `all` for every instrument in
            the folder; None for `labels.ORCHESTRA` or, with the layouts in `layouts.READERS`, for
            `all`. With those layouts, instruments outside the given classes become `other`.

    Raises:
        UserError: if there is no path, or options are unknown or conflict, or as for
            `multitrack_files.scan`.
    """
    if layout not in LAYOUTS:
        raise registry.unknown("layout", layout, LAYOUTS)
    if format not in MULTITRACK_FORMATS:
        raise registry.unknown("format", format, MULTITRACK_FORMATS)
    if layout == "phenicx":
        if path or classes:
            raise UserError(
                "layout=phenicx: conflicts with path and classes; remove them, and set manual_dir "
                "to the folder that contains the zip"
            )
        return MultitrackConfig(
            name=f"phenicx-{format}", description=_NAME,
            layout=layout, path=None, format=format, classes=ORCHESTRA,
        )  # fmt: skip
    if not path:
        folders = {
            "mixing_secrets": "a folder of <piece>/01_<instrument>.wav",
            "medleydb": "the folder of MedleyDB, with a <piece>_METADATA.yaml for each piece",
        }
        folder = folders.get(
            layout.removesuffix("_raw"),
            "a folder of <piece>/<instrument>[-N].wav, or layout=phenicx",
        )
        raise UserError(f"multitrack: no path given; set path to {folder}")
    path = os.path.abspath(expand_home(path))
    reader = READERS.get(layout)
    names = None if reader and classes is None else multitrack_files.parse_classes(classes)
    class_names, splits = multitrack_files.scan(path, names, reader)
    dry = sorted(piece.name for pieces in splits.values() for piece in pieces if piece.dry)
    files = (
        ((split, piece.name, track), file)
        for split, pieces in splits.items()
        for piece in pieces
        for track, file in [*piece.files.items(), ("mix", piece.mix)]
        if file
    )
    key = (path, class_names) if reader is None else (path, class_names, layout, dry)
    name = config_name(Path(path).name, format, repr(key), files, default="pieces")
    return MultitrackConfig(
        name=name, description=path,
        layout=layout, path=path, format=format, classes=class_names,
    )  # fmt: skip


class Multitrack(OptionsBuilder, MultitrackBuilder):
    """Builder for the `multitrack` dataset, configured by a `MultitrackConfig`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Piece folders, and PHENICX-Anechoic."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"For the phenicx layout: {_NAME}.zip from https://zenodo.org/record/840025, or its "
        "unpacked folder."
    )
    MD5 = "7fec47568263476ecac0103aef608629"
    PHENICX_PIECES = ("beethoven", "bruckner", "mahler", "mozart")
    make_config = staticmethod(make_config)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            description=f"The tracks in {config.path or _NAME}.",
            features=multitrack_features(config.classes),
        )

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        config = self.builder_config
        if config.layout == "phenicx":
            splits = multitrack_files.split_pieces(self._phenicx(dl_manager))
        else:
            reader = READERS.get(config.layout)
            _, splits = multitrack_files.scan(config.path, config.classes, reader)
        pieces = [piece for split in splits.values() for piece in split]
        without_mix = [piece.name for piece in pieces if piece.mix is None]
        if without_mix:
            names = ", ".join(without_mix[:3]) + (" ..." if len(without_mix) > 3 else "")
            print(
                f"{self.name}: no mix in {len(without_mix)} of {len(pieces)} pieces ({names}); "
                "using the sum of the tracks, normalised to full scale",
                file=sys.stderr,
            )
        if config.layout == "mixing_secrets":
            for piece in pieces:
                if numbers := missing_numbers(piece):
                    listed = ", ".join(map(str, numbers))
                    print(f"{piece.name}: no tracks numbered {listed}", file=sys.stderr)
        rate_hz = MULTITRACK_FORMATS[config.format]
        return {
            split: prepare_examples(pieces, sample_rate_hz=rate_hz)
            for split, pieces in splits.items()
        }

    def _phenicx(self, dl_manager) -> list[PieceFiles]:
        source, files = find_or_fetch(
            dl_manager,
            dataset=self.name,
            zip_name=f"{_NAME}.zip",
            url=_URL,
            md5=self.MD5,
            marker="audio",
        )
        by_piece: dict[str, list[File]] = {}
        for file in files:
            folders = file.name.split("/")[:-1]
            if folders[-2:-1] == ["audio"]:
                by_piece.setdefault(folders[-1], []).append(file)
        missing = [name for name in self.PHENICX_PIECES if name not in by_piece]
        if missing:
            raise UserError(
                f"{source}: missing audio/{' and audio/'.join(missing)}; download {_NAME}.zip "
                f"again from {_URL}"
            )
        return [
            dataclasses.replace(
                multitrack_files.make_piece(name, by_piece[name], ORCHESTRA), dry=True
            )
            for name in self.PHENICX_PIECES
        ]
