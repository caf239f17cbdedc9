"""Checks of settings that the front ends share; their messages name the config key."""

import math
from collections.abc import Iterable
from typing import Any

from irec_jax.errors import UserError


def setting_error(message: str) -> UserError:
    """The error whose message begins with the name of a setting."""
    return UserError(f"frontend.{message}")


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, and no bool."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def check_integers(least: int, **settings: Any) -> None:
    """Raises UserError for a setting that is no whole number, `least` or more."""
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise setting_error(f"{name} is {value!r}: must be a whole number, {least} or more")


def check_choice(choices: Iterable[str], **settings: Any) -> None:
    """Raises UserError for a setting that is not among the choices."""
    for name, value in settings.items():
        if value not in choices:
            known = ", ".join(map(repr, choices))
            raise setting_error(f"{name} is {value!r}: must be one of {known}")


def check_length(num_samples: int, length_samples: int) -> None:
    """Raises UserError where so many samples do not fit in `length_samples` (0: any)."""
    if 0 < length_samples < num_samples:
        raise setting_error(
            f"length_samples={length_samples} is less than the {num_samples} samples of a "
            "waveform; take as many or more, or 0 for its own length"
        )
