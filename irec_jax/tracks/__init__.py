"""Tracks in and tracks out: files of audio read side by side and written piece by piece.

What is written grows in a hidden folder and appears under its name when all of it is whole.
"""

from irec_jax.tracks.names import listed, printable
from irec_jax.tracks.reading import Track, ahead, open_track, read
from irec_jax.tracks.writing import (
    UNFINISHED,
    Writers,
    check_files,
    num_bytes,
    to_integers,
    unfinished,
)

__all__ = [
    "UNFINISHED",
    "Track",
    "Writers",
    "ahead",
    "check_files",
    "listed",
    "num_bytes",
    "open_track",
    "printable",
    "read",
    "to_integers",
    "unfinished",
]
