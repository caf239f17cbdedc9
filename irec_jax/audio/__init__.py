"""Audio files in and out, on the host: any format, any rate, any number of channels.

Samples are float32 (T, C) with full scale at 1; what an integer file holds lies within [-1, 1).
Every fault of a file is a `UserError` of one line that names it and the remedy.
"""

from irec_jax.audio.files import SUFFIXES, find, write
from irec_jax.audio.reading import LOUDEST, Info, blocks, info, read
from irec_jax.audio.samples import (
    INT16_SCALE,
    num_resampled,
    resample,
    resample_pieces,
    to_float32,
    to_int16,
)

__all__ = [
    "INT16_SCALE",
    "LOUDEST",
    "SUFFIXES",
    "Info",
    "blocks",
    "find",
    "info",
    "num_resampled",
    "read",
    "resample",
    "resample_pieces",
    "to_float32",
    "to_int16",
    "write",
]
