"""Trained systems for audio files and arrays, and tools for multitrack recordings."""

from irec_jax.systems.ensemble import Ensemble
from irec_jax.systems.recogniser import Recogniser, load_recogniser, recognize
from irec_jax.systems.recognized import Recognized
from irec_jax.systems.separator import PHASES, Separator, load_separator

__all__ = [
    "PHASES",
    "Ensemble",
    "Recogniser",
    "Recognized",
    "Separator",
    "load_recogniser",
    "load_separator",
    "recognize",
]
