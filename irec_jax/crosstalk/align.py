"""Alignment: estimate each track's direct sound in the other microphones and remove it.

Seipel subtracts magnitudes, which damages sources that overlap in time and frequency. The direct
part of crosstalk, however, is a copy: track j arrives at microphone l scaled by a_lj and delayed by
d_lj. Both can be measured where j dominates:

1. Estimate the power P_j(n, k) of every source, initially from the weights of `estimate`.
2. Mark the bins of microphone j in which j dominates, w_j = [P_j / sum_i a_ji^2 P_i]^32.
3. Measure the delay d_lj: the position of the largest peak (positive or negative) in the inverse
   transform of sum_n w_j X_l X_j* / |X_l X_j| (generalised cross-correlation with phase transform).
   If the peak is clear, a_lj = sum w_j Re[X_l X_j* exp(i omega d)] / (rho(d) sum w_j |X_j|^2),
   where rho, the window's autocorrelation, compensates for the part of a delayed sound outside the
   frame.
4. Remove the direct sound: Z(n, k) = H(k)^-1 X(n, k) with H_lj(k) = a_lj exp(-i omega_k d_lj).
   |Z_j|^2 is the next estimate of P_j; repeat from step 2 until convergence.

Sound without a clear delay, such as diffuse sound, remains for Seipel's method to reduce.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Complex, Complex64, Float, Float64, Int, Int64

from irec_jax.crosstalk.estimate import estimate, gram
from irec_jax.crosstalk.reduce import einsum
from irec_jax.dsp.stft import magnitude, power
from irec_jax.dsp.window_functions import get_window

#: Minimum cross-correlation peak, in standard deviations of the correlation's noise.
MIN_PEAK = 8.0
#: Maximum delay, as a fraction of the frame length.
MAX_DELAY_FRAMES = 0.375
_SHARPNESS = 32
_ACTIVE = 1e-6  # bins below this fraction of a track's maximum power are silent
_MAX_ROUNDS = 8
# Convergence: maximum fraction of changed delays, and maximum relative change in amplitude (mean
# change divided by mean amplitude).
_TOLERANCE = 0.01
# Maximum |a_lj a_jl|: at any track levels, the path to another microphone and back attenuates.
_MAX_RETURN = 0.99**2
# If microphones record nearly the same signal, the exact inverse would amplify every error.
_REGULARISATION = 1e-3
_TINY = 1e-20


def estimate_direct_sound(
    spectra: Sequence[Complex[Array, "tracks frames bins"]],
    *,
    frame_length: int,
    window: str,
    solver: str = "nnls",
) -> tuple[Float64[np.ndarray, "tracks tracks"], Int64[np.ndarray, "tracks tracks"]]:
    """Estimate the amplitude and the delay of each track's direct sound in every microphone.

    Args:
        spectra: spectra from all microphones, in equally shaped chunks; half a minute of audio is
            enough, but a minute is better.
        frame_length, window: STFT settings.
        solver: solver for the weights in the first estimate.

    Returns:
        ``amplitudes`` (1 on the diagonal, 0 without a clear delay, negative for inverted polarity)
        and ``delays_samples``.
    """
    grams = [np.asarray(gram(magnitude(chunk)), np.float64) for chunk in spectra]
    weights = estimate(np.mean(grams, axis=0), solver=solver)
    num_tracks = len(weights)
    max_powers = jnp.stack([power(chunk).max((1, 2)) for chunk in spectra]).max(0)
    model = np.eye(num_tracks) + weights
    powers = functools.partial(_subtracted_powers, weights=jnp.asarray(weights, jnp.float32))
    amplitudes, delays = np.eye(num_tracks), np.zeros((num_tracks, num_tracks), np.int64)
    for _ in range(_MAX_ROUNDS):
        squares = jnp.asarray(np.square(model), jnp.float32)
        chunk_sums = (_statistics(chunk, powers(chunk), squares, max_powers) for chunk in spectra)
        sums = functools.reduce(functools.partial(jax.tree.map, jnp.add), chunk_sums)
        sums = map(np.asarray, sums)
        new_amplitudes, new_delays = _fit(*sums, frame_length=frame_length, window=window)
        converged = np.mean(new_delays != delays) < _TOLERANCE and (
            np.abs(new_amplitudes - amplitudes).mean() < _TOLERANCE * amplitudes.mean()
        )
        amplitudes, delays = new_amplitudes, new_delays
        if converged:
            break
        # Pairs without a clear delay keep their weight in the dominance model.
        model = np.where(amplitudes != 0, amplitudes, model)
        matrix = demixing(amplitudes, delays, frame_length=frame_length)
        powers = functools.partial(_demixed_powers, matrix=matrix)
    return amplitudes, delays


def demixing(
    amplitudes: Float[np.ndarray, "tracks tracks"],
    delays: Int[np.ndarray, "tracks tracks"],
    *,
    frame_length: int,
) -> Complex64[Array, "bins tracks tracks"]:
    """Return the matrices that remove the direct sound: the regularised H(k)^-1.

    H is balanced first, so that track levels have no effect.

    Args:
        amplitudes: direct-sound amplitudes, with ones on the diagonal.
        delays: direct-sound delays in samples.
        frame_length: STFT frame length in samples.

    Returns:
        One matrix per bin, to be passed to `demix`.
    """
    _, (levels, _) = scipy.linalg.matrix_balance(np.abs(amplitudes), permute=False, separate=True)
    levels = levels[:, None] / levels
    mixing = amplitudes / levels * np.exp(-1j * _omega(frame_length) * delays)
    conjugate = mixing.conj().swapaxes(-1, -2)
    ridge = _REGULARISATION * np.eye(len(amplitudes))
    inverse = np.linalg.solve(conjugate @ mixing + ridge, conjugate)
    return jnp.asarray(inverse * levels * (1 + _REGULARISATION), jnp.complex64)


def _omega(frame_length: int) -> np.ndarray:
    """Return the angular bin frequencies in radians per sample, (bins, 1, 1)."""
    return 2 * np.pi * np.arange(frame_length // 2 + 1)[:, None, None] / frame_length


@jax.jit
def demix(
    spectra: Complex[Array, "tracks frames bins"], matrix: Complex[Array, "bins tracks tracks"]
) -> Complex[Array, "tracks frames bins"]:
    """Return Z(n, k) = matrix(k) X(n, k)."""
    return einsum("kjl,lnk->jnk", matrix, spectra)


@jax.jit
def _subtracted_powers(spectra: jax.Array, weights: jax.Array) -> jax.Array:
    magnitudes = magnitude(spectra)
    residual = magnitudes - einsum("lj,jnk->lnk", weights, magnitudes)
    return jnp.square(jnp.maximum(residual, 0))


@jax.jit
def _demixed_powers(spectra: jax.Array, matrix: jax.Array) -> jax.Array:
    return power(demix(spectra, matrix))


@jax.jit
def _statistics(spectra: jax.Array, powers: jax.Array, squares: jax.Array, max_powers: jax.Array):
    """Sum phases, cross spectra (bins, l, j), dominance and energies (bins, j) over frames."""
    total_powers = einsum("lj,jnk->lnk", squares, powers)
    dominance = (powers / jnp.maximum(total_powers, _TINY)) ** _SHARPNESS
    dominance = jnp.where(powers > _ACTIVE * max_powers[:, None, None], dominance, 0)
    directions = spectra / jnp.maximum(magnitude(spectra), _TINY)
    phases = einsum("lnk,jnk->klj", directions, dominance * directions.conj())
    cross = einsum("lnk,jnk->klj", spectra, dominance * spectra.conj())
    return phases, cross, dominance.sum(1).T, (dominance * power(spectra)).sum(1).T


def _fit(phases, cross, weights, energies, *, frame_length: int, window: str):
    """Return amplitudes and delays (J, J), computed from the sums that `_statistics` returns."""
    num_tracks = phases.shape[-1]
    off_diagonal = ~np.eye(num_tracks, dtype=bool)
    # Limit the influence of bins in which a track rarely dominates.
    normalisation = np.maximum(weights, 1e-3 * weights.max(0, keepdims=True) + _TINY)
    correlation = np.fft.irfft(phases / normalisation[:, None, :], frame_length, axis=0)
    correlation = correlation[: frame_length // 2]
    # The median magnitude of a normal distribution is 0.6745 standard deviations.
    noise = np.median(np.abs(correlation), axis=0) / 0.6745
    candidates = correlation[: max(1, round(MAX_DELAY_FRAMES * frame_length))]
    # With opposite polarity, or behind a figure-of-eight microphone, the peak is negative.
    delays = np.where(off_diagonal, np.abs(candidates).argmax(0), 0)
    peaks = np.take_along_axis(candidates, delays[None], axis=0)[0]
    clear = off_diagonal & (np.abs(peaks) > MIN_PEAK * noise)
    coherent = np.real(cross * np.exp(1j * _omega(frame_length) * delays)).sum(0)
    energy = energies.sum(0)
    amplitudes = coherent / np.where(energy > 0, energy, np.inf)
    shape = get_window(window, frame_length)
    overlap = np.fft.irfft(np.square(np.abs(np.fft.rfft(shape, 2 * frame_length))))
    amplitudes = amplitudes * overlap[0] / overlap[delays]
    clear &= amplitudes * peaks > 0
    amplitudes = np.where(clear, amplitudes, 0)
    round_trip = np.abs(amplitudes * amplitudes.T)
    amplitudes *= np.sqrt(np.minimum(1, _MAX_RETURN / np.maximum(round_trip, _TINY)))
    return amplitudes + np.eye(num_tracks), np.where(clear, delays, 0)
