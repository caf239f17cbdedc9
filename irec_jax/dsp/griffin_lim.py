"""Signal reconstruction from STFT magnitudes with the fast Griffin-Lim algorithm."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float, Inexact, PRNGKeyArray

from irec_jax.dsp.checks import check_floating, check_positive
from irec_jax.dsp.framing import num_frames
from irec_jax.dsp.stft import istft, power, stft

# About this many STFT frames and their intermediate results fit in a CPU's caches.
_FRAMES_PER_BATCH = 256


def griffin_lim(
    magnitudes: Float[Array | np.ndarray, "... frames bins"],
    *,
    frame_length: int,
    hop_length: int,
    num_samples: int,
    window: str = "hann",
    padding: str = "center",
    num_iterations: int = 32,
    momentum: float = 0.99,
    initial_phase: Inexact[Array | np.ndarray, "..."] | None = None,
    key: PRNGKeyArray | None = None,
) -> Float[Array, "... {num_samples}"]:
    """Return a signal with approximately the given STFT magnitudes.

    This is the fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013). Let x be the
    signal after the previous iteration and x' the signal one iteration earlier (initially x' = x).
    Each iteration computes the STFT of x + momentum (x - x'), replaces its magnitudes with the
    given magnitudes, and inverts it in the least-squares sense to obtain the new x. The momentum is
    applied to signals, not to spectra as in the paper. Since the STFT is linear, the iterates are
    the same, and no spectrum has to be kept between iterations. The iterates equal those of
    `librosa.griffinlim`.

    Args:
        magnitudes: |X|, >= 0, of an STFT X as returned by `stft`.
        frame_length, hop_length, window, padding: as for `stft`.
        num_samples: T, the signal length; must match the number of frames.
        num_iterations: number of iterations, >= 0; 0 gives the inverse STFT with the initial phase.
        momentum: 0 (Griffin and Lim 1984) to 1.
        initial_phase: angles in radians, or complex numbers with these angles; its shape must
            broadcast against the shape of `magnitudes`. If None, the angles are random.
        key: PRNG key for the random angles, which are the same for all examples; if None, key 0.

    Returns:
        The signal. Samples that the windows do not determine (at the start, with padding
        'end') are attenuated, as in `istft` with `exact=False`.

    Raises:
        ValueError: if the number of frames or bins is wrong.
    """
    check_floating("magnitudes", magnitudes)
    check_positive(frame_length=frame_length, hop_length=hop_length, num_samples=num_samples)
    if num_iterations < 0 or num_iterations != int(num_iterations):
        raise ValueError(f"num_iterations={num_iterations!r}: expected an integer >= 0")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum={momentum!r}: expected 0..1; the iteration diverges above 1")
    framing: dict[str, Any] = dict(
        frame_length=frame_length, hop_length=hop_length, padding=padding
    )
    expected = (num_frames(num_samples, **framing), frame_length // 2 + 1)
    if magnitudes.shape[-2:] != expected:
        raise ValueError(
            f"magnitudes: expected shape (..., {expected[0]}, {expected[1]}) for {num_samples} "
            f"samples with {framing}, got {magnitudes.shape}"
        )
    if initial_phase is None:
        key = jax.random.key(0) if key is None else key
        initial_phase = jax.random.uniform(key, expected, magnitudes.dtype, 0.0, 2 * jnp.pi)
    return _griffin_lim(
        magnitudes,
        jnp.asarray(initial_phase),
        options=(*framing.items(), ("window", window)),
        num_samples=num_samples,
        num_iterations=int(num_iterations),
        momentum=float(momentum),
    )


def with_phase(
    magnitudes: Float[Array | np.ndarray, "*shape"],
    phase: Inexact[Array | np.ndarray, "#*shape"],
) -> Complex[Array, "*shape"]:
    """Return complex numbers with the given magnitudes and phases.

    Args:
        magnitudes: absolute values, >= 0.
        phase: angles in radians, or complex numbers with these angles (0 has the angle 0).
    """
    if not jnp.iscomplexobj(phase):
        return jnp.multiply(magnitudes, jax.lax.complex(jnp.cos(phase), jnp.sin(phase)))
    squared = power(phase)
    tiny = jnp.finfo(squared.dtype).tiny
    return jnp.where(
        squared >= tiny,
        phase * (magnitudes * jax.lax.rsqrt(jnp.maximum(squared, tiny))),
        magnitudes.astype(phase.dtype),
    )


@functools.partial(
    jax.jit, static_argnames=("options", "num_samples", "num_iterations", "momentum")
)
def _griffin_lim(magnitudes, phase, *, options, num_samples, num_iterations, momentum) -> Array:
    framing = dict(options)

    def inverse(spectrum: Array) -> Array:
        return istft(spectrum, num_samples=num_samples, exact=False, **framing)

    def invert(example: tuple[Array, Array]) -> Array:
        magnitudes, phase = example

        def iteration(_, signals):
            signal, previous = signals
            extrapolated = signal + momentum * (signal - previous)
            return inverse(with_phase(magnitudes, stft(extrapolated, **framing))), signal

        first = inverse(with_phase(magnitudes, phase))
        return jax.lax.fori_loop(0, num_iterations, iteration, (first, first))[0]

    num_examples = magnitudes[..., 0, 0].size
    batch_size = max(1, _FRAMES_PER_BATCH // magnitudes.shape[-2])
    if num_examples <= batch_size:
        return invert((magnitudes, phase))

    # On CPUs, process a few examples at a time, so that their spectra stay in the caches.
    def in_batches(magnitudes: Array, phase: Array) -> Array:
        shape = magnitudes.shape
        flat = [x.reshape(-1, *shape[-2:]) for x in (magnitudes, jnp.broadcast_to(phase, shape))]
        signals = jax.lax.map(invert, tuple(flat), batch_size=batch_size)
        return signals.reshape(*shape[:-2], num_samples)

    return jax.lax.platform_dependent(
        magnitudes, phase, cpu=in_batches, default=lambda *example: invert(example)
    )
