"""BSS-Eval, version 3, for sources: `bss_sdr`, `bss_sir` and `bss_sar`.

An estimate e of source j is decomposed into its projection P_j e onto the delays of reference j,
that is, the reference filtered with `num_taps` taps (the target: filtering is not an error), the
contribution of the other references, filtered in the same way (interference), and the rest
(artifacts). With P the projection onto the delays of all references:

    SDR = |P_j e|^2 / |e - P_j e|^2
    SIR = |P_j e|^2 / |P e - P_j e|^2
    SAR = |P e|^2 / |e - P e|^2

Estimate j belongs to reference j; permutations are not searched. The values equal those of
mir_eval's `separation.bss_eval_sources(..., compute_permutation=False)`.

**Limits.** Ratios of 140 dB and more are +inf: they are dominated by the rounding of float32
samples. If the references are band-limited so sharply that their normal equations are singular in
float64 (`References.ridge` is not 0), `bss_sir` and `bss_sar` of noisy estimates depend on the
numerical rank; mir_eval's values then change by several dB with the order of the sources. Here
directions below 1e-13 of the energy of a reference are ignored. `bss_sdr` is not affected.

References:
    Vincent, Gribonval, Fevotte (2006): Performance measurement in blind audio source separation.
    IEEE Trans. Audio, Speech and Language Processing 14(4), sections III.B and III.C.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from irec_jax.metrics import projection
from irec_jax.metrics.projection import References
from irec_jax.metrics.ratios import check_same_shape, check_sources, ratio_db


class BssScores(NamedTuple):
    """Scores of the sources in dB."""

    bss_sdr_db: Float64[np.ndarray, " sources"]
    bss_sir_db: Float64[np.ndarray, " sources"]
    bss_sar_db: Float64[np.ndarray, " sources"]


def bss_eval_sources(
    reference: Shaped[np.ndarray, "sources samples"],
    estimated: Shaped[np.ndarray, "..."],
    *,
    num_taps: int = 512,
) -> BssScores:
    """Score a set of estimates with BSS-Eval: `bss_eval` after `prepare_references`.

    Args:
        reference: signals of the sources, at any scale.
        estimated: the same shape, estimate j of source j.
        num_taps: length of the allowed distortion filters.

    Returns:
        SDR, SIR and SAR in dB.

    Raises:
        ValueError: the shapes differ or are not (sources, samples), samples are not finite, or the
            equations do not fit into memory.
    """
    check_same_shape(np.asarray(reference), np.asarray(estimated))
    return bss_eval(prepare_references(reference, num_taps=num_taps), estimated)


def prepare_references(reference: Shaped[np.ndarray, "..."], *, num_taps: int = 512) -> References:
    """Prepare references for scoring any number of sets of estimates.

    Arguments are those of `bss_eval_sources`. The factorised normal equations take
    8 (J num_taps)^2 bytes for J sources.

    Raises:
        ValueError: a wrong shape, samples are not finite, num_taps is below 1, or the equations do
            not fit into memory.
    """
    reference = check_sources("reference", reference, multichannel=False)
    return projection.prepare(reference[:, None], num_taps=num_taps)


def bss_eval(references: References, estimated: Shaped[np.ndarray, "..."]) -> BssScores:
    """Score a set of estimates against prepared references.

    Args:
        references: result of `prepare_references`.
        estimated: (sources, samples), estimate j of source j.

    Returns:
        SDR, SIR and SAR in dB. A source with a silent reference scores NaN and does not affect the
        scores of the others. A silent estimate has SDR -inf, and SIR and SAR NaN, because it has
        neither interference nor artifacts. Scores without error are +inf, such as the SIR of a
        single source and, unless `references.ridge` is above 0, all scores of an estimate that
        equals its reference (otherwise at least about 130 dB). The projection onto two equal
        references counts as target for both and as interference for neither.

    Raises:
        ValueError: the shape differs from that of the references, or samples are not finite.
    """
    estimated = check_sources("estimated", estimated, multichannel=False)
    check_same_shape(references.signals[:, 0], estimated)
    parts = projection.energies(references, estimated[:, None])
    scores = ratio_db(
        np.stack([parts.own, parts.own, parts.every]),
        np.stack([parts.distortion, parts.interference, parts.artifacts]),
    )
    scores[:, ~estimated.any(-1)] = np.array([-np.inf, np.nan, np.nan])[:, None]
    scores[:, ~references.signals.any((1, 2))] = np.nan
    return BssScores(*scores)
