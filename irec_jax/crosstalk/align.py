"""The direct sound of each track in the other microphones, found and taken out with its phase.

The source subtracts magnitudes, which harms what sounds at the same time at the same frequency. But
the direct part of crosstalk is a copy: track j arrives in microphone l softer by a_lj and later by
d_lj, which amplitude and phase show where j alone dominates:

1. An estimate of every source's power P_j(n, k): from the weights of `estimate` at first.
2. w_j = [P_j / sum_i a_ji^2 P_i]^32 marks the bins of microphone j in which j dominates.
3. The peak of the inverse transform of sum_n w_j X_l X_j* / |X_l X_j| (a generalised cross
   correlation with phase transform), of either sign, is the delay, if it stands out; then
   a_lj = sum w_j Re[X_l X_j* exp(i omega d)] / (rho(d) sum w_j |X_j|^2), where rho, the window's
   autocorrelation, makes up for the part of a delayed sound that lies outside the frame.
4. Z(n, k) = H(k)^-1 X(n, k) with H_lj(k) = a_lj exp(-i omega_k d_lj) takes the direct sound out,
   and |Z_j|^2 is the next estimate of P_j: from 2 again, until nothing changes.

What has no clear delay (diffuse sound, silence) stays, for the source's method to take out.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from irec_jax.crosstalk.estimate import estimate, gram
from irec_jax.dsp.stft import magnitude, power
from irec_jax.dsp.window_functions import get_window

#: A peak of the cross correlation counts if it is so many standard deviations above the noise.
MIN_PEAK = 8.0
#: Longest delay that is looked for, as a part of the frame.
MAX_DELAY_FRAMES = 0.375
_SHARPNESS = 32
_ACTIVE = 1e-6  # of a track's greatest power: bins below are silence
_MAX_ROUNDS = 8
# The rounds end when fewer delays change than this, and the mean amplitude changes less.
_TOLERANCE = 0.01
# Of the way from a track to another one and back: whatever their levels, it is softer than 1.
_MAX_RETURN = 0.99**2
# Where the microphones hear nearly the same, the exact inverse would magnify every error.
_REGULARISATION = 1e-3
_TINY = 1e-20
# Accelerators multiply matrices of float32 with fewer digits unless they are told.
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def find_direct_sound(
    spectra: Sequence[jax.Array], *, frame_length: int, window: str, solver: str = "nnls"
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes and delays of the direct sound of every track in every microphone.

    Args:
        spectra: of all J microphones, in pieces complex64 (J, frames, bins) of equal shape; half a
            minute is enough, a minute better.
        frame_length, window: of the STFT.
        solver: of the weights that are the first estimate.

    Returns:
        ``amplitudes`` float64 (J, J), ones on the diagonal, 0 where no delay stands out, negative
        where the sound arrives inverted, and ``delays_samples`` int64 (J, J).
    """
    grams = [np.asarray(gram(magnitude(piece)), np.float64) for piece in spectra]
    weights = estimate(np.mean(grams, axis=0), solver=solver)
    num_tracks = len(weights)
    loudest = jnp.stack([power(piece).max((1, 2)) for piece in spectra]).max(0)
    model = np.eye(num_tracks) + weights
    powers = functools.partial(_subtracted_powers, weights=jnp.asarray(weights, jnp.float32))
    amplitudes, delays = np.eye(num_tracks), np.zeros((num_tracks, num_tracks), np.int64)
    for _ in range(_MAX_ROUNDS):
        squares = jnp.asarray(np.square(model), jnp.float32)
        sums = None
        for piece in spectra:
            found = _statistics(piece, powers(piece), squares, loudest)
            sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
        found = _fit(*(np.asarray(one) for one in sums), frame_length=frame_length, window=window)
        unchanged = np.mean(found[1] != delays) < _TOLERANCE and (
            np.abs(found[0] - amplitudes).mean() < _TOLERANCE * amplitudes.mean()
        )
        amplitudes, delays = found
        if unchanged:
            break
        # Pairs without a clear delay keep their weight in the model of who dominates where.
        model = np.where(amplitudes != 0, amplitudes, model)
        matrix = demixing(amplitudes, delays, frame_length=frame_length)
        powers = functools.partial(_demixed_powers, matrix=matrix)
    return amplitudes, delays


