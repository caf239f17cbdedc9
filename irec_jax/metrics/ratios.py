"""Input checks, float64 computation and energy ratios in dB for the separation metrics."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

#: Energy ratios at or above this level count as infinite, because float32 rounding dominates them.
LIMIT_DB = 140.0
#: Samples below this magnitude can be squared and summed in float64 without overflow.
_LARGEST_SAMPLE = 1e100


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Enable float64 in JAX; must not be used inside `jax.jit`.

    TPUs do not support float64 FFTs, so on a TPU host, the computation runs on the CPU.
    """
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def check_signals(
    name: str, signals: ArrayLike, *, shapes: tuple[str, ...]
) -> Float[np.ndarray, "..."]:
    """Validate signals, and convert dtypes other than float32 and float64 to float64.

    Args:
        name: argument name for the error message.
        signals: audio samples.
        shapes: allowed shapes, such as "(J, T)".

    Raises:
        ValueError: the signals have the wrong number of dimensions or an empty axis, or contain
            complex numbers, NaN, infinity or samples above 1e100.
    """
    signals = np.asarray(signals)
    if signals.size == 0 or not any(signals.ndim == shape.count(",") + 1 for shape in shapes):
        raise ValueError(
            f"{name} has shape {signals.shape}; expected {' or '.join(shapes)} with no empty axis"
        )
    if signals.dtype not in (np.float32, np.float64):
        if not np.issubdtype(signals.dtype, np.integer) and signals.dtype != np.float16:
            raise ValueError(f"{name} has dtype {signals.dtype}; expected real numbers")
        signals = signals.astype(np.float64)
    if not max(float(signals.max()), -float(signals.min())) < _LARGEST_SAMPLE:  # also true for NaN
        raise ValueError(f"{name} contains NaN, infinite or extremely large samples")
    return signals


def check_same_shape(
    reference: Shaped[Array | np.ndarray, "..."],
    estimated: Shaped[Array | np.ndarray, "..."],
    *,
    name: str = "estimated",
) -> None:
    """Raise ValueError unless references and estimates have the same shape and no empty axis."""
    if reference.shape != estimated.shape:
        raise ValueError(
            f"reference {reference.shape} and {name} {estimated.shape} differ in shape"
        )
    if 0 in reference.shape:
        raise ValueError(
            f"reference and {name} have shape {reference.shape}; expected no empty axis"
        )


def check_sources(name: str, signals: ArrayLike, *, multichannel: bool) -> Float[np.ndarray, "..."]:
    """Validate the signals of J sources: (J, T) or, if multichannel, also (J, T, C).

    Raises:
        ValueError: as for `check_signals`, or there are more sources or channels than samples,
            which suggests a transposed array.
    """
    shapes = ("(J, T)", "(J, T, C)") if multichannel else ("(J, T)",)
    signals = check_signals(name, signals, shapes=shapes)
    num_sources, num_samples, *channels = signals.shape
    if max([num_sources, *channels]) > num_samples:
        raise ValueError(
            f"{name} has shape {signals.shape}, with more sources or channels than samples; "
            f"transpose it to {' or '.join(shapes)}"
        )
    return signals


def ratio_db(
    numerator: Float[np.ndarray, "*shape"], denominator: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Return the ratio of two energies in dB, 10 log10(numerator / denominator).

    Ratios of `LIMIT_DB` or more become +inf, and ratios of -LIMIT_DB or less become -inf, because
    the smaller energy is then only rounding error. The result is NaN if both energies are zero or
    either of them is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(np.asarray(numerator) / np.asarray(denominator))
    return np.where(np.abs(decibels) >= LIMIT_DB, np.copysign(np.inf, decibels), decibels)
