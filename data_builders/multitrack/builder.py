"""Multitrack recordings of a user's own, and PHENICX-Anechoic: one track for each instrument.

Layout `folder`: ``<piece>/mix.wav`` and ``<piece>/<instrument>[-N].wav`` (flac, mp3, m4a ...), or
``train/<piece>/*`` and ``test/<piece>/*``; without these a fifth of the pieces is for testing, in
an order that hangs on their names alone. The tracks are what microphones heard (`spots`), of one or
more channels (their mean is taken); the mix keeps two. Where it is missing, the sum of the tracks
stands in, with its peak at full scale.

Layout `phenicx`: PHENICX-Anechoic (Miron et al. 2016), four orchestral excerpts recorded without
a room and denoised, CC BY-NC-SA 4.0: ``audio/<piece>/<instrument><n>.wav``. The tracks are dry
(`stems`) and there is no mix.
"""

import dataclasses
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.common.archives import File, check_md5, fetch, files_in_folder, files_in_zip
from data_builders.common.features import MULTITRACK_FORMATS, multitrack_features
from data_builders.common.multitrack import MultitrackBuilder
from data_builders.multitrack import files as multitrack_files
from data_builders.multitrack.audio import Examples, prepare_examples
from data_builders.multitrack.files import PieceFiles
from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.labels import ORCHESTRA

LAYOUTS = ("folder", "phenicx")
_NAME = "PHENICX-Anechoic"
_URL = f"https://zenodo.org/record/840025/files/{_NAME}.zip"


@dataclasses.dataclass(eq=False, kw_only=True)
class MultitrackConfig(tfds.core.BuilderConfig):
    """Files in a layout, in a format, with these classes; ``path`` is that of layout `folder`."""

    layout: str
    path: str | None
    format: str
    classes: tuple[str, ...]


def make_config(
    path: str | os.PathLike | None,
    format: str,
    *,
    layout: str = "folder",
    classes: str | Sequence[str] | None = None,
) -> MultitrackConfig:
    """The config of a folder, named after its content (what changed is built anew), or of PHENICX.

    Args:
        path: the folder; None for the layout `phenicx`.
        format: key of `features.MULTITRACK_FORMATS`.
        layout: one of `LAYOUTS`.
        classes: names, a sequence or separated by commas; `all` for all that are found; None for
            `labels.ORCHESTRA`.

    Raises:
        UserError: as `multitrack_files.scan`, or options that do not go together.
    """
    if layout not in LAYOUTS:
        raise registry.unknown("layout", layout, LAYOUTS)
    if format not in MULTITRACK_FORMATS:
        raise registry.unknown("format", format, MULTITRACK_FORMATS)
    if layout == "phenicx":
        if path or classes:
            raise UserError("layout=phenicx takes no path and no classes; manual_dir names its zip")
        return MultitrackConfig(
            name=f"phenicx-{format}",
            description=_NAME,
            layout=layout,
            path=None,
            format=format,
            classes=ORCHESTRA,
        )
    if not path:
        raise UserError(
            "multitrack: no path given; set path to a folder of <piece>/<instrument>[-N].wav, or "
            "layout=phenicx"
        )
    path = os.path.abspath(os.path.expanduser(path))
    found, splits = multitrack_files.scan(path, multitrack_files.parse_classes(classes))
    digest = hashlib.sha256(repr((path, found)).encode())
    for split, pieces in splits.items():
        for piece in pieces:
            for track, file in [*piece.files.items(), *([("mix", piece.mix)] if piece.mix else [])]:
                status = os.stat(file.path)
                known = (split, piece.name, track, status.st_size, status.st_mtime_ns)
                digest.update(repr(known).encode())
    stem = re.sub(r"\W+", "_", Path(path).name, flags=re.ASCII).strip("_")[:32] or "pieces"
    return MultitrackConfig(
        name=f"{stem}-{format}-{digest.hexdigest()[:12]}",
        description=path,
        layout=layout,
        path=path,
        format=format,
        classes=found,
    )


class Multitrack(MultitrackBuilder):
    """Builder of `multitrack`; its config is a `MultitrackConfig`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Folders of pieces, and PHENICX-Anechoic."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Layout phenicx: {_NAME}.zip from https://zenodo.org/record/840025, or the folder that "
        "is in it."
    )
    MD5 = "7fec47568263476ecac0103aef608629"
    PHENICX_PIECES = ("beethoven", "bruckner", "mahler", "mozart")

    def __init__(
        self,
        *,
        config: MultitrackConfig | None = None,
        path: str | os.PathLike | None = None,
        layout: str = "folder",
        format: str = "multitrack44k",
        classes: str | Sequence[str] | None = None,
        **kwargs,
    ):
        """Initialise the builder from a config, or from the arguments of `make_config`.

        Raises:
            UserError: see `make_config`.
        """
        config = config or make_config(path, format, layout=layout, classes=classes)
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The tracks of {config.path or _NAME}.",
            features=multitrack_features(config.classes),
        )

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        config = self.builder_config
        if config.layout == "phenicx":
            splits = multitrack_files.split_pieces(self._phenicx(dl_manager))
        else:
            _, splits = multitrack_files.scan(config.path, config.classes)
        pieces = [piece for split in splits.values() for piece in split]
        without = [piece.name for piece in pieces if piece.mix is None]
        if without:
            named = ", ".join(without[:3]) + (" ..." if len(without) > 3 else "")
            print(
                f"{self.name}: no mix in {len(without)} of {len(pieces)} pieces ({named}); the sum "
                "of the tracks stands in, with its peak at full scale",
                file=sys.stderr,
            )
        return {
            split: prepare_examples(
                pieces,
                sample_rate_hz=MULTITRACK_FORMATS[config.format],
                dry=config.layout == "phenicx",
            )
            for split, pieces in splits.items()
        }

    def _generate_examples(self, examples: Examples) -> Iterator:
        yield from examples

    def _phenicx(self, dl_manager) -> list[PieceFiles]:
        source, files = self._find_files(dl_manager)
        by_piece: dict[str, list[File]] = {}
        for file in files:
            folders = file.name.split("/")[:-1]
            if folders[-2:-1] == ["audio"]:
                by_piece.setdefault(folders[-1], []).append(file)
        missing = [name for name in self.PHENICX_PIECES if name not in by_piece]
        if missing:
            raise UserError(
                f"{source}: lacks audio/{' and audio/'.join(missing)}; get {_NAME}.zip again from "
                f"{_URL}"
            )
        return [
            multitrack_files.make_piece(name, by_piece[name], ORCHESTRA)
            for name in self.PHENICX_PIECES
        ]

    def _find_files(self, dl_manager) -> tuple[Path, list[File]]:
        """The zip or the unpacked folder, and its files; downloaded where there is neither."""
        default = Path(dl_manager.download_dir, "manual")
        try:
            manual = Path(dl_manager.manual_dir)
        except AssertionError:  # not there, or empty
            manual = default
        unpacked = (manual / _NAME, manual)
        folder = next((one for one in unpacked if (one / "audio").is_dir()), None)
        path = manual / f"{_NAME}.zip"
        if path.is_file():
            check_md5(path, self.MD5, remedy=f"download it again from {_URL}")
        elif folder is not None:
            return folder, files_in_folder(folder)
        elif manual != default:
            raise UserError(
                f"{manual}: lacks {_NAME}.zip; get it from {_URL}, or give no manual_dir to "
                "download it"
            )
        else:
            path = Path(dl_manager.download_dir, "multitrack", f"{_NAME}.zip")
            fetch(_URL, path, self.MD5)
        return path, files_in_zip(path)