def demixing(amplitudes: np.ndarray, delays: np.ndarray, *, frame_length: int) -> jax.Array:
    """The matrices that take the direct sound out: H(k)^-1, regularised.

    The levels of the tracks do not matter: H is balanced before.

    Args:
        amplitudes: (J, J), ones on the diagonal.
        delays: (J, J), in samples.
        frame_length: of the STFT.

    Returns:
        complex64 (bins, J, J), for `demix`.
    """
    omega = 2 * np.pi * np.arange(frame_length // 2 + 1)[:, None, None] / frame_length
    _, (levels, _) = scipy.linalg.matrix_balance(np.abs(amplitudes), permute=False, separate=True)
    levels = levels[:, None] / levels
    mixing = amplitudes / levels * np.exp(-1j * omega * delays)
    conjugate = mixing.conj().swapaxes(-1, -2)
    ridge = _REGULARISATION * np.eye(len(amplitudes))
    inverse = np.linalg.solve(conjugate @ mixing + ridge, conjugate)
    return jnp.asarray(inverse * levels * (1 + _REGULARISATION), jnp.complex64)


@jax.jit
def demix(spectra: jax.Array, matrix: jax.Array) -> jax.Array:
    """Z(n, k) = matrix(k) X(n, k): complex (J, frames, bins) to the same shape."""
    return _einsum("kjl,lnk->jnk", matrix, spectra)


@jax.jit
def _subtracted_powers(spectra: jax.Array, weights: jax.Array) -> jax.Array:
    magnitudes = magnitude(spectra)
    rest = magnitudes - _einsum("lj,jnk->lnk", weights, magnitudes)
    return jnp.square(jnp.maximum(rest, 0))


@jax.jit
def _demixed_powers(spectra: jax.Array, matrix: jax.Array) -> jax.Array:
    return power(demix(spectra, matrix))


@jax.jit
def _statistics(spectra: jax.Array, powers: jax.Array, squares: jax.Array, loudest: jax.Array):
    """Sums over frames: phases (bins, l, j), cross spectra (l, j), weights, energies (bins, j)."""
    heard = _einsum("lj,jnk->lnk", squares, powers)
    dominance = (powers / jnp.maximum(heard, _TINY)) ** _SHARPNESS
    dominance = jnp.where(powers > _ACTIVE * loudest[:, None, None], dominance, 0)
    directions = spectra / jnp.maximum(magnitude(spectra), _TINY)
    phases = _einsum("lnk,jnk->klj", directions, dominance * directions.conj())
    cross = _einsum("lnk,jnk->klj", spectra, dominance * spectra.conj())
    return phases, cross, dominance.sum(1).T, (dominance * power(spectra)).sum(1).T


def _fit(phases, cross, weights, energies, *, frame_length: int, window: str):
    """Amplitudes and delays (J, J) from the sums of `_statistics`."""
    num_tracks = phases.shape[-1]
    off_diagonal = ~np.eye(num_tracks, dtype=bool)
    # Bins in which a track hardly ever dominates must not weigh as much as the others.
    enough = np.maximum(weights, 1e-3 * weights.max(0, keepdims=True) + _TINY)
    correlation = np.fft.irfft(phases / enough[:, None, :], frame_length, axis=0)
    correlation = correlation[: frame_length // 2]
    noise = np.median(np.abs(correlation), axis=0) / 0.6745  # of a normal distribution
    reachable = correlation[: max(1, round(MAX_DELAY_FRAMES * frame_length))]
    # Of a microphone of opposite polarity, or behind a figure of eight, the peak points down.
    delays = np.where(off_diagonal, np.abs(reachable).argmax(0), 0)
    peaks = np.take_along_axis(reachable, delays[None], axis=0)[0]
    clear = off_diagonal & (np.abs(peaks) > MIN_PEAK * noise)
    omega = 2 * np.pi * np.arange(frame_length // 2 + 1)[:, None, None] / frame_length
    coherent = np.real(cross * np.exp(1j * omega * delays)).sum(0)
    energy = energies.sum(0)
    amplitudes = coherent / np.where(energy > 0, energy, np.inf)
    shape = get_window(window, frame_length)
    overlap = np.fft.irfft(np.square(np.abs(np.fft.rfft(shape, 2 * frame_length))))
    amplitudes = amplitudes * overlap[0] / overlap[delays]
    clear &= amplitudes * peaks > 0
    amplitudes = np.where(clear, amplitudes, 0)
    returned = np.abs(amplitudes * amplitudes.T)
    amplitudes *= np.sqrt(np.minimum(1, _MAX_RETURN / np.maximum(returned, _TINY)))
    return amplitudes + np.eye(num_tracks), np.where(clear, delays, 0)
