"""What the scores of separated signals share: checks, float64, and ratios of energies in dB."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np

#: Energy ratios beyond this count as infinite: the rounding of float32 samples lies about here.
LIMIT_DB = 140.0
#: What squares and sums in float64 without overflow, whatever the number of samples.
_LARGEST_SAMPLE = 1e100


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 within, for functions that are called from the host (not from within `jax.jit`).

    TPUs have no float64 FFT: there the host's CPU computes.
    """
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def check_signals(name: str, signals: np.ndarray, *, shapes: tuple[str, ...]) -> np.ndarray:
    """`signals` as they are if they are float32 or float64, as float64 if they are integers.

    Args:
        name: for the message.
        signals: array.
        shapes: the shapes that are allowed, as "(J, T)".

    Raises:
        ValueError: another number of dimensions, an axis without entries, complex numbers, NaN,
            infinity, or samples that nobody's audio holds (above 1e100).
    """
    signals = np.asarray(signals)
    if signals.size == 0 or not any(signals.ndim == shape.count(",") + 1 for shape in shapes):
        raise ValueError(
            f"{name} has shape {signals.shape}: must be {' or '.join(shapes)}, no axis empty"
        )
    if signals.dtype not in (np.float32, np.float64):
        if not np.issubdtype(signals.dtype, np.integer) and signals.dtype != np.float16:
            raise ValueError(f"{name} holds {signals.dtype}: must hold real numbers")
        signals = signals.astype(np.float64)
    if not max(float(signals.max()), -float(signals.min())) < _LARGEST_SAMPLE:  # nor is NaN
        raise ValueError(f"{name} holds NaN, infinite or absurdly large samples")
    return signals


def check_same_shape(reference: np.ndarray, estimated: np.ndarray) -> None:
    """Raises ValueError unless every reference has its estimate, of the same length."""
    if reference.shape != estimated.shape:
        raise ValueError(
            f"reference {reference.shape} and estimated {estimated.shape} differ in shape"
        )


def ratio_db(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """10 log10(numerator / denominator) of energies, of their shape.

    At `LIMIT_DB` and above it is +inf, at -LIMIT_DB and below -inf: there the smaller of the two
    is rounding. It is NaN where both are zero, or one is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(np.asarray(numerator) / np.asarray(denominator))
    return np.where(np.abs(decibels) >= LIMIT_DB, np.copysign(np.inf, decibels), decibels)
