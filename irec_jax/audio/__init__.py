"""Reading, resampling and writing audio files in any format, on the host.

Samples are float32 (T, C) with full scale at 1; integer formats yield samples within [-1, 1).
Invalid files raise a one-line `UserError` that names the file and the remedy.
"""

from irec_jax.audio.reading import MAX_SAMPLE, SUFFIXES, Info, blocks, find, info, read
from irec_jax.audio.samples import (
    INT16_SCALE,
    ChannelLevels,
    num_resampled,
    resample,
    resample_pieces,
    to_float32,
    to_int16,
)
from irec_jax.audio.writing import write, write_mp3

__all__ = [
    "INT16_SCALE",
    "MAX_SAMPLE",
    "SUFFIXES",
    "ChannelLevels",
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
    "write_mp3",
]
