"""Ogg pages and streams."""

import struct
from typing import BinaryIO

from irec_jax.audio.parts import Damaged, Part, read_bytes

_FIRST, _LAST = 2, 4  # flags of the pages that begin and end a stream
_HEADER = struct.Struct("<4sBBqIIIB")
_SEARCH_BYTES = 1 << 16


def scan(file: BinaryIO, start: int, size: int) -> Part:
    """Return the first part of an Ogg file, which ends where the next chained stream begins.

    Chained streams follow one another; the streams of one part begin together.

    Raises:
        Damaged: no page has a complete header, or a stream has no last page.
    """
    position, num_pages, num_lost = start, 0, 0
    unfinished: dict[int, int] = {}  # serial number -> number of the next page
    has_audio = False
    while position < size:
        header = read_bytes(file, position, _HEADER.size + 255)
        if len(header) < _HEADER.size or header[:4] != b"OggS":
            found = _find_page(file, position + 1, size)
            if found is None:
                break
            position = found
            continue
        _, _, flags, _, serial, number, _, num_segments = _HEADER.unpack(header[: _HEADER.size])
        if flags & _FIRST and has_audio:
            break
        has_audio = has_audio or not flags & _FIRST
        num_pages += 1
        num_lost += max(0, number - unfinished.get(serial, number))
        unfinished[serial] = number + 1
        end = position + _HEADER.size + num_segments
        end += sum(header[_HEADER.size : _HEADER.size + num_segments])
        if flags & _LAST and end <= size:
            del unfinished[serial]
        position = end
    if not num_pages:
        raise Damaged("truncated within its header")
    if unfinished:
        raise Damaged("truncated: the last page is missing", "export it again")
    return Part(
        start, min(position, size), "ogg", num_frames=num_pages + num_lost, num_lost=num_lost
    )


def _find_page(file: BinaryIO, position: int, size: int) -> int | None:
    """Return the position of the next page after damage."""
    while position < size:
        found = read_bytes(file, position, _SEARCH_BYTES).find(b"OggS")
        if found >= 0:
            return position + found
        position += _SEARCH_BYTES - 3
    return None
