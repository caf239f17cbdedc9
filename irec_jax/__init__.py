"""irec-jax: musical instrument recognition and music separation in JAX."""

from typing import Any

__all__ = ["load_recogniser", "recognize"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: builders and tools that need no JAX stay light.
    if name in __all__:
        from irec_jax import systems

        return getattr(systems, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
