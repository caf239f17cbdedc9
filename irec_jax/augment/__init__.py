"""Augmentation during training: pure functions of a PRNG key and one example.

`Augment` applies to the waveforms and features of a recogniser, `StemAugment` to the stems of a
separator. All effects are off by default.
"""

from irec_jax.augment.features import Augment
from irec_jax.augment.stems import StemAugment

__all__ = ["Augment", "StemAugment"]
