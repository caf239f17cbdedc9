"""Base class for front ends, and checks for their settings; error messages name the config key."""

import abc
import functools
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Float64, Int, Key, Shaped, UInt32

from irec_jax.dsp.checks import check_signal
from irec_jax.errors import UserError

#: An array or a dict of arrays; `FrontEnd.output_shape` returns their shapes without batch axes.
Features = Float[Array, "..."] | dict[str, Shaped[Array, "..."]]
Shape = tuple[int, ...]


class FrontEnd(abc.ABC):
    """Interface of all front ends; subclasses are frozen dataclasses of static settings.

    Creating a front end with an invalid setting raises a `UserError` that names the setting.

    Attributes:
        axes: names of the features' axes after the batch axes, such as `time` and `frequency` for
            spectrograms, or None if they have no names. Masking and pictures rely on these names.
    """

    axes: ClassVar[tuple[str, ...] | None] = None

    def __call__(
        self,
        waveform: Float[Array | np.ndarray, "*batch samples"],
        *,
        num_samples: Int[ArrayLike, "#*batch"] | None = None,
        keys: Key[Array, "*batch"] | UInt32[Array, "*batch 2"] | None = None,
    ) -> Features:
        """Return the features of waveforms, as described in the class docstring.

        Args:
            waveform: float32 waveforms, each divided by the peak of its clip.
            num_samples: number of samples in each waveform before the zero padding; if None, all
                samples. Front ends that treat padding as silence ignore this argument.
            keys: PRNG keys for training, one per waveform; if None, nothing is random.
                Deterministic front ends ignore the keys.

        Raises:
            UserError: if `output_shape` rejects the number of samples.
            AssertionError: if `waveform` does not have a floating-point dtype or has no samples.
        """
        check_signal("waveform", waveform)
        self.output_shape(waveform.shape[-1])  # raises an error if the length is invalid
        return _compute(self, waveform, num_samples, keys)

    @abc.abstractmethod
    def output_shape(self, num_samples: int) -> Shape | dict[str, Shape]:
        """Return the feature shape for one waveform of `num_samples` samples."""

    def frequencies_hz(self, sample_rate_hz: float) -> Float64[np.ndarray, " frequencies"] | None:
        """Return the centre frequencies of the `frequency` axis in Hz for a given sample rate.

        Returns None if there is no such axis or its frequencies are not known.
        """
        return None

    def as_image(
        self, features: Shaped[np.ndarray, "*batch _first _second"]
    ) -> Shaped[np.ndarray, "*batch _rows _columns"]:
        """Return features as images whose first row is at the top.

        Time runs to the right and the other named axis upwards. Features without named axes are
        returned unchanged.
        """
        if self.axes is None:
            return features
        upwards = features.swapaxes(-1, -2) if self.axes[0] == "time" else features
        return upwards[..., ::-1, :]

    @abc.abstractmethod
    def _features(
        self, waveform: Float[Array, "... samples"], num_samples: Any, keys: Any
    ) -> Features:
        """Compute the features of valid waveforms; called under `jit`."""


@functools.partial(jax.jit, static_argnums=0)
def _compute(frontend: FrontEnd, waveform: Array, num_samples: Any, keys: Any) -> Features:
    return frontend._features(waveform, num_samples, keys)


def setting_error(message: str) -> UserError:
    """Return the error for a message that begins with the name of a setting."""
    return UserError(f"frontend.{message}")


def check_integers(minimum: int, **settings: Any) -> None:
    """Raise UserError unless all settings are integers of at least `minimum`."""
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise setting_error(f"{name}={value!r}: expected an integer >= {minimum}")


def check_numbers(unit: str, *, above: float = -math.inf, **settings: Any) -> None:
    """Raise UserError unless all settings are finite real numbers above a bound.

    Args:
        unit: text that follows 'expected a number' in the message, such as ' in Hz'.
        above: the exclusive lower bound.
        **settings: values by name.
    """
    for name, value in settings.items():
        is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_real and math.isfinite(value) and value > above):
            bound = f" above {above:g}" if math.isfinite(above) else ""
            raise setting_error(f"{name}={value!r}: expected a number{unit}{bound}")


def check_choice(choices: Iterable[str], **settings: Any) -> None:
    """Raise UserError unless all settings are among the choices."""
    for name, value in settings.items():
        if value not in choices:
            known = ", ".join(map(repr, choices))
            raise setting_error(f"{name}={value!r}: expected one of {known}")


def check_length(num_samples: int, length_samples: int) -> None:
    """Raise UserError if a waveform is longer than `length_samples`; 0 allows any length."""
    if 0 < length_samples < num_samples:
        raise setting_error(
            f"length_samples={length_samples} is less than the {num_samples} samples of a "
            "waveform; use a larger value, or 0 for the length of the waveform"
        )
