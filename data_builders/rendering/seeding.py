"""Random generators that depend on a key alone, not on who asks first."""

import zlib

import numpy as np


def generator(*key: str | int) -> np.random.Generator:
    """The generator of a key: strings and non-negative integers, in order."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(words)


def draw(rng: np.random.Generator, weights: dict):
    """One key of ``weights``, drawn in proportion to the values (not all zero)."""
    names = list(weights)
    values = np.array([weights[name] for name in names], float)
    return names[int(np.searchsorted(np.cumsum(values), rng.random() * values.sum(), "right"))]


def choice(rng: np.random.Generator, items):
    """One of ``items``, all equally likely."""
    return items[int(rng.integers(len(items)))]
