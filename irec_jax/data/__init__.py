"""Datasets, their splits and batches; no other irec_jax package uses TFDS or Grain."""

from irec_jax.data.dataset import Dataset, describe, load, store_identity, test_split
from irec_jax.data.example_store import StoreContents, open_store, write_store
from irec_jax.data.fingerprint import changes, fingerprint, num_trained_on
from irec_jax.data.labelled_clips import Clips
from irec_jax.data.options import optional_keys, options_of, own_keys
from irec_jax.data.pieces import Piece, Pieces, load_pieces
from irec_jax.data.pipeline import Batches
from irec_jax.data.splits import (
    CLIP_SPLITS,
    SPLITS,
    STEM_SPLITS,
    VALIDATION_SPLITS,
    Splits,
    describe_split,
    describe_stem_split,
    protocol,
    split_clips,
    split_tracks,
)
from irec_jax.data.stem_batches import StemBatches
from irec_jax.data.stems import StemDataset, Tracks, describe_stems, load_stems, parse_target

__all__ = [
    "CLIP_SPLITS",
    "SPLITS",
    "STEM_SPLITS",
    "VALIDATION_SPLITS",
    "Batches",
    "Clips",
    "Dataset",
    "Piece",
    "Pieces",
    "Splits",
    "StemBatches",
    "StemDataset",
    "StoreContents",
    "Tracks",
    "changes",
    "describe",
    "describe_split",
    "describe_stem_split",
    "describe_stems",
    "fingerprint",
    "load",
    "load_pieces",
    "load_stems",
    "num_trained_on",
    "open_store",
    "optional_keys",
    "options_of",
    "own_keys",
    "parse_target",
    "protocol",
    "split_clips",
    "split_tracks",
    "store_identity",
    "test_split",
    "write_store",
]
