"""BSS-Eval version 3 (sources): `bss_sdr`, `bss_sir` and `bss_sar`.

An estimate e of source j is split into three components:

- the target, which is the projection P_j e onto delayed copies of reference j, so that filtering
  with up to `num_taps` taps is not counted as an error;
- interference, which is explained by filtered versions of the other references;
- artifacts, which account for everything else.

With P denoting the projection onto delayed copies of all references:

    SDR = |P_j e|^2 / |e - P_j e|^2
    SIR = |P_j e|^2 / |P e - P_j e|^2
    SAR = |P e|^2 / |e - P e|^2

Estimate j is scored against reference j; permutations are not searched. The values equal those of
mir_eval's `separation.bss_eval_sources(..., compute_permutation=False)`.

**Limits.** Ratios of 140 dB or more are reported as +inf, because the rounding of float32 samples
dominates them. If the references are so sharply band-limited that their normal equations are
singular in float64 (`References.ridge` is not 0), the `bss_sir` and `bss_sar` of noisy estimates
depend on the numerical rank, and mir_eval's values change by several dB with the order of the
sources. This implementation ignores directions with less than 1e-13 of the energy of a reference.
`bss_sdr` is not affected.

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
    """BSS-Eval scores of each source in dB."""

    bss_sdr_db: Float64[np.ndarray, " sources"]
    bss_sir_db: Float64[np.ndarray, " sources"]
    bss_sar_db: Float64[np.ndarray, " sources"]


def bss_eval_sources(
    reference: Shaped[np.ndarray, "sources samples"],
    estimated: Shaped[np.ndarray, "..."],
    *,
    num_taps: int = 512,
) -> BssScores:
    """Score a set of estimates against their references with BSS-Eval.

    To score several sets against the same references, call `prepare_references` once and then
    `bss_eval` for each set.

    Args:
        reference: signals of the sources, at any scale.
        estimated: estimates of the sources, with the same shape and in the same order.
        num_taps: length of the permitted distortion filters.

    Returns:
        SDR, SIR and SAR in dB; see `bss_eval`.

    Raises:
        ValueError: the shapes differ or are not (sources, samples), samples are not finite, or the
            equations do not fit in memory.
    """
    check_same_shape(np.asarray(reference), np.asarray(estimated))
    return bss_eval(prepare_references(reference, num_taps=num_taps), estimated)


def prepare_references(reference: Shaped[np.ndarray, "..."], *, num_taps: int = 512) -> References:
    """Prepare references so that any number of estimate sets can be scored against them.

    The arguments are as for `bss_eval_sources`. The factorised normal equations of J sources take
    8 (J num_taps)^2 bytes.

    Raises:
        ValueError: the shape is wrong, samples are not finite, num_taps is below 1, or the
            equations do not fit in memory.
    """
    reference = check_sources("reference", reference, multichannel=False)
    return projection.prepare(reference[:, None], num_taps=num_taps)


def bss_eval(references: References, estimated: Shaped[np.ndarray, "..."]) -> BssScores:
    """Score a set of estimates against prepared references.

    Args:
        references: result of `prepare_references`.
        estimated: (sources, samples) estimates, in the order of the references.

    Returns:
        SDR, SIR and SAR in dB. A source with a silent reference scores NaN and does not affect the
        other sources. A silent estimate has an SDR of -inf, and its SIR and SAR are NaN because it
        contains neither interference nor artifacts. A score is +inf if there is no error to
        measure. Examples are the SIR of a single source, and all scores of an estimate that equals
        its reference (about 130 dB or more if `references.ridge` is above 0). If two references are
        equal, the projection onto them counts as the target of both sources and as interference in
        neither estimate.

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
