"""BSS-Eval, version 3, for sources: `bss_sdr`, `bss_sir` and `bss_sar`.

An estimate e of source j is split into what a filter of `num_taps` taps makes of reference j
(P_j e, which counts as the source: a filtered source is not an error), what filters make of the
other references (interference), and the rest (artifacts), with P the projection onto all delayed
references:

    SDR = |P_j e|^2 / |e - P_j e|^2
    SIR = |P_j e|^2 / |P e - P_j e|^2
    SAR = |P e|^2 / |e - P e|^2

Estimate j belongs to reference j: no permutation is searched. The values are those of mir_eval's
`separation.bss_eval_sources(..., compute_permutation=False)`.

**Where it ends.** Ratios of 140 dB and more are +inf: there the rounding of float32 samples lies.
If the references are band-limited so sharply that their normal equations are singular in float64
(`References.ridge` is not 0), `bss_sir` and `bss_sar` of noisy estimates depend on what counts as
part of a reference's space; mir_eval's then change by several dB with the order of the sources.
Here directions below 1e-13 of a reference's energy do not count. `bss_sdr` is not affected.

References:
    Vincent, Gribonval, Fevotte (2006): Performance measurement in blind audio source separation.
    IEEE Trans. Audio, Speech and Language Processing 14(4), sections III.B and III.C.
"""

from typing import NamedTuple

import numpy as np

from irec_jax.metrics import projection
from irec_jax.metrics.projection import References
from irec_jax.metrics.ratios import check_same_shape, check_signals, ratio_db


class BssScores(NamedTuple):
    """Scores of J sources in dB, each float64 (J,)."""

    bss_sdr_db: np.ndarray
    bss_sir_db: np.ndarray
    bss_sar_db: np.ndarray


def bss_eval_sources(
    reference: np.ndarray, estimated: np.ndarray, *, num_taps: int = 512
) -> BssScores:
    """BSS-Eval of one set of estimates: `bss_eval` on `prepare_references`.

    Args:
        reference: (J, T), any scale.
        estimated: (J, T), estimate j of source j.
        num_taps: length of the allowed distortion filters.

    Returns:
        SDR, SIR and SAR in dB.

    Raises:
        ValueError: the shapes differ, or samples are not finite.
    """
    check_same_shape(np.asarray(reference), np.asarray(estimated))
    return bss_eval(prepare_references(reference, num_taps=num_taps), estimated)


def prepare_references(reference: np.ndarray, *, num_taps: int = 512) -> References:
    """What BSS-Eval needs of the references, for any number of sets of estimates.

    Args:
        reference: (J, T), any scale.
        num_taps: length of the allowed distortion filters.

    Returns:
        The references and their factorised normal equations, which take 8 (J num_taps)^2 bytes.

    Raises:
        ValueError: the shape is another one, samples are not finite, or num_taps is below 1.
    """
    reference = check_signals("reference", reference, shapes=("(J, T)",))
    return projection.prepare(reference[:, None], num_taps=num_taps)


def bss_eval(references: References, estimated: np.ndarray) -> BssScores:
    """BSS-Eval of a set of estimates against prepared references.

    Args:
        references: of `prepare_references`.
        estimated: (J, T), estimate j of source j.

    Returns:
        SDR, SIR and SAR in dB. A source whose reference is silent scores NaN, and the others score
        as if it were not there. A silent estimate has SDR -inf, and SIR and SAR NaN: it has
        neither interference nor artifacts. What is exact is +inf, as the SIR of a single source
        and, unless `references.ridge` is above 0, all scores of an estimate that equals its
        reference (else at least about 130 dB). Two equal references share what they explain: it
        counts as the source for both, and as interference for neither.

    Raises:
        ValueError: the shape differs from that of the references, or samples are not finite.
    """
    estimated = check_signals("estimated", estimated, shapes=("(J, T)",))
    check_same_shape(references.signals[:, 0], estimated)
    parts = projection.energies(references, estimated[:, None])
    scores = np.stack(
        [
            ratio_db(parts.own, parts.distortion),
            ratio_db(parts.own, parts.interference),
            ratio_db(parts.every, parts.artifacts),
        ]
    )
    scores[:, ~estimated.any(-1)] = np.array([-np.inf, np.nan, np.nan])[:, None]
    scores[:, ~references.signals.any((1, 2))] = np.nan
    return BssScores(*scores)
