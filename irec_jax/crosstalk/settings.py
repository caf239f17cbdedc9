"""How crosstalk is analysed and reduced, and what the analysis finds."""

import dataclasses
from typing import NamedTuple

import numpy as np

from irec_jax import registry
from irec_jax.crosstalk.estimate import SOLVERS
from irec_jax.crosstalk.reduce import METHODS
from irec_jax.dsp.window_functions import WINDOWS
from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the whole way from tracks to reduced tracks.

    The defaults of the transform are the source's; ``align=False, method="subtraction"`` is the
    source's method, with ``solver="momentum"`` to the letter.

    Attributes:
        frame_length, hop_length: of the STFT, in samples; the hop is at most half a frame.
        window: a name in `irec_jax.dsp.window_functions.WINDOWS`.
        align: first take away the direct sound of the other tracks with its delay and phase; see
            `irec_jax.crosstalk.align`.
        solver: of the weights, 'nnls' or 'momentum'; see `irec_jax.crosstalk.estimate`.
        strength: what is taken from what alignment leaves, in units of the estimate: more reduces
            more and harms more.
        floor: amplitude, 0 to 1, below which no bin is lowered, relative to what alignment leaves.
        method: 'subtraction' or 'mask'; see `irec_jax.crosstalk.reduce`.
        band_edges_hz: edges in Hz between bands that have weights of their own, any sequence;
            none: one band.

    Raises:
        UserError: a value out of range or an unknown name.
    """

    frame_length: int = 4096
    hop_length: int = 2048
    window: str = "hamming"
    align: bool = True
    solver: str = "nnls"
    strength: float = 1.0
    floor: float = 0.0
    method: str = "mask"
    band_edges_hz: tuple[float, ...] = ()

    def __post_init__(self):
        for kind, name, known in (
            ("solver", self.solver, SOLVERS),
            ("method", self.method, METHODS),
            ("window", self.window, WINDOWS),
        ):
            if name not in known:
                raise registry.unknown(kind, name, known)
        if not 16 <= self.frame_length <= 1 << 16:
            raise UserError(f"frame_length {self.frame_length}: must lie between 16 and 65536")
        if not 1 <= self.hop_length <= self.frame_length // 2:
            raise UserError(
                f"hop_length {self.hop_length}: must lie between 1 and half a frame "
                f"({self.frame_length // 2})"
            )
        if not 0 <= self.strength < np.inf:
            raise UserError(f"strength {self.strength}: must be 0 or more; 1 is the estimate")
        if not 0 <= self.floor <= 1:
            raise UserError(f"floor {self.floor}: must lie between 0 (none) and 1")
        edges = tuple(self.band_edges_hz)
        object.__setattr__(self, "band_edges_hz", edges)  # jit hashes settings
        if not all(0 < edge < np.inf for edge in edges) or list(edges) != sorted(set(edges)):
            raise UserError(f"band_edges_hz {edges}: must be positive and rise")

    def bands(self, sample_rate_hz: float) -> tuple[tuple[int, int], ...]:
        """First bin of each band and the one after its last.

        Raises:
            UserError: a band without a bin.
        """
        num_bins = self.frame_length // 2 + 1
        bin_hz = sample_rate_hz / self.frame_length
        inner = [round(hz / bin_hz) for hz in self.band_edges_hz]
        edges = [0, *inner, num_bins]
        if any(high <= low for low, high in zip(edges[:-1], edges[1:], strict=True)):
            raise UserError(
                f"band_edges_hz {self.band_edges_hz}: every band below {sample_rate_hz / 2:g} Hz "
                f"must hold one of the bins, which are {bin_hz:.3g} Hz apart"
            )
        return tuple(zip(edges[:-1], edges[1:], strict=True))


class Crosstalk(NamedTuple):
    """What was found in J tracks.

    Attributes:
        amplitudes: (J, J) float64, direct sound of track j in microphone l at [l, j]; ones on the
            diagonal, 0 where no clear delay was found (everywhere without alignment); negative
            where it arrives inverted.
        delays_samples: (J, J) int, how much later than in its own microphone.
        weights: (bands, J, J) float64, lambda of the source for what alignment left.
    """

    amplitudes: np.ndarray
    delays_samples: np.ndarray
    weights: np.ndarray

    def inverse_mixing(self) -> np.ndarray:
        """The estimate of A^-1, (J, J), that this is (section 3.3.2).

        The inverse of the direct sound's amplitudes; I - L with the weights L, averaged over bands,
        if no track has direct sound in another one.
        """
        identity = np.eye(len(self.amplitudes))
        if np.array_equal(self.amplitudes, identity):
            return identity - self.weights.mean(0)
        return np.linalg.inv(self.amplitudes)
