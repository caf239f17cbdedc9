"""The keys of the config section `data`: which ones go to the builder, and what a dataset holds."""

from collections.abc import Callable, Mapping
from typing import Any

import data_builders
from irec_jax.errors import UserError

_SHARED = ("dir", "manual_dir", "cache_gb", "window_s", "channels", "split", "validation_fraction")
#: Keys of the config section `data` that are not options of a builder of clips.
OWN_KEYS = (*_SHARED, "classes", "hop_s", "normalize", "test_fraction", "stored")
#: The same of a builder of stems.
STEM_OWN_KEYS = (*_SHARED, "target", "remix")


def options_of(name: str) -> Callable:
    """The builder class of a dataset, whose keyword arguments are the options of section `data`.

    Raises:
        UserError: no such dataset, or one that no config takes.
    """
    if name in data_builders.MULTITRACKS:
        check_clips(name)
    return data_builders.builder_class(name)


def own_keys(name: str) -> tuple[str, ...]:
    """Keys of section `data` that are not options of the builder of this dataset."""
    return STEM_OWN_KEYS if name in data_builders.STEM_DATASETS else OWN_KEYS


def builder_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the builder among the settings; empty ones are left to its defaults."""
    own = (*own_keys(settings["name"]), "name")
    options = {k: v for k, v in settings.items() if k not in own and v != ""}
    return options | dict(
        data_dir=settings["dir"] or None, manual_dir=settings["manual_dir"] or None
    )


def check_clips(name: str) -> None:
    """Raises UserError for a dataset that holds other things than labelled clips."""
    _check(name, "labelled clips")


def check_stems(name: str) -> None:
    """Raises UserError for a dataset that holds other things than tracks with their stems."""
    _check(name, "tracks with their stems")


def _check(name: str, wanted: str) -> None:
    kinds = {one: "labelled clips" for one in data_builders.NAMES}
    kinds |= dict.fromkeys(data_builders.MULTITRACKS, "the tracks of pieces")
    kinds |= dict.fromkeys(data_builders.STEM_DATASETS, "tracks with their stems")
    if kinds.get(name, wanted) != wanted:
        known = ", ".join(one for one, kind in kinds.items() if kind == wanted)
        raise UserError(
            f"dataset {name!r}: holds {kinds[name]}, not {wanted}; here take one of {known}"
        )
