"""Training-time augmentation: pure, keyed, one example at a time; off where a setting is neutral.

`Augment` changes waveforms and features of a recogniser, `StemAugment` the stems of a separator.
"""

from irec_jax.augment.features import Augment
from irec_jax.augment.stems import StemAugment

__all__ = ["Augment", "StemAugment"]
