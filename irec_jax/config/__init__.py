"""Configs: loading, overrides and validation."""

from irec_jax.config.loading import (
    NAMED,
    PLACES,
    check,
    flatten,
    load,
    override,
)

__all__ = ["NAMED", "PLACES", "check", "flatten", "load", "override"]
