"""Random time stretch and pitch shift with a phase vocoder."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from irec_jax.dsp.cpu_batching import sequential_vmap_on_cpu
from irec_jax.dsp.phase_vocoder import change_speed, time_stretch
from irec_jax.errors import UserError

SEMITONES = 12


def check_tempo(stretch: Sequence[float], pitch_semitones: float) -> tuple[float, ...]:
    """Return `augment.stretch` as a tuple; raise UserError if it or the pitch shift is invalid."""
    if not 0 <= pitch_semitones <= SEMITONES:
        raise UserError(f"augment.pitch_semitones={pitch_semitones}: expected 0 to {SEMITONES}")
    if len(stretch) != 2 or not 0.5 <= stretch[0] <= stretch[1] <= 1:
        raise UserError(
            f"augment.stretch={tuple(stretch)}: expected the smallest and the largest rate, both "
            "within 0.5..1"
        )
    return tuple(stretch)


def change_tempo(
    stretch_key: PRNGKeyArray,
    pitch_key: PRNGKeyArray,
    signals: Float[Array | np.ndarray, "signals samples"],
    *,
    stretch: tuple[float, ...],
    pitch_semitones: float,
    whole_semitones: bool = False,
) -> Float[Array | np.ndarray, "signals samples"]:
    """Apply the same random time stretch and pitch shift to all signals, keeping their length.

    Args:
        stretch_key, pitch_key: random keys.
        signals: input signals; the phase vocoder processes each of them separately.
        stretch: smallest and largest rate, within 0.5..1; at rate r the first r T samples are
            slowed down to T samples without changing their pitch.
        pitch_semitones: largest pitch shift (at most 12); the shift is drawn uniformly from
            -pitch_semitones..pitch_semitones and does not change the duration.
        whole_semitones: whether to draw only whole semitones.
    """
    if stretch == (1.0, 1.0) and not pitch_semitones:
        return signals
    low, high = stretch
    rate = jax.random.uniform(stretch_key, minval=low, maxval=high) if low < high else low
    if whole_semitones:
        largest = math.floor(pitch_semitones)
        semitones = jax.random.randint(pitch_key, (), -largest, largest + 1).astype(jnp.float32)
    else:
        semitones = jax.random.uniform(pitch_key, minval=-pitch_semitones, maxval=pitch_semitones)
    apply = sequential_vmap_on_cpu(functools.partial(_apply, pitch_semitones))
    return apply(signals, jnp.float32(rate), 2 ** (semitones / SEMITONES))


def _apply(
    pitch_semitones: float,
    signals: Float[Array | np.ndarray, "signals samples"],
    rate: Float[Array, ""],
    speed: Float[Array, ""],
) -> Float[Array | np.ndarray, "signals samples"]:
    """Change the pitch by playing at a different speed, then stretch to the final duration."""
    num_samples = signals.shape[-1]
    if pitch_semitones:
        longest = math.ceil(num_samples * 2 ** (pitch_semitones / SEMITONES))
        signals = change_speed(signals, speed=speed, num_samples=longest)
    return time_stretch(signals, rate=rate / speed, num_samples=num_samples)
