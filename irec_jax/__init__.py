"""irec-jax: musical instrument recognition and music separation in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time these are imported on first use; see `__getattr__`
    from irec_jax.systems.debleeder import debleed
    from irec_jax.systems.explainer_files import explain
    from irec_jax.systems.labeller import label
    from irec_jax.systems.recogniser import load_recogniser, recognize
    from irec_jax.systems.separator import load_separator
    from irec_jax.systems.separator_files import separate

#: Public function -> its module.
_MODULES = {
    "debleed": "irec_jax.systems.debleeder",
    "explain": "irec_jax.systems.explainer_files",
    "label": "irec_jax.systems.labeller",
    "load_recogniser": "irec_jax.systems.recogniser",
    "load_separator": "irec_jax.systems.separator",
    "recognize": "irec_jax.systems.recogniser",
    "separate": "irec_jax.systems.separator_files",
}
__all__ = [
    "debleed",
    "explain",
    "label",
    "load_recogniser",
    "load_separator",
    "recognize",
    "separate",
]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that dataset builders and tools start quickly without JAX.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
