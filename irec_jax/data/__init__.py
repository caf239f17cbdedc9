"""Prepared datasets to batches: the only package of irec_jax that uses TFDS and Grain."""

from irec_jax.data.dataset import CHANNELS, Dataset, describe, load, store_identity
from irec_jax.data.example_store import ExampleStore, StoreContents, open_store, write_store
from irec_jax.data.labelled_clips import Clips, peak, window_positions
from irec_jax.data.options import OWN_KEYS, STEM_OWN_KEYS, options_of, own_keys
from irec_jax.data.pieces import Piece, Pieces, load_pieces
from irec_jax.data.pipeline import Batches
from irec_jax.data.splits import (
    SPLITS,
    STEM_SPLITS,
    Splits,
    protocol,
    split_clips,
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

__all__ = [
    "CHANNELS",
    "OWN_KEYS",
    "SPLITS",
    "STEM_CHANNELS",
    "STEM_OWN_KEYS",
    "STEM_SPLITS",
    "Batches",
    "Clips",
    "Dataset",
    "ExampleStore",
    "Piece",
    "Pieces",
    "Splits",
    "StemBatches",
    "StemDataset",
    "StoreContents",
    "Tracks",
    "describe",
    "describe_stems",
    "load",
    "load_pieces",
    "load_stems",
    "open_store",
    "options_of",
    "own_keys",
    "parse_target",
    "peak",
    "protocol",
    "split_clips",
    "split_examples",
    "split_songs",
    "split_tracks",
    "store_identity",
    "window_and_hop",
    "window_positions",
    "write_store",
]
