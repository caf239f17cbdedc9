"""From prepared datasets to batches: the only room that knows TFDS and Grain."""

from irec_jax.data.clips import Clips, cut, peak
from irec_jax.data.dataset import CHANNELS, Dataset, dataset_of_store, describe, load
from irec_jax.data.options import OWN_KEYS, STEM_OWN_KEYS, options_of, own_keys
from irec_jax.data.pieces import Piece, Pieces, pieces
from irec_jax.data.pipeline import Batches
from irec_jax.data.splits import (
    SPLITS,
    STEM_SPLITS,
    Splits,
    protocol,
    split,
    split_examples,
    split_songs,
    split_tracks,
    window_and_hop,
)
from irec_jax.data.stem_batches import STEM_CHANNELS, StemBatches
from irec_jax.data.stems import (
    StemDataset,
    Tracks,
    describe_stems,
    load_stems,
    parse_target,
)
from irec_jax.data.stored import Contents, Stored, open_stored, write_stored

__all__ = [
    "CHANNELS",
    "OWN_KEYS",
    "SPLITS",
    "STEM_CHANNELS",
    "STEM_OWN_KEYS",
    "STEM_SPLITS",
    "Batches",
    "Clips",
    "Contents",
    "Dataset",
    "Piece",
    "Pieces",
    "Splits",
    "StemBatches",
    "StemDataset",
    "Stored",
    "Tracks",
    "cut",
    "dataset_of_store",
    "describe",
    "describe_stems",
    "load",
    "load_stems",
    "open_stored",
    "options_of",
    "own_keys",
    "parse_target",
    "peak",
    "pieces",
    "protocol",
    "split",
    "split_examples",
    "split_songs",
    "split_tracks",
    "window_and_hop",
    "write_stored",
]
