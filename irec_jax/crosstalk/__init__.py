"""Estimation, reduction and simulation of crosstalk in multitrack recordings.

The methods are based on Seipel (2018, chapter 3); they use only signal processing and are not
trained. `debleed_array` and `streaming` pass J tracks through STFT -> `align` (removes direct
sound, including its phase) -> magnitudes -> `gram` -> `estimate` -> `reduce` -> inverse STFT.
Seipel's method has no alignment. `activity` converts the reduced tracks into labels that state
which instrument plays when.
"""

from irec_jax.crosstalk.activity import class_activity, instance_labels, track_activity
from irec_jax.crosstalk.estimate import cost, estimate, gram
from irec_jax.crosstalk.reduce import reduce
from irec_jax.crosstalk.settings import Crosstalk, Settings
from irec_jax.crosstalk.simulate import delays_samples, draw_mixing, simulate, simulate_room
from irec_jax.crosstalk.streaming import (
    analyse,
    debleed_array,
    min_samples,
    num_passes,
    reduce_blocks,
)

__all__ = [
    "Crosstalk",
    "Settings",
    "analyse",
    "class_activity",
    "cost",
    "debleed_array",
    "delays_samples",
    "draw_mixing",
    "estimate",
    "gram",
    "instance_labels",
    "min_samples",
    "num_passes",
    "reduce",
    "reduce_blocks",
    "simulate",
    "simulate_room",
    "track_activity",
]
