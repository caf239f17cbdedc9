"""Audio arguments of the public functions: paths, open files, and arrays from several libraries."""

import io
import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from irec_jax import audio
from irec_jax.errors import UserError

#: Supported sample rates for array inputs, in Hz.
SAMPLE_RATES_HZ = range(1000, 1_000_001)


def is_path(source: Any) -> bool:
    """Return whether a source is a path; NumPy strings count as paths."""
    return isinstance(source, str | bytes | os.PathLike)


def is_file(source: Any) -> bool:
    """Return whether a source is an open file.

    Raises:
        UserError: if the file is closed, not seekable, or open in text mode.
    """
    if not hasattr(source, "read"):
        return False
    if isinstance(source, io.TextIOBase):
        raise UserError("source: the file is open in text mode; open it with mode 'rb'")
    try:
        seekable = source.seekable()
    except (AttributeError, ValueError) as error:
        raise UserError(f"source: the file cannot be read ({error}); open it again") from error
    if not seekable:
        raise UserError("source: the file is not seekable; read it into io.BytesIO")
    return True


def source_name(source: Any) -> str:
    """Return the name of a file, or 'array' for an array."""
    if is_path(source):
        return os.fsdecode(source)
    return str(getattr(source, "name", "file")) if hasattr(source, "read") else "array"


def to_numpy(samples: Any) -> np.ndarray:
    """Convert samples from any library to a NumPy array with the same shape.

    Raises:
        UserError: if the samples are masked, or are not an array.
    """
    if np.ma.is_masked(samples):
        raise UserError("array: contains masked samples; fill them")
    try:
        for method in ("detach", "cpu"):  # PyTorch tensors with gradients, or on a GPU
            samples = getattr(samples, method, lambda samples=samples: samples)()
        if "bfloat16" in str(getattr(samples, "dtype", "")) and hasattr(samples, "float"):
            samples = samples.float()  # PyTorch cannot convert bfloat16 to NumPy
        array = np.asarray(samples)
    except Exception as error:
        raise UserError(
            f"array: cannot be converted to NumPy ({error}); expected a path or a numpy array"
        ) from error
    if array.dtype.kind in "OSUMm" or array.dtype.names:
        kind = f"{type(samples).__name__} of type {array.dtype}"
        raise UserError(f"source: expected a path or a numpy array, got {kind}")
    return array


def check_array(samples: Any, sample_rate: Any) -> tuple[np.ndarray, int]:
    """Return samples (T,) or (T, C) as float32 (T, C), and their sample rate in Hz.

    Args:
        samples: a NumPy, JAX or PyTorch array, or a list: floats in -1..1 of any precision, or
            8-, 16- or 32-bit integers, which are scaled to -1..1 (for unsigned integers, the
            middle of the range is silence).
        sample_rate: an integer of any type; floats such as 44100.0 are accepted.

    Raises:
        UserError: if the array or the sample rate is invalid.
    """
    sample_rate_hz = _check_sample_rate(sample_rate)
    array = to_numpy(samples)
    if array.ndim not in (1, 2) or not array.size:
        raise UserError(f"array: expected samples (T,) or (T, C), got shape {array.shape}")
    if array.ndim == 2 and array.shape[1] > array.shape[0]:
        raise UserError(f"array: shape {array.shape} looks like (C, T); transpose it to (T, C)")
    kind, num_bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind in "iu" and num_bits <= 32:
        full_scale = 1 << (num_bits - 1)
        array = array.astype(np.float32 if num_bits <= 16 else np.float64)
        array = (array - (full_scale if kind == "u" else 0)) / full_scale
    elif kind != "f":
        if not jnp.issubdtype(array.dtype, jnp.floating):  # such as bfloat16
            raise UserError(
                "array: expected floats in -1..1 or 8-, 16- or 32-bit integers, got "
                f"{array.dtype}; convert it"
            )
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError("array: contains NaN or infinite samples; remove them")
    if float(np.abs(array).max()) > audio.MAX_SAMPLE:
        raise UserError(
            f"array: contains samples above {audio.MAX_SAMPLE:.0e} times full scale; scale it down"
        )
    return array.reshape(len(array), -1).astype(np.float32), sample_rate_hz


def _check_sample_rate(sample_rate: Any) -> int:
    if sample_rate is None:
        raise UserError("sample_rate: missing; pass the sample rate of the array in Hz")
    try:
        rate_hz = float("nan" if isinstance(sample_rate, str | bytes | bool) else sample_rate)
    except (TypeError, ValueError, OverflowError):
        rate_hz = float("nan")
    if not rate_hz.is_integer() or int(rate_hz) not in SAMPLE_RATES_HZ:
        raise UserError(
            f"sample_rate={sample_rate!r}: expected an integer from {SAMPLE_RATES_HZ[0]} to "
            f"{SAMPLE_RATES_HZ[-1]} Hz"
        )
    return int(rate_hz)
