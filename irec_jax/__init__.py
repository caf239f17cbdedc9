"""irec-jax: musical instrument recognition and music separation in JAX."""

import importlib
from typing import Any

_ROOMS = {
    "debleed": "irec_jax.systems.debleeder",
    "load_recogniser": "irec_jax.systems",
    "load_separator": "irec_jax.systems",
    "recognize": "irec_jax.systems",
    "separate": "irec_jax.systems.separator_files",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    # Imported when asked for: builders and tools that need no JAX stay light.
    if name in _ROOMS:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
