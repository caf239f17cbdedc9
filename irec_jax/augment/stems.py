"""Augmentation of stems for separators, before the stems are summed."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from irec_jax.augment.tempo import change_tempo, check_tempo
from irec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StemAugment:
    """Random gain, polarity, reversal, time stretch and pitch shift, each with its own PRNG key.

    Gain and polarity are drawn for each stem. All other effects are the same for all stems of an
    example, which keeps the stems in sync. The phase vocoder processes each stem separately, so
    stretching or shifting the mixture would not give exactly the sum of the augmented stems.

    Attributes:
        gain_db: largest gain in dB; the gain is drawn uniformly from -gain_db..gain_db.
        polarity: whether to invert the sign of each stem with a probability of 0.5.
        mixture_polarity: whether to invert the sign of all stems in an example, and thus of its
            mixture, with a probability of 0.5. Features without phase are unaffected.
        reversal: whether to reverse each example in time with a probability of 0.5.
        stretch, pitch_semitones, whole_semitones: see `augment.tempo.change_tempo`.
    """

    gain_db: float = 0.0
    polarity: bool = False
    mixture_polarity: bool = False
    reversal: bool = False
    stretch: Sequence[float] = (1.0, 1.0)
    pitch_semitones: float = 0.0
    whole_semitones: bool = False

    def __post_init__(self):
        if self.gain_db < 0:
            raise UserError(f"augment.gain_db={self.gain_db}: expected 0 or more")
        object.__setattr__(self, "stretch", check_tempo(self.stretch, self.pitch_semitones))

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
        if self.mixture_polarity:
            mixture_key = jax.random.fold_in(polarity_key, 1)
            stems = stems * jax.random.rademacher(mixture_key, (), stems.dtype)
        if self.reversal:
            stems = jnp.where(jax.random.bernoulli(reversal_key), stems[:, ::-1], stems)
        return change_tempo(
            stretch_key,
            pitch_key,
            stems,
            stretch=tuple(self.stretch),
            pitch_semitones=self.pitch_semitones,
            whole_semitones=self.whole_semitones,
        )
