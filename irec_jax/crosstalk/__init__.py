"""Crosstalk of multitrack recordings: estimated, reduced, and simulated (Seipel 2018, chapter 3).

The way: magnitude spectrograms of all tracks -> `gram` -> `estimate` -> `reduce`. Not a network:
nothing is trained.
"""

from irec_jax.crosstalk.estimate import cost, estimate, gram
from irec_jax.crosstalk.simulate import delays_samples, draw_mixing, simulate

__all__ = [
    "cost",
    "delays_samples",
    "draw_mixing",
    "estimate",
    "gram",
    "simulate",
]
