"""From prepared datasets to batches: the only room that knows TFDS and Grain."""

from irec_jax.data.dataset import OWN_KEYS, Clips, Dataset, describe, load, options_of
from irec_jax.data.pieces import Piece, Pieces, pieces
from irec_jax.data.pipeline import Batches, peak
from irec_jax.data.splits import split_songs

__all__ = [
    "OWN_KEYS",
    "Batches",
    "Clips",
    "Dataset",
    "Piece",
    "Pieces",
    "describe",
    "load",
    "options_of",
    "peak",
    "pieces",
    "split_songs",
]
