"""Datasets that are prepared once and then read with random access.

    builder = data_builders.prepare("gm_irmas", size="tiny", format="mono22k")
    clip = builder.as_data_source("train")[0]

A subfolder is a dataset if its ``__init__.py`` defines a `Description` called ``DATASET``. The
dataset is named after the subfolder, and its TFDS builder is defined in ``builder.py``. Importing
this package imports neither TFDS nor any builder.
"""

import importlib
import os
import pkgutil
from typing import Any

from data_builders.common import remote_copies
from data_builders.common.archives import check_no_pattern
from data_builders.common.clip_index import clip_index
from data_builders.common.description import Description
from data_builders.common.preparation import prepare_builder, quiet_logs, summary
from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.files import expand_home

__all__ = [
    "DATASETS",
    "OPTIONS",
    "Description",
    "builder",
    "clip_index",
    "describe",
    "prepare",
    "summary",
]


def _discover() -> dict[str, Description]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    packages = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {
        name: package.DATASET for name, package in packages.items() if hasattr(package, "DATASET")
    }


def _help_texts() -> dict[str, str]:
    names: dict[str, dict[str, list[str]]] = {}  # option -> help text -> datasets
    for name, dataset in DATASETS.items():
        for option, text in dataset.options.items():
            names.setdefault(option, {}).setdefault(text, []).append(name)
    return {
        option: "; ".join(f"{', '.join(datasets)}: {text}" for text, datasets in texts.items())
        for option, texts in names.items()
    }


#: Dataset name -> description.
DATASETS = _discover()
#: Builder option -> help text.
OPTIONS = _help_texts()


def describe(name: str) -> Description:
    """Return a dataset's description; raise UserError if the name is unknown."""
    if name not in DATASETS:
        raise registry.unknown("dataset", name, DATASETS)
    return DATASETS[name]


def builder(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """Return a dataset's TFDS builder without preparing the data.

    Args:
        name: key of `DATASETS`.
        data_dir: folder of prepared data; None for TFDS's default ($TFDS_DATA_DIR or
            ~/tensorflow_datasets). Data at a URL, such as `gs://bucket/data`, are copied to the
            user's cache folder.
        manual_dir: ignored; accepted so that `builder` and `prepare` take the same arguments.
        **options: dataset options; see `OPTIONS`.

    Returns:
        A `tfds.core.DatasetBuilder`.

    Raises:
        UserError: if the name, an option or a value is unknown, or if a required path is missing.
    """
    del manual_dir
    if data_dir is not None:
        data_dir = remote_copies.local_folder(expand_home(data_dir, urls=True))
        check_no_pattern(data_dir, "the folder of prepared data")
    factories = {name: dataset.create_builder for name, dataset in DATASETS.items()}
    with quiet_logs():
        return registry.create("dataset", factories, name, data_dir=data_dir, **options)


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """Return a dataset's builder, preparing the data on first use.

    Read the data with ``as_data_source(split)``. Several processes may call this at the same
    time: one prepares the data while the others wait. If preparation is interrupted, the dataset
    does not count as prepared, and the next call starts again.

    Args:
        name, data_dir, options: as for `builder`.
        manual_dir: folder of manually downloaded files.

    Raises:
        UserError: as for `builder`, or if files are missing or unreadable, data_dir is not
            writable, or the disk is full.
    """
    if manual_dir is not None:
        manual_dir = os.path.abspath(expand_home(manual_dir))
        if not os.path.isdir(manual_dir):
            raise UserError(f"manual_dir {manual_dir}: no such folder; check the path")
        if not os.listdir(manual_dir):
            raise UserError(
                f"manual_dir {manual_dir}: empty folder; copy the downloaded files into it"
            )
    return prepare_builder(
        lambda: builder(name, data_dir=data_dir, **options),
        manual_dir=manual_dir,
        shared=None if data_dir is None else remote_copies.shared_folder(data_dir),
    )
