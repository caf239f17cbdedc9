"""Periodic window functions for spectral analysis."""

import numpy as np
from jaxtyping import Float64

from irec_jax.dsp.checks import check_choice, check_positive

#: Window name -> coefficients a_k; the window is sum_k (-1)^k a_k cos(2 pi k n / N).
WINDOWS = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}


def get_window(name: str, length: int) -> Float64[np.ndarray, " {length}"]:
    """Return a periodic window, equal to `scipy.signal.get_window(name, length)`.

    Args:
        name: 'hann', 'hamming', 'blackman' or 'rectangular' (scipy's 'boxcar').
        length: number of samples.

    Returns:
        The window, with values in 0..1.
    """
    check_choice("window", name, WINDOWS)
    check_positive(length=length)
    phase = 2 * np.pi * np.arange(length) / length
    terms = [(-1) ** k * a * np.cos(k * phase) for k, a in enumerate(WINDOWS[name])]
    # Due to rounding, zeros of the window can become -1e-17.
    return np.maximum(np.sum(terms, axis=0), 0.0)
