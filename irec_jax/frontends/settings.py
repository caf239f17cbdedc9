"""Checks of settings that the front ends share; their messages name the config key."""

import math
from typing import Any

from irec_jax.errors import UserError


def setting_error(message: str) -> UserError:
    """The error whose message begins with the name of a setting."""
    return UserError(f"frontend.{message}")


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, and no bool."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
