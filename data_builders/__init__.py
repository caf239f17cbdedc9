"""Where audio comes from: datasets by name, prepared once and read at random.

    builder = data_builders.prepare("gm_irmas", size="tiny", format="mono22k")
    clip = builder.as_data_source("train")[0]

Importing this package imports neither TFDS nor a builder; asking for one does.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from data_builders.common.clip_index import clip_index
from data_builders.common.preparation import prepare_builder, quiet_logs, summary
from irec_jax import registry
from irec_jax.errors import UserError

__all__ = [
    "MULTITRACKS",
    "NAMES",
    "OPTIONS",
    "STEM_DATASETS",
    "builder",
    "builder_class",
    "clip_index",
    "prepare",
    "summary",
]

#: The options that builders take, with their meaning.
OPTIONS = {
    "format": "of clips: mono22k (default), one channel at 22,050 Hz, or stereo44k, two at 44,100; "
    "of multitracks: multitrack44k (default) or multitrack48k; of musdb18 without a path: aac "
    "(default) or hq, MUSDB18-HQ",
    "size": "tiny, small (default) or full; rendered datasets only",
    "soundfont": "SoundFont file that plays the rendered music (default: TimGM6mb.sf2)",
    "path": "of folder, your sounds: a folder of <class>/*.wav (mp3, flac, ogg, m4a), one with "
    "train/<class> and test/<class>, or a CSV file with the header file,labels[,split][,song]; of "
    "multitrack, your recordings: a folder of <piece>/mix.wav and <piece>/<instrument>[-N].wav, or "
    "one with train/<piece> and test/<piece>; of musdb18, any part of it and tracks of your own: a "
    "folder of <track>.stem.mp4 and <track>/{mixture,drums,bass,other,vocals}.wav, or one with "
    "these in train and test",
    "classes": "class names, separated by commas; default of folder: all that are found; of "
    "multitrack: 13 instruments of the orchestra, or all for all that are found",
    "layout": "folder (default), or phenicx: PHENICX-Anechoic; multitrack only",
}


def _irmas(*, format: str = "mono22k", data_dir: str | None = None) -> Any:
    from data_builders.irmas.builder import Irmas

    return Irmas(config=_known("format", format), data_dir=data_dir)


def _gm_irmas(
    *,
    size: str = "small",
    format: str = "mono22k",
    soundfont: str | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_irmas.builder import GmIrmas

    return rendered.builder(
        GmIrmas, size=size, format=format, soundfont=soundfont, data_dir=data_dir
    )


def _gm_multitrack(
    *,
    size: str = "small",
    format: str = "multitrack44k",
    soundfont: str | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_multitrack.builder import GmMultitrack

    return rendered.builder(
        GmMultitrack, size=size, format=format, soundfont=soundfont, data_dir=data_dir
    )


def _gm_musdb(
    *, size: str = "small", soundfont: str | None = None, data_dir: str | None = None
) -> Any:
    from data_builders.common import rendered
    from data_builders.gm_musdb.builder import GmMusdb

    return rendered.builder(GmMusdb, size=size, soundfont=soundfont, data_dir=data_dir)


def _folder(
    *,
    path: str | os.PathLike,
    format: str = "mono22k",
    classes: str | Sequence[str] | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.folder import builder as folder

    config = folder.make_config(path, _known("format", format), classes=classes)
    return folder.Folder(config=config, data_dir=data_dir)


def _multitrack(
    *,
    path: str | os.PathLike | None = None,
    layout: str = "folder",
    format: str = "multitrack44k",
    classes: str | Sequence[str] | None = None,
    data_dir: str | None = None,
) -> Any:
    from data_builders.common.features import MULTITRACK_FORMATS
    from data_builders.multitrack import builder as multitrack

    if layout not in multitrack.LAYOUTS:
        raise registry.unknown("layout", layout, multitrack.LAYOUTS)
    if format not in MULTITRACK_FORMATS:
        raise registry.unknown("format", format, MULTITRACK_FORMATS)
    config = multitrack.make_config(path, format, layout=layout, classes=classes)
    return multitrack.Multitrack(config=config, data_dir=data_dir)


def _musdb18(
    *,
    path: str | os.PathLike | None = None,
    format: str = "aac",
    data_dir: str | None = None,
) -> Any:
    from data_builders.musdb18 import builder as musdb18

    if format not in musdb18.EDITIONS:
        raise registry.unknown("format", format, musdb18.EDITIONS)
    # TFDS takes its own configs by name only.
    config = musdb18.make_config(path) if path else musdb18.EDITIONS[format].name
    return musdb18.Musdb18(config=config, data_dir=data_dir)


def _known(option: str, value: str) -> str:
    from data_builders.common.features import FORMATS

    if value not in FORMATS:
        raise registry.unknown(option, value, FORMATS)
    return value


_BUILDERS: dict[str, Callable[..., Any]] = {
    "folder": _folder,
    "gm_irmas": _gm_irmas,
    "gm_multitrack": _gm_multitrack,
    "gm_musdb": _gm_musdb,
    "irmas": _irmas,
    "multitrack": _multitrack,
    "musdb18": _musdb18,
}
#: The datasets.
NAMES = tuple(_BUILDERS)
#: Those of which an example is many tracks of a piece, not a labelled clip.
MULTITRACKS = ("gm_multitrack", "multitrack")
#: Those of which an example is a segment of one stem of a track, or of its mixture.
STEM_DATASETS = ("gm_musdb", "musdb18")


def builder_class(name: str) -> Callable[..., Any]:
    """What makes the builder of a dataset: its keyword arguments are ``data_dir`` and the options.

    Raises:
        UserError: unknown name.
    """
    if name not in _BUILDERS:
        raise registry.unknown("dataset", name, NAMES)
    return _BUILDERS[name]


def builder(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """The TFDS builder of a dataset, prepared or not.

    Args:
        name: one of `NAMES`.
        data_dir: where prepared data lies; None is TFDS's: $TFDS_DATA_DIR or
            ~/tensorflow_datasets.
        manual_dir: only `prepare` reads it; taken so that one set of arguments serves both.
        **options: of this dataset, see `OPTIONS`.

    Returns:
        `tfds.core.DatasetBuilder`.

    Raises:
        UserError: unknown name, option or value.
    """
    del manual_dir
    data_dir = None if data_dir is None else os.path.abspath(os.path.expanduser(data_dir))
    with quiet_logs():
        return registry.create("dataset", _BUILDERS, name, data_dir=data_dir, **options)


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """The builder of a dataset, built on first use; read it with ``as_data_source(split)``.

    May be called by several processes at once: one builds, the others wait. A build that is
    interrupted leaves nothing that looks finished.

    Args:
        name, data_dir, options: as `builder`.
        manual_dir: where files that were downloaded by hand lie.

    Raises:
        UserError: as `builder`; files that are missing or cannot be read, a data_dir that cannot
            be written, a full disk.
    """
    if manual_dir is not None:
        manual_dir = os.path.abspath(os.path.expanduser(manual_dir))
        if not os.path.isdir(manual_dir):
            raise UserError(f"manual_dir {manual_dir}: no such folder; check the path")
        if not os.listdir(manual_dir):
            raise UserError(f"manual_dir {manual_dir}: is empty; put the downloads there")
    return prepare_builder(
        lambda: builder(name, data_dir=data_dir, **options), manual_dir=manual_dir
    )
