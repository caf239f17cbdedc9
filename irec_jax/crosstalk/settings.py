"""Settings for crosstalk reduction, and the result of the analysis."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from irec_jax import registry
from irec_jax.crosstalk.estimate import SOLVERS
from irec_jax.crosstalk.reduce import METHODS
from irec_jax.dsp.window_functions import WINDOWS
from irec_jax.errors import UserError

_MAX_TIME_S = 60.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings for the analysis and reduction of crosstalk.

    The STFT defaults are Seipel's. ``align=False, method="subtraction"`` is Seipel's method except
    for the solver; ``solver="momentum"`` selects Seipel's solver as well.

    Attributes:
        frame_length, hop_length: STFT frame and hop in samples; the hop is at most half a frame.
        window: a name in `irec_jax.dsp.window_functions.WINDOWS`.
        align: first remove the direct sound of the other tracks, using its delay and phase; see
            `irec_jax.crosstalk.align`.
        solver: solver for the weights, 'nnls' or 'momentum'; see `irec_jax.crosstalk.estimate`.
        strength: factor applied to the estimated crosstalk; higher values reduce more crosstalk but
            cause more artefacts.
        floor: minimum gain for a bin, 0 to 1, applied after alignment.
        method: 'subtraction', 'mask' or 'mmse'; see `irec_jax.crosstalk.reduce`.
        prior_s: time constant in seconds for the a-priori SNR in the 'mmse' method; longer times
            leave less musical noise but blur onsets. The default is Ephraim and Malah's value, 0.98
            per 8 ms.
        smoothing_s: time constant in seconds for averaging gains over time, which reduces musical
            noise; 0 for no averaging.
        band_edges_hz: edges in Hz between bands with separate weights; empty for a single band.

    Raises:
        UserError: if a value is out of range or a name is unknown.
    """

    frame_length: int = 4096
    hop_length: int = 2048
    window: str = "hamming"
    align: bool = True
    solver: str = "nnls"
    strength: float = 1.0
    floor: float = 0.0
    method: str = "mask"
    prior_s: float = 0.4
    smoothing_s: float = 0.0
    band_edges_hz: Sequence[float] = ()

    def __post_init__(self):
        for kind, name, known in (
            ("solver", self.solver, SOLVERS),
            ("method", self.method, METHODS),
            ("window", self.window, WINDOWS),
        ):
            if name not in known:
                raise registry.unknown(kind, name, known)
        if not 16 <= self.frame_length <= 1 << 16:
            raise UserError(f"frame_length={self.frame_length}: expected 16 to 65536 samples")
        if not 1 <= self.hop_length <= self.frame_length // 2:
            limit = f"{self.frame_length // 2} samples (half a frame)"
            raise UserError(f"hop_length={self.hop_length}: expected 1 to {limit}")
        if not 0 <= self.strength < np.inf:
            raise UserError(
                f"strength={self.strength}: expected 0 or more; 1 removes the "
                "estimated crosstalk, 2 twice as much"
            )
        if not 0 <= self.floor <= 1:
            raise UserError(f"floor={self.floor}: expected a gain from 0 (none) to 1")
        for name in ("prior_s", "smoothing_s"):
            if not 0 <= getattr(self, name) <= _MAX_TIME_S:
                raise UserError(
                    f"{name}={getattr(self, name)}: expected 0 to {_MAX_TIME_S:g} seconds"
                )
        edges = tuple(self.band_edges_hz)
        object.__setattr__(self, "band_edges_hz", edges)  # jit needs hashable settings
        if not all(0 < edge < np.inf for edge in edges) or list(edges) != sorted(set(edges)):
            raise UserError(f"band_edges_hz={edges}: expected positive, increasing frequencies")

    def bands(self, sample_rate_hz: float) -> tuple[tuple[int, int], ...]:
        """Return each band's first bin and the bin after its last bin.

        Raises:
            UserError: if a band contains no bins.
        """
        num_bins = self.frame_length // 2 + 1
        bin_hz = sample_rate_hz / self.frame_length
        edges = [0, *(round(hz / bin_hz) for hz in self.band_edges_hz), num_bins]
        bands = tuple(itertools.pairwise(edges))
        if any(high <= low for low, high in bands):
            raise UserError(
                f"band_edges_hz={self.band_edges_hz}: every band below {sample_rate_hz / 2:g} Hz "
                f"must contain a bin (bin spacing {bin_hz:.3g} Hz); move the edges apart"
            )
        return bands


class Crosstalk(NamedTuple):
    """Estimated crosstalk between tracks.

    Attributes:
        amplitudes: [l, j] is the amplitude of track j's direct sound in microphone l; 1 on the
            diagonal, 0 for pairs without a clear delay (for all pairs if tracks are not aligned),
            negative for inverted polarity.
        delays_samples: [l, j] is the delay of track j in microphone l relative to microphone j.
        weights: lambda in equation 3.1, estimated after alignment.
    """

    amplitudes: Float[np.ndarray, "tracks tracks"]
    delays_samples: Int[np.ndarray, "tracks tracks"]
    weights: Float[np.ndarray, "bands tracks tracks"]

    def inverse_mixing(self) -> Float[np.ndarray, "tracks tracks"]:
        """Return an estimate of the inverse mixing matrix A^-1 (section 3.3.2).

        The estimate is the inverse of `amplitudes`. If no track has direct sound in another track,
        the estimate is I - Lambda instead, with the weights Lambda averaged over bands.
        """
        identity = np.eye(len(self.amplitudes))
        if np.array_equal(self.amplitudes, identity):
            return identity - self.weights.mean(0)
        return np.linalg.inv(self.amplitudes)
