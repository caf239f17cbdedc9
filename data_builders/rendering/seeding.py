"""Random generators that depend only on a key, not on the order in which they are created.

The words in a key are part of the music: renaming one changes the drawn values, which requires a
new version of the dataset.
"""

import zlib

import numpy as np
from numpy.random import Generator


def generator(*key: str | int) -> Generator:
    """Return the random generator for a key that consists of strings and non-negative integers."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(words)


def draw(rng: Generator, weights: dict):
    """Draw one key of ``weights`` with probability proportional to its value."""
    names = list(weights)
    values = np.array([weights[name] for name in names], float)
    return names[int(np.searchsorted(np.cumsum(values), rng.random() * values.sum(), "right"))]


def choice(rng: Generator, items):
    """Draw one of ``items``, all with equal probability."""
    return items[int(rng.integers(len(items)))]
