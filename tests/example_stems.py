"""Tracks of noise with the stems of MUSDB18, as arrays and as the tracks that training reads."""

import numpy as np

from irec_jax import data
from irec_jax.labels import STEMS

#: Lengths in samples: shorter than a window, a window, and longer ones.
LENGTHS = (60, 100, 500, 1340)


def make_tracks(lengths=LENGTHS, seed=0):
    """Return arrays of noise and the tracks made from them."""
    rng = np.random.default_rng(seed)
    arrays = {
        f"song {i}": {s: rng.integers(-8000, 8000, (n, 2)).astype(np.int16) for s in STEMS}
        for i, n in enumerate(lengths)
    }
    return arrays, data.Tracks.from_arrays(arrays)
