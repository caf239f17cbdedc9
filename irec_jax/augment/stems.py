"""Augmentation of the stems of a separator, before they are summed."""

import dataclasses
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

_SEMITONES = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class StemAugment:
    """Random gain, polarity, reversal, time stretch and pitch shift, each with its own PRNG key.

    Gain and polarity are drawn for each stem. Reversal, stretch and pitch shift are the same for
    all stems of an example, which keeps them synchronous. The phase vocoder processes each stem
    separately, so the augmented mixture equals the sum of the augmented stems only without stretch
    and pitch shift.

    Attributes:
        gain_db: gain drawn uniformly from -gain_db..gain_db.
        polarity: invert the sign of half of the stems.
        reversal: reverse half of the examples in time.
        stretch: smallest and largest rate, within 0.5..1; at rate r the first r T samples are
            slowed down to T samples without changing their pitch.
        pitch_semitones: pitch shift drawn uniformly from -pitch_semitones..pitch_semitones (at most
            12), without changing the duration.
    """

    gain_db: float = 0.0
    polarity: bool = False
    reversal: bool = False
    stretch: Sequence[float] = (1.0, 1.0)
    pitch_semitones: float = 0.0

    def __post_init__(self):
        if self.gain_db < 0:
            raise UserError(f"augment.gain_db={self.gain_db}: expected 0 or more")
        if not 0 <= self.pitch_semitones <= _SEMITONES:
            raise UserError(
                f"augment.pitch_semitones={self.pitch_semitones}: expected 0 to {_SEMITONES}"
            )
        object.__setattr__(self, "stretch", tuple(self.stretch))
        if len(self.stretch) != 2 or not 0.5 <= self.stretch[0] <= self.stretch[1] <= 1:
            raise UserError(
                f"augment.stretch={self.stretch}: expected the smallest and the largest rate, both "
                "within 0.5..1"
            )

    def __call__(
        self, key: PRNGKeyArray, stems: Float[Array | np.ndarray, "stems samples"]
    ) -> Float[Array | np.ndarray, "stems samples"]:
        """Return the augmented stems of one example; silent stems stay silent."""
        gain_key, polarity_key, reversal_key, stretch_key, pitch_key = jax.random.split(key, 5)
        each = (len(stems), 1)
        if self.gain_db:
            gains_db = jax.random.uniform(gain_key, each, minval=-self.gain_db, maxval=self.gain_db)
            stems = stems * 10 ** (gains_db / 20)
        if self.polarity:
            stems = stems * jax.random.rademacher(polarity_key, each, stems.dtype)
        if self.reversal:
            stems = jnp.where(jax.random.bernoulli(reversal_key), stems[:, ::-1], stems)
        if self.stretch == (1.0, 1.0) and not self.pitch_semitones:
            return stems
        low, high = self.stretch
        rate = jax.random.uniform(stretch_key, minval=low, maxval=high) if low < high else low
        bound = self.pitch_semitones
        semitones = jax.random.uniform(pitch_key, minval=-bound, maxval=bound)
        return sequential_vmap_on_cpu(self._stretch)(
            stems, jnp.float32(rate), 2 ** (semitones / _SEMITONES)
        )

    def _stretch(
        self,
        stems: Float[Array | np.ndarray, "stems samples"],
        rate: Float[Array, ""],
        speed: Float[Array, ""],
    ) -> Float[Array | np.ndarray, "stems samples"]:
        """Change the pitch by playing at another speed, then stretch to the final duration."""
        num_samples = stems.shape[-1]
        if self.pitch_semitones:
            longest = math.ceil(num_samples * 2 ** (self.pitch_semitones / _SEMITONES))
            stems = change_speed(stems, speed=speed, num_samples=longest)
        return time_stretch(stems, rate=rate / speed, num_samples=num_samples)
