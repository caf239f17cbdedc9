"""Signals from magnitudes alone: the fast Griffin-Lim algorithm."""

import functools

import jax
import jax.numpy as jnp

from irec_jax.dsp.checks import check_floating, check_positive
from irec_jax.dsp.framing import num_frames
from irec_jax.dsp.stft import istft, power, stft

# About as many STFT frames stay in the caches of a CPU together with what is made of them.
_FRAMES_PER_CHUNK = 256


def griffin_lim(
    magnitudes: jax.Array,
    *,
    frame_length: int,
    hop_length: int,
    num_samples: int,
    window: str = "hann",
    padding: str = "center",
    num_iterations: int = 32,
    momentum: float = 0.99,
    initial_phase: jax.Array | None = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """A signal whose STFT has about these magnitudes (Perraudin, Balazs and Sondergaard 2013).

    Each iteration takes the spectrum of t = x + momentum (x - x'), with x the signal of the last
    iteration and x' that of the one before (first of all x' = x), gives it the magnitudes that are
    wanted, and makes x of it, the signal whose STFT is nearest. The momentum acts on signals, not
    on spectra as in the paper: the STFT is linear, so the iterates are the same, and no spectrum is
    kept from one iteration to the next. They are those of `librosa.griffinlim`, too.

    Args:
        magnitudes: |X|, floats >= 0 (..., frames, frame_length // 2 + 1), as `stft` gives them.
        frame_length, hop_length, window, padding: those of `stft`.
        num_samples: T, length of the signal; must make as many frames.
        num_iterations: 0 or more; 0 is the inverse STFT with the initial phase.
        momentum: 0 (Griffin and Lim 1984) to 1.
        initial_phase: angles in radians, or complex numbers that have them, of a shape that
            broadcasts against that of `magnitudes`. None: random angles.
        key: PRNG key of the random angles, which are the same for all examples; None: key 0.

    Returns:
        float (..., T). Where windows do not determine a sample (at the start, with padding 'end'),
        it is faded out, as `istft` does with `exact=False`.

    Raises:
        ValueError: an option out of range, or another number of frames or bins.
        AssertionError: `magnitudes` is not floating point.
    """
    check_floating("magnitudes", magnitudes)
    check_positive(frame_length=frame_length, hop_length=hop_length, num_samples=num_samples)
    if num_iterations < 0 or num_iterations != int(num_iterations):
        raise ValueError(f"num_iterations is {num_iterations!r}: must be a whole number, 0 or more")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum!r}: must be 0..1; above 1 nothing converges")
    framing = dict(frame_length=frame_length, hop_length=hop_length, padding=padding)
    expected = (num_frames(num_samples, **framing), frame_length // 2 + 1)
    if magnitudes.shape[-2:] != expected:
        raise ValueError(
            f"magnitudes has shape {magnitudes.shape}: {num_samples} samples with {framing} make "
            f"(..., {expected[0]}, {expected[1]})"
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


def with_phase(magnitudes: jax.Array, phase: jax.Array) -> jax.Array:
    """Complex numbers with these magnitudes and the angles of others.

    Args:
        magnitudes: floats >= 0, any shape.
        phase: angles in radians, or complex numbers (0 counts as having the angle 0), of a shape
            that broadcasts against that of `magnitudes`.

    Returns:
        complex, of the shape of `magnitudes`.
    """
    if not jnp.iscomplexobj(phase):
        return magnitudes * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
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
def _griffin_lim(magnitudes, phase, *, options, num_samples, num_iterations, momentum) -> jax.Array:
    framing = dict(options)

    def inverse(spectrum: jax.Array) -> jax.Array:
        return istft(spectrum, num_samples=num_samples, exact=False, **framing)

    def invert(example: tuple[jax.Array, jax.Array]) -> jax.Array:
        magnitudes, phase = example

        def iteration(_, signals):
            signal, before = signals
            ahead = signal + momentum * (signal - before)
            return inverse(with_phase(magnitudes, stft(ahead, **framing))), signal

        first = inverse(with_phase(magnitudes, phase))
        return jax.lax.fori_loop(0, num_iterations, iteration, (first, first))[0]

    num_examples = magnitudes[..., 0, 0].size
    chunk = max(1, _FRAMES_PER_CHUNK // magnitudes.shape[-2])
    if num_examples <= chunk:
        return invert((magnitudes, phase))

    # A few examples after another, on CPUs: their spectra stay in the caches over all iterations.
    def in_chunks(magnitudes: jax.Array, phase: jax.Array) -> jax.Array:
        shape = magnitudes.shape
        flat = [x.reshape(-1, *shape[-2:]) for x in (magnitudes, jnp.broadcast_to(phase, shape))]
        signals = jax.lax.map(invert, tuple(flat), batch_size=chunk)
        return signals.reshape(*shape[:-2], num_samples)

    return jax.lax.platform_dependent(
        magnitudes, phase, cpu=in_chunks, default=lambda *example: invert(example)
    )
