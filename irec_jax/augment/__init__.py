"""Augmentation during training: pure functions of a PRNG key and one example.

`Augment` is for the waveforms and features of a recogniser, `StemAugment` for the stems of a
separator. Each effect is off by default.
"""

from irec_jax.augment.features import Augment
from irec_jax.augment.stems import StemAugment

__all__ = ["Augment", "StemAugment"]
