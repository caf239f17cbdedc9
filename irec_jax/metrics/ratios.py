"""Checks, float64 computation and energy ratios in dB, shared by the separation metrics."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

#: Energy ratios beyond this count as infinite; they are dominated by rounding of float32 samples.
LIMIT_DB = 140.0
#: Samples up to this can be squared and summed in float64 without overflow.
_LARGEST_SAMPLE = 1e100


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Enable float64 for functions called from the host (not from within `jax.jit`).

    TPUs have no float64 FFT, so the CPU of the host is used there.
    """
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def check_signals(
    name: str, signals: ArrayLike, *, shapes: tuple[str, ...]
) -> Float[np.ndarray, "..."]:
    """Check signals; return them as given if float32 or float64, otherwise as float64.

    Args:
        name: argument name for the message.
        signals: audio samples.
        shapes: the allowed shapes, such as "(J, T)".

    Raises:
        ValueError: a wrong number of dimensions, an empty axis, complex numbers, NaN, infinity, or
            samples above 1e100.
    """
    signals = np.asarray(signals)
    if signals.size == 0 or not any(signals.ndim == shape.count(",") + 1 for shape in shapes):
        raise ValueError(
            f"{name} has shape {signals.shape}: must be {' or '.join(shapes)} with no axis empty"
        )
    if signals.dtype not in (np.float32, np.float64):
        if not np.issubdtype(signals.dtype, np.integer) and signals.dtype != np.float16:
            raise ValueError(f"{name} holds {signals.dtype}: must hold real numbers")
        signals = signals.astype(np.float64)
    if not max(float(signals.max()), -float(signals.min())) < _LARGEST_SAMPLE:  # nor is NaN
        raise ValueError(f"{name} holds NaN, infinite or extremely large samples")
    return signals


def check_same_shape(
    reference: Shaped[Array | np.ndarray, "..."],
    estimated: Shaped[Array | np.ndarray, "..."],
    *,
    name: str = "estimated",
) -> None:
    """Raise ValueError unless references and estimates have the same shape, without empty axes."""
    if reference.shape != estimated.shape:
        raise ValueError(
            f"reference {reference.shape} and {name} {estimated.shape} differ in shape"
        )
    if 0 in reference.shape:
        raise ValueError(f"reference and {name} have shape {reference.shape}: an axis is empty")


def check_sources(name: str, signals: ArrayLike, *, multichannel: bool) -> Float[np.ndarray, "..."]:
    """Check the signals of J sources, (J, T) or, if multichannel, (J, T, C); see `check_signals`.

    Raises:
        ValueError: as `check_signals`; or more sources or channels than samples, as in a transposed
            array.
    """
    shapes = ("(J, T)", "(J, T, C)") if multichannel else ("(J, T)",)
    signals = check_signals(name, signals, shapes=shapes)
    num_sources, num_samples, *channels = signals.shape
    if max([num_sources, *channels]) > num_samples:
        raise ValueError(
            f"{name} has shape {signals.shape}, with more sources or channels than samples: must "
            f"be {' or '.join(shapes)}; transpose it"
        )
    return signals


def ratio_db(
    numerator: Float[np.ndarray, "*shape"], denominator: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Return 10 log10(numerator / denominator) of energies.

    The result is +inf from `LIMIT_DB` on and -inf from -LIMIT_DB on, because the smaller energy is
    then rounding error, and NaN if both energies are zero or one is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(np.asarray(numerator) / np.asarray(denominator))
    return np.where(np.abs(decibels) >= LIMIT_DB, np.copysign(np.inf, decibels), decibels)
