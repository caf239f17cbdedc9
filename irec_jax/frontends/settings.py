"""Checks of front end settings; the messages name the config key."""

import math
from collections.abc import Iterable
from typing import Any

from irec_jax.errors import UserError


def setting_error(message: str) -> UserError:
    """Return the error for a message that begins with the name of a setting."""
    return UserError(f"frontend.{message}")


def is_number(value: Any) -> bool:
    """Return whether a value is a finite real number and not a bool."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def check_integers(minimum: int, **settings: Any) -> None:
    """Raise UserError for a setting that is not an integer of at least `minimum`."""
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise setting_error(f"{name}={value!r}: expected an integer >= {minimum}")


def check_choice(choices: Iterable[str], **settings: Any) -> None:
    """Raise UserError for a setting that is not among the choices."""
    for name, value in settings.items():
        if value not in choices:
            known = ", ".join(map(repr, choices))
            raise setting_error(f"{name}={value!r}: expected one of {known}")


def check_length(num_samples: int, length_samples: int) -> None:
    """Raise UserError if a waveform is longer than `length_samples` (0: any length)."""
    if 0 < length_samples < num_samples:
        raise setting_error(
            f"length_samples={length_samples} is less than the {num_samples} samples of a "
            "waveform; use at least as many, or 0 for the length of the waveform"
        )
