"""From prepared datasets to batches: the only room that knows TFDS and Grain."""

from irec_jax.data.clips import Clips, cut, peak
from irec_jax.data.dataset import CHANNELS, OWN_KEYS, Dataset, describe, load, options_of
from irec_jax.data.pieces import Piece, Pieces, pieces
from irec_jax.data.pipeline import Batches
from irec_jax.data.splits import (
    SPLITS,
    Sides,
    protocol,
    split,
    split_examples,
    split_songs,
    window_and_hop,
)
from irec_jax.data.stem_batches import STEM_CHANNELS, StemBatches
from irec_jax.data.stems import Tracks, parse_target

__all__ = [
    "CHANNELS",
    "OWN_KEYS",
    "SPLITS",
    "STEM_CHANNELS",
    "Batches",
    "Clips",
    "Dataset",
    "Piece",
    "Pieces",
    "Sides",
    "StemBatches",
    "Tracks",
    "cut",
    "describe",
    "load",
    "options_of",
    "parse_target",
    "peak",
    "pieces",
    "protocol",
    "split",
    "split_examples",
    "split_songs",
    "window_and_hop",
]
