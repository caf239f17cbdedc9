"""Configs: loading, command-line overrides and validation."""

from irec_jax.config.checks import check_config, check_keys
from irec_jax.config.loading import flatten, load
from irec_jax.config.overrides import override
from irec_jax.config.sections import NOT_COMPARED

__all__ = ["NOT_COMPARED", "check_config", "check_keys", "flatten", "load", "override"]
