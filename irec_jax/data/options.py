"""Keys in the `data` section: options for the dataset's builder, and settings for this package."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import data_builders
from irec_jax.errors import UserError

_SHARED = (
    *("dir", "manual_dir", "cache_gb", "placement"),
    *("window_s", "channels", "split", "validation_fraction"),
)
_CLIPS = ("classes", "hop_s", "normalize", "split_validation", "test_fraction", "stored")
#: Keys in the `data` section that are not builder options for clip datasets.
OWN_KEYS = (*_SHARED, *_CLIPS)
#: Keys in the `data` section that are not builder options for stem datasets.
STEM_OWN_KEYS = (*_SHARED, "target", "remix")
#: Keys in the `data` section that are not builder options for multitrack datasets.
MULTITRACK_OWN_KEYS = (*_SHARED, "hop_s", "normalize", "label_s", "threshold_db", "reduction")
_CONTENTS = dict(
    clips="labelled clips", stems="tracks with their stems", multitrack="multitrack pieces"
)


def options_of(name: str) -> Callable:
    """Return the function that creates a dataset's builder.

    The function's keyword arguments are the dataset's options.

    Raises:
        UserError: unknown dataset.
    """
    return data_builders.describe(name).create_builder


def is_rendered(name: str) -> bool:
    """Return whether a dataset is rendered; raise UserError if the dataset is unknown."""
    return data_builders.describe(name).rendered


def own_keys(name: str) -> tuple[str, ...]:
    """Return the keys in the `data` section that are not options for this dataset's builder."""
    dataset = data_builders.DATASETS.get(name)
    keys = dict(stems=STEM_OWN_KEYS, multitrack=MULTITRACK_OWN_KEYS)
    return keys.get(dataset.kind, OWN_KEYS) if dataset else OWN_KEYS


def optional_keys() -> set[str]:
    """Return the names of all builder options that default to None and otherwise take a string.

    `classes` is left out, since it may also be a list.
    """
    parameters = [
        inspect.signature(dataset.create_builder).parameters.values()
        for dataset in data_builders.DATASETS.values()
    ]
    unset = {option.name for options in parameters for option in options if option.default is None}
    return unset - {"classes", "data_dir"}


def builder_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are keyword arguments of the dataset's builder.

    Unset options (None, or "" in older configs) are left out, so that the builder's defaults apply.
    """
    own = (*own_keys(settings["name"]), "name")
    options = {k: v for k, v in settings.items() if k not in own and v not in (None, "")}
    return options | dict(
        data_dir=settings["dir"] or None, manual_dir=settings["manual_dir"] or None
    )


def check_kind(name: str, kind: str) -> None:
    """Raise UserError if a dataset is unknown or of another kind; see `Description`."""
    actual = data_builders.describe(name).kind
    if actual != kind:
        names = [n for n, dataset in data_builders.DATASETS.items() if dataset.kind == kind]
        raise UserError(
            f"dataset {name!r}: holds {_CONTENTS[actual]}, not {_CONTENTS[kind]}; choose "
            f"{' or '.join(names)}"
        )
