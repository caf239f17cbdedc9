"""Mel scales and the triangular mel filterbank."""

import functools

import numpy as np
from jaxtyping import Float, Float64, Real

from irec_jax.dsp.checks import check_choice, check_positive

MEL_SCALES = ("slaney", "htk")
MEL_NORMS = ("slaney", None)

# Slaney's scale (Auditory Toolbox): linear below 1 kHz with 3 mels per 200 Hz, logarithmic above
# with 27 mels per factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(
    frequencies_hz: Real[np.ndarray, "*shape"], *, mel_scale: str = "slaney"
) -> Float64[np.ndarray, "*shape"]:
    """Convert frequencies in Hz to mels.

    Args:
        frequencies_hz: frequencies, >= 0.
        mel_scale: 'slaney', or 'htk' for 2595 log10(1 + f / 700).
    """
    check_choice("mel_scale", mel_scale, MEL_SCALES)
    hz = np.asarray(frequencies_hz, np.float64)
    if mel_scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    logarithmic = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(
    mels: Real[np.ndarray, "*shape"], *, mel_scale: str = "slaney"
) -> Float64[np.ndarray, "*shape"]:
    """Convert mels to frequencies in Hz; the inverse of `hz_to_mel`."""
    check_choice("mel_scale", mel_scale, MEL_SCALES)
    mels = np.asarray(mels, np.float64)
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mels, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, mels * _LINEAR_HZ_PER_MEL, logarithmic)


def mel_frequencies(
    num_mels: int, *, min_hz: float, max_hz: float, mel_scale: str = "slaney"
) -> Float64[np.ndarray, " {num_mels}"]:
    """Return the centre frequencies of the mel bands in Hz.

    They are equally spaced in mels between `min_hz` and `max_hz`.
    """
    return _band_edges(num_mels, min_hz, max_hz, mel_scale)[1:-1]


@functools.lru_cache(maxsize=32)
def mel_filterbank(
    *,
    sample_rate_hz: float,
    frame_length: int,
    num_mels: int,
    min_hz: float = 0.0,
    max_hz: float | None = None,
    mel_scale: str = "slaney",
    mel_norm: str | None = "slaney",
) -> Float64[np.ndarray, "{frame_length//2+1} {num_mels}"]:
    """Return triangular filters that map STFT bins to mel bands.

    Band m rises from the centre of band m - 1 to the centre of band m, and falls to the centre of
    band m + 1.

    Args:
        sample_rate_hz: sample rate of the signal.
        frame_length: STFT frame length.
        num_mels: number of bands.
        min_hz, max_hz: lower edge of the first band and upper edge of the last band. If max_hz is
            None, the upper edge is half the sample rate.
        mel_scale: 'slaney' or 'htk'.
        mel_norm: 'slaney' divides each triangle by half its width in Hz, so that its area is 1;
            None keeps a peak of 1.

    Returns:
        Weights >= 0, read-only. Bands narrower than the bin spacing may be empty (all zero);
        `empty_bands` counts them.
    """
    check_positive(frame_length=frame_length, num_mels=num_mels)
    check_choice("mel_norm", mel_norm, MEL_NORMS)
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz={sample_rate_hz}: expected a positive number")
    max_hz = sample_rate_hz / 2 if max_hz is None else max_hz
    if not 0 <= min_hz < max_hz <= sample_rate_hz / 2:
        raise ValueError(
            f"min_hz={min_hz}, max_hz={max_hz}: expected 0 <= min_hz < max_hz <= "
            f"{sample_rate_hz / 2} (half of the sample rate)"
        )
    bins_hz = np.arange(frame_length // 2 + 1)[:, None] * (sample_rate_hz / frame_length)
    edges = _band_edges(num_mels, min_hz, max_hz, mel_scale)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if mel_norm == "slaney":
        filters *= 2.0 / (high - low)
    filters.setflags(write=False)  # callers share the cached array
    return filters


def empty_bands(filterbank: Float[np.ndarray, "bins mels"]) -> int:
    """Return the number of all-zero bands in a filterbank."""
    return int(np.sum(~filterbank.any(axis=0)))


def _band_edges(
    num_mels: int, min_hz: float, max_hz: float, mel_scale: str
) -> Float64[np.ndarray, " {num_mels+2}"]:
    """Return num_mels + 2 frequencies in Hz from min_hz to max_hz, equally spaced in mels."""
    low, high = hz_to_mel(np.array([min_hz, max_hz]), mel_scale=mel_scale)
    return mel_to_hz(np.linspace(low, high, num_mels + 2), mel_scale=mel_scale)
