"""Crosstalk suppression without musical noise: Ephraim and Malah's rule, and smoothed gains.

Gains that are computed independently for each bin and frame let through isolated crosstalk bins,
which are heard as short tones: musical noise (Seipel 2018, section 3.4). Both remedies in this
module use the previous frame. The chunks of a recording are therefore processed in order, and a
`Memory` is passed from one chunk to the next.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

#: Limits of the a-priori and a-posteriori SNR, as power ratios. The lower limit of the a-priori
#: SNR, -25 dB, masks variations of the remaining crosstalk (Cappé 1994).
MIN_PRIOR = 10**-2.5
_MAX_SNR = 1e8
_TINY = 1e-20


class Memory(NamedTuple):
    """Suppression state after a frame.

    Attributes:
        amplitudes: magnitudes after suppression; negative before the first frame.
        gains: smoothed gains; negative before the first frame.
    """

    amplitudes: Float[Array, "*batch tracks bins"]
    gains: Float[Array, "*batch tracks bins"]


def start(shape: tuple[int, ...]) -> Memory:
    """Return the state before the first frame for a shape (..., tracks, bins)."""
    return Memory(-jnp.ones(shape), -jnp.ones(shape))


def mmse_gain(
    prior: Float[ArrayLike, "*shape"], posterior: Float[ArrayLike, "*shape"]
) -> Float[Array, "*shape"]:
    """Return the gain of the minimum mean-square error short-time spectral amplitude estimator.

        G = Gamma(1.5) sqrt(v) / gamma exp(-v / 2) [(1 + v) I0(v / 2) + v I1(v / 2)]        (7)
        v = xi / (1 + xi) gamma                                                             (8)

    Args:
        prior: a-priori SNR xi > 0, the expected target power divided by the interference power.
        posterior: a-posteriori SNR gamma > 0, the bin's power divided by the interference power.

    Returns:
        G > 0; nearly xi / (1 + xi), the Wiener gain, for large v, and above 1 for small gamma.

    References:
        Ephraim and Malah (1984): Speech enhancement using a minimum mean-square error short-time
        spectral amplitude estimator. IEEE Transactions on Acoustics, Speech, and Signal Processing
        32(6), equations 7 and 8.
    """
    prior, posterior = jnp.asarray(prior), jnp.asarray(posterior)
    v = prior / (1 + prior) * posterior
    # The scaled Bessel functions include the exponential, which would underflow on its own.
    bessel = (1 + v) * jax.scipy.special.i0e(v / 2) + v * jax.scipy.special.i1e(v / 2)
    return np.sqrt(np.pi) / 2 * jnp.sqrt(v) / posterior * bessel


def decision_directed(
    magnitudes: Float[Array | np.ndarray, "*batch tracks frames bins"],
    crosstalk: Float[Array | np.ndarray, "*batch tracks frames bins"],
    amplitudes: Float[Array | np.ndarray, "*batch tracks bins"],
    *,
    weight: Float[ArrayLike, ""],
) -> tuple[
    Float[Array, "*batch tracks frames bins"],
    Float[Array, "*batch tracks bins"],
]:
    """Return Ephraim and Malah's gains with the decision-directed a-priori SNR.

    With magnitudes X, estimated crosstalk C, gain G and resulting amplitudes A = G X:

        gamma(n) = X(n)^2 / C(n)^2                                                         (10)
        xi(n) = weight A(n - 1)^2 / C(n)^2 + (1 - weight) max(gamma(n) - 1, 0)             (51)

    xi is at least `MIN_PRIOR`. The paper, which assumes stationary noise, takes the denominator of
    the first term from frame n - 1. Crosstalk starts and stops, so here the denominator is taken
    from the frame that the gain applies to. In the first frame, A^2 / C^2 is set to 1.

    Args:
        magnitudes: X >= 0.
        crosstalk: C >= 0.
        amplitudes: A in the frame before the first one; negative if there is no such frame.
        weight: 0 to 1; the paper uses 0.98 for frames 8 ms apart.

    Returns:
        Gains from 0 to 1, and the amplitudes of the last frame. Gains are 1 in bins without
        crosstalk. (The paper's gains exceed 1 where gamma is small.)
    """

    def step(previous: Array, frame: tuple[Array, Array]) -> tuple[Array, Array]:
        magnitude, noise = frame
        noise_power = jnp.maximum(jnp.square(noise), _TINY)
        posterior = jnp.clip(jnp.square(magnitude) / noise_power, _TINY, _MAX_SNR)
        kept = jnp.where(previous < 0, 1, jnp.square(previous) / noise_power)
        prior = weight * kept + (1 - weight) * jnp.maximum(posterior - 1, 0)
        gain = mmse_gain(jnp.clip(prior, MIN_PRIOR, _MAX_SNR), posterior)
        gain = jnp.where(noise > 0, jnp.minimum(gain, 1), 1)
        return gain * magnitude, gain

    frames = (jnp.moveaxis(magnitudes, -2, 0), jnp.moveaxis(crosstalk, -2, 0))
    last, gains = jax.lax.scan(step, jnp.asarray(amplitudes), frames)
    return jnp.moveaxis(gains, 0, -2), last


def smooth(
    gains: Float[Array | np.ndarray, "*batch tracks frames bins"],
    previous: Float[Array | np.ndarray, "*batch tracks bins"],
    *,
    coefficient: Float[ArrayLike, ""],
) -> tuple[
    Float[Array, "*batch tracks frames bins"],
    Float[Array, "*batch tracks bins"],
]:
    """Average gains recursively over frames: s(n) = c s(n - 1) + (1 - c) g(n).

    Args:
        gains: g.
        previous: s in the frame before the first one; negative if there is no such frame, so that
            s(0) = g(0).
        coefficient: c, from 0 (no averaging) to below 1.

    Returns:
        Smoothed gains, and the smoothed gains of the last frame.
    """

    def step(last: Array, gain: Array) -> tuple[Array, Array]:
        smoothed = jnp.where(last < 0, gain, coefficient * last + (1 - coefficient) * gain)
        return smoothed, smoothed

    last, smoothed = jax.lax.scan(step, jnp.asarray(previous), jnp.moveaxis(gains, -2, 0))
    return jnp.moveaxis(smoothed, 0, -2), last


def per_frame(time_s: float, *, hop_length: int, sample_rate_hz: float) -> float:
    """Return the coefficient exp(-hop / time constant) for recursive averaging over frames.

    Args:
        time_s: time constant in seconds; 0 for no averaging.
        hop_length: number of samples between frames.
    """
    return float(np.exp(-hop_length / (sample_rate_hz * time_s))) if time_s else 0.0
