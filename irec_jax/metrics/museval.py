"""BSS-Eval version 4 (images): `museval_sdr`, `museval_isr`, `museval_sir` and `museval_sar`.

These are the scores that museval reports for MUSDB18. They differ from version 3 for sources
(`bss_sdr`) as follows:

- Channels are scored jointly. Filters map all channels of a reference to all channels of the
  estimate, and energies are summed over channels.
- The target is the unfiltered reference s, and filtering it counts as spatial distortion:

      SDR = |s|^2 / |e - s|^2
      ISR = |s|^2 / |P_j e - s|^2
      SIR = |P_j e|^2 / |P e - P_j e|^2
      SAR = |P e|^2 / |e - P e|^2

- The filters are estimated once per track and applied frame by frame. Energies are computed per
  frame (the reference is first cut into frames and then filtered, including the filter tail), and
  the score of a track is the median over its frames.

Estimate j is scored against reference j; permutations are not searched.

SDR and ISR equal museval's up to rounding. SIR and SAR depend on filters between all channels, and
the equations for these filters are nearly singular for stereo stems. museval's own values change by
about 0.1 dB, sometimes by 1 dB, with the order of the sources or channels. The values computed here
differ from museval's by similar amounts.

References:
    Stoeter, Liutkus, Ito (2018): The 2018 signal separation evaluation campaign. LVA/ICA,
    section 2.3; museval 0.4, `metrics.bss_eval(..., framewise_filters=False,
    bsseval_sources_version=False)`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Float64, Shaped

from irec_jax.metrics import projection
from irec_jax.metrics.projection import Filters, energy
from irec_jax.metrics.ratios import check_same_shape, check_sources, double_precision, ratio_db

#: Maximum number of samples per signal on the device at a time, unless one frame is longer.
_NUM_SAMPLES = 2**18


class MusevalScores(NamedTuple):
    """Scores of the sources in dB, either per frame or (without the last axis) per track."""

    museval_sdr_db: Float64[np.ndarray, " sources *frames"]
    museval_isr_db: Float64[np.ndarray, " sources *frames"]
    museval_sir_db: Float64[np.ndarray, " sources *frames"]
    museval_sar_db: Float64[np.ndarray, " sources *frames"]


def museval_scores(
    reference: Shaped[np.ndarray, "..."],
    estimated: Shaped[np.ndarray, "..."],
    *,
    sample_rate_hz: float,
    window_s: float = 1.0,
    hop_s: float = 1.0,
    num_taps: int = 512,
) -> tuple[MusevalScores, MusevalScores]:
    """Score the estimates of a track as museval does.

    Args:
        reference: (sources, samples, channels), or (sources, samples) for one channel.
        estimated: estimates of the sources, with the same shape and in the same order.
        sample_rate_hz: sample rate of the signals.
        window_s: frame length in seconds.
        hop_s: hop length in seconds; incomplete frames are ignored unless the track is shorter than
            a frame.
        num_taps: length of the distortion filters.

    Returns:
        The scores per frame, and their medians over the track. As in museval, a frame in which any
        reference or estimate is silent (its channels sum to zero at every sample) scores NaN for
        all sources, and the medians ignore it. A source whose reference or estimate is silent
        throughout the track scores NaN and does not affect the other sources, whereas museval
        rejects such tracks. Ratios of 140 dB or more are +inf.

    Raises:
        ValueError: the shapes differ or are not those given above, samples are not finite, a length
            is not positive, or the equations do not fit in memory.

    See Also:
        irec_jax.metrics.bss: version 3 for sources, which permits filtering and scores entire
            signals.
    """
    reference = check_sources("reference", reference, multichannel=True)
    estimated = check_sources("estimated", estimated, multichannel=True)
    check_same_shape(reference, estimated)
    if not 0 < sample_rate_hz < math.inf or not math.isfinite(window_s + hop_s):
        raise ValueError(
            f"sample_rate_hz={sample_rate_hz}, window_s={window_s}, hop_s={hop_s}: expected "
            "positive, finite numbers"
        )
    window, hop = round(window_s * sample_rate_hz), round(hop_s * sample_rate_hz)
    if window < 1 or hop < 1:
        raise ValueError(
            f"window_s={window_s}, hop_s={hop_s}: expected at least one sample at "
            f"{sample_rate_hz} Hz"
        )
    reference, estimated = (np.moveaxis(np.atleast_3d(x), 2, 1) for x in (reference, estimated))
    num_samples = reference.shape[-1]
    window = min(window, num_samples)
    starts = np.arange(0, num_samples - window + 1, hop)

    references = projection.prepare(reference, num_taps=num_taps)
    filters = projection.distortion_filters(references, estimated)
    scores = _scores(_energies(reference, estimated, filters, starts, window))

    quiet = np.stack([signals.sum(1) == 0 for signals in (reference, estimated)])  # (2, J, T)
    throughout = quiet.all(-1).any(0)
    scored = quiet[:, ~throughout]
    for frame, start in enumerate(starts):
        if scored[..., start : start + window].all(-1).any():
            scores[..., frame] = np.nan
    scores[:, throughout] = np.nan

    medians = np.full(scores.shape[:-1], np.nan)
    defined = ~np.isnan(scores).all(-1)
    medians[defined] = np.nanmedian(scores[defined], axis=-1)
    return MusevalScores(*scores), MusevalScores(*medians)


class _FrameEnergies(NamedTuple):
    """Energies (J, frames) of the components of the estimates, summed over channels and samples."""

    source: np.ndarray
    own: np.ndarray
    every: np.ndarray
    spatial: np.ndarray
    interference: np.ndarray
    artifacts: np.ndarray
    error: np.ndarray


def _scores(parts: _FrameEnergies) -> np.ndarray:
    """Return SDR, ISR, SIR and SAR in dB: (4, J, frames)."""
    return ratio_db(
        np.stack([parts.source, parts.source, parts.own, parts.every]),
        np.stack([parts.error, parts.spatial, parts.interference, parts.artifacts]),
    )


def _energies(
    reference: np.ndarray, estimated: np.ndarray, filters: Filters, starts: np.ndarray, window: int
) -> _FrameEnergies:
    """Return the energies of the frames that begin at `starts`, for signals (J, C, T)."""
    num_frames = max(1, min(len(starts), _NUM_SAMPLES // window))
    groups = []
    with double_precision():
        for first in range(0, len(starts), num_frames):
            # Repeating the last frame gives all groups the same shape, so JAX compiles only once.
            group = np.minimum(np.arange(first, first + num_frames), len(starts) - 1)
            samples = starts[group][:, None] + np.arange(window)
            parts = _group_energies(reference[..., samples], estimated[..., samples], filters)
            groups.append(np.asarray(parts)[..., : len(starts) - first])
    return _FrameEnergies(*np.concatenate(groups, axis=-1))


@jax.jit
def _group_energies(reference: jax.Array, estimated: jax.Array, filters: Filters) -> jax.Array:
    """Return the `_FrameEnergies` of frames (J, C, frames, window), stacked as (7, J, frames)."""
    window = reference.shape[-1]
    # Type checkers infer None, because SciPy replaces a stub at import time.
    fft_length: int = scipy.fft.next_fast_len(  # pyright: ignore[reportAssignmentType]
        window + filters.own.shape[-1] - 1, real=True
    )
    tail = [(0, 0)] * 3 + [(0, fft_length - window)]
    reference, estimated = (jnp.pad(x.astype(jnp.float64), tail) for x in (reference, estimated))
    own, every = projection.project(jnp.fft.rfft(reference), filters, fft_length)
    errors = own - reference, every - own, estimated - every, estimated - reference
    return jnp.stack([energy(part) for part in (reference, own, every, *errors)])
