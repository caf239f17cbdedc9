"""Audio containers: signatures, stated lengths and concatenated files.

A file is identified by its content, never by its suffix. Concatenated files, as produced by
``cat a.wav b.wav``, are split where they were joined.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from irec_jax.audio import mpeg, ogg
from irec_jax.audio.parts import Damaged, Part, read_bytes, skip_tags

# A missing pad byte or an incomplete last sample does not count as truncation.
_TOLERANCE_BYTES = 64
_SEARCH_BYTES, _HEADER_BYTES = 1 << 20, 64
_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MPEG_CODECS = (b"\x50", b"\x55")  # wav format tags: layers I and II use 0x50; layer III uses 0x55
_Scan = Callable[[BinaryIO, int, int], Part]
_NAMES = {b".snd": "au", b"dns.": "au", b"caff": "caf", b"fLaC": "flac", b"OggS": "ogg"}


def split(file: BinaryIO) -> list[Part]:
    """Return the parts of a file in order; a concatenated file has more than one.

    Raises:
        Damaged: the file is shorter than its header states.
    """
    size = file.seek(0, os.SEEK_END)
    start = skip_tags(file, 0, size)
    parts: list[Part] = []
    while start < size and (kind := _kind(read_bytes(file, start, 16))) in _SCANS:
        try:
            part = _SCANS[kind](file, start, size)
        except struct.error as error:
            raise Damaged("truncated within its header") from error
        if part.stop <= start:  # otherwise, the loop would never end
            raise Damaged("its header states no length")
        parts.append(part if part.kind else part._replace(kind=kind))
        start = skip_tags(file, parts[-1].stop, size)
    return parts or mpeg.scan(file, start, size) or [Part(start, size)]


def _kind(head: bytes) -> str:
    """Identify a container by its first 16 bytes; return '' if it is unknown."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head in (_W64, _ASF):
        return "w64" if head == _W64 else "asf"
    if head[4:8] == b"ftyp":
        return "mp4"
    return "matroska" if head[:4] == _EBML else _NAMES.get(head[:4], "")


class _Length(NamedTuple):
    """A header field that states the number of units from an origin to the end of the audio."""

    position: int
    format: str  # struct format
    origin: int
    unit_bytes: int = 1

    def stop(self, file: BinaryIO) -> int | None:
        """Return the stated end; None if the header was written before the length was known."""
        num_bytes = struct.calcsize(self.format)
        (stated,) = struct.unpack(self.format, read_bytes(file, self.position, num_bytes))
        largest = (1 << 8 * num_bytes) - 1
        # Programs that write to a pipe set this field to 0, to the largest signed or unsigned
        # number, or to a somewhat smaller one such as 0x7FFFF000 or 0x7F000000 (sox).
        limits = [largest, largest >> 1, *([0x7F000000 + 0xFFF] if num_bytes == 4 else [])]
        if not stated or any(limit - 0xFFF <= stated <= limit for limit in limits):
            return None
        return self.origin + stated * self.unit_bytes

    def patch(self, start: int, stop: int) -> tuple[int, bytes]:
        """Return a patch that sets the stated end: its position in the part, and the new bytes."""
        largest = (1 << 8 * struct.calcsize(self.format)) - 1
        length = min((stop - self.origin) // self.unit_bytes, largest)
        return self.position - start, struct.pack(self.format, length)


class _Chunk(NamedTuple):
    start: int
    name: bytes
    body: int
    stop: int


class _Layout(NamedTuple):
    """Chunk layout of a container: position of the first chunk, header format and alignment."""

    first: int
    header: str
    alignment: int = 1
    counts_header: bool = False

    def chunks(self, file: BinaryIO, position: int, size: int) -> Iterator[_Chunk]:
        num_bytes = struct.calcsize(self.header)
        while position + num_bytes <= size:
            name, stated = struct.unpack(self.header, read_bytes(file, position, num_bytes))
            if not any(name):  # padding
                break
            stop = position + stated + (0 if self.counts_header else num_bytes)
            yield _Chunk(position, name, position + num_bytes, stop)
            position = max(position + num_bytes, stop + (position - stop) % self.alignment)


class _Audio(NamedTuple):
    """Start of the audio data and the header fields that state its length (the exact one first)."""

    start: int
    lengths: list[_Length]
    layout: _Layout | None
    kind: str = ""  # set only if it differs from the container's


def _find_wav(file: BinaryIO, start: int, size: int) -> _Audio | None:
    order = ">" if read_bytes(file, start, 4) == b"RIFX" else "<"
    layout = _Layout(12, order + "4sI", 2)
    lengths = [_Length(start + 4, order + "I", start + 8)]
    large, kind = None, ""
    for chunk in layout.chunks(file, start + layout.first, size):
        if chunk.name == b"ds64":  # 64-bit sizes in RF64
            large = chunk.body
            lengths = [_Length(large, "<Q", start + 8)]
        if chunk.name == b"fmt " and read_bytes(file, chunk.body, 2).strip(b"\0") in _MPEG_CODECS:
            kind = "mpeg in wav"
        if chunk.name == b"data":
            length = _Length(chunk.body - 4, order + "I", chunk.body)
            if large is not None and chunk.stop - chunk.body == 0xFFFFFFFF:
                length = _Length(large + 8, "<Q", chunk.body)
            return _Audio(chunk.body, [length, *lengths], layout, kind)
    return None


def _find_aiff(file: BinaryIO, start: int, size: int) -> _Audio | None:
    layout, num_frames = _Layout(12, ">4sI", 2), None
    for chunk in layout.chunks(file, start + layout.first, size):
        if chunk.name == b"COMM":
            channels, _, num_bits = struct.unpack(">HIH", read_bytes(file, chunk.body, 8))
            num_frames = chunk.body + 2, max(1, channels * -(-num_bits // 8))
        if chunk.name == b"SSND":
            audio = chunk.body + 8
            lengths = [_Length(chunk.body - 4, ">I", chunk.body)]
            lengths += [_Length(start + 4, ">I", start + 8)]
            if num_frames:
                lengths += [_Length(num_frames[0], ">I", audio, num_frames[1])]
            return _Audio(audio, lengths, layout)
    return None


def _find_w64(file: BinaryIO, start: int, size: int) -> _Audio | None:
    layout = _Layout(40, "<16sQ", 8, counts_header=True)
    for chunk in layout.chunks(file, start + layout.first, size):
        if chunk.name == b"data" + _W64_GUID:
            lengths = [_Length(chunk.body - 8, "<Q", chunk.start)]
            return _Audio(chunk.body, [*lengths, _Length(start + 16, "<Q", start)], layout)
    return None


def _find_caf(file: BinaryIO, start: int, size: int) -> _Audio | None:
    layout = _Layout(8, ">4sQ")
    for chunk in layout.chunks(file, start + layout.first, size):
        if chunk.name == b"data":  # begins with a 4-byte edit count
            return _Audio(chunk.body + 4, [_Length(chunk.body - 8, ">Q", chunk.body)], layout)
    return None


def _find_au(file: BinaryIO, start: int, size: int) -> _Audio | None:
    order = "<" if read_bytes(file, start, 4) == b"dns." else ">"
    audio, _ = struct.unpack(order + "II", read_bytes(file, start + 4, 8).ljust(8, b"\0"))
    audio += start
    return _Audio(audio, [_Length(start + 8, order + "I", audio)], None) if audio <= size else None


def _scan_pcm(find: Callable[[BinaryIO, int, int], _Audio | None], pattern: bytes) -> _Scan:
    """Return a function that finds the end of an uncompressed file and checks its length.

    The check is needed because libsndfile reads truncated files without reporting an error.
    """

    def scan(file: BinaryIO, start: int, size: int) -> Part:
        audio = find(file, start, size)
        if audio is None:
            raise Damaged("truncated within its header")
        stop = audio.lengths[0].stop(file)
        if stop is None or stop <= audio.start:
            if _is_empty(file, audio, size):
                return Part(start, size, audio.kind)
            stop = _search(file, audio.start, size, pattern)
            patches = tuple(length.patch(start, stop) for length in audio.lengths)
            return Part(start, stop, audio.kind, patches)
        if stop > size + _TOLERANCE_BYTES:
            num_bytes = stop - audio.start
            raise Damaged(f"truncated: {size - audio.start} of {num_bytes} bytes of audio")
        return Part(start, _find_next(file, min(stop, size), size, audio.layout), audio.kind)

    return scan


def _is_empty(file: BinaryIO, audio: _Audio, size: int) -> bool:
    """Return whether a file whose header states no audio holds nothing but complete chunks."""
    if audio.layout is None:
        return audio.start == size
    end = audio.start
    for chunk in audio.layout.chunks(file, audio.start, size):
        end = chunk.stop
    return abs(size - end) <= 1


def _find_next(file: BinaryIO, position: int, size: int, layout: _Layout | None) -> int:
    """Return the start of the next joined file after the audio, or the end of the file."""
    starts = [position]
    if layout is not None:
        aligned = position + -position % layout.alignment
        starts += [chunk.start for chunk in layout.chunks(file, aligned, size)]
    for start in starts:
        if _kind(read_bytes(file, skip_tags(file, start, size), 16)):
            return start
    return size


def _search(file: BinaryIO, position: int, size: int, pattern: bytes) -> int:
    """Return the position of the next header that matches a pattern, or the end of the file."""
    while position < size:
        data = read_bytes(file, position, _SEARCH_BYTES + _HEADER_BYTES)
        match = re.search(pattern, data, re.DOTALL)
        if match is not None:
            return position + match.start()
        position += _SEARCH_BYTES
    return size


def _scan_flac(file: BinaryIO, start: int, size: int) -> Part:
    return Part(start, _search(file, start + 4, size, rb"fLaC\0\0\0\x22"))


def _scan_asf(file: BinaryIO, start: int, size: int) -> Part:
    return Part(start, _search(file, start + len(_ASF), size, re.escape(_ASF)))


def _scan_mp4(file: BinaryIO, start: int, size: int) -> Part:
    """Return the part that ends before the next file type box."""
    position, has_content = start, False
    while position + 8 <= size:
        num_bytes, name = struct.unpack(">I4s", read_bytes(file, position, 8))
        if name == b"ftyp" and has_content:
            return Part(start, position)
        has_content = has_content or name in (b"mdat", b"moov", b"moof")
        if num_bytes == 1:
            num_bytes = int.from_bytes(read_bytes(file, position + 8, 8), "big")
        if num_bytes < 8:  # 0 means that the box extends to the end of the file
            break
        position += num_bytes
    return Part(start, size)


def _scan_matroska(file: BinaryIO, start: int, size: int) -> Part:
    """Return the part with an EBML header and its segment.

    Live streams do not state a length; their part ends before the next EBML header.
    """
    head = read_bytes(file, start, 1 << 12)
    body, num_bytes = _vint(head, len(_EBML))
    segment = body + num_bytes
    if head[segment : segment + 4] == _SEGMENT:
        body, num_bytes = _vint(head, segment + 4)
        stop = start + body + num_bytes
        if stop < size:
            return Part(start, stop)
    pattern = re.escape(_EBML) + rb".{1,40}\x42\x82.{1,8}(webm|matroska)"
    return Part(start, _search(file, start + 4, size, pattern))


def _vint(data: bytes, position: int) -> tuple[int, int]:
    """Decode a variable-length integer; return the position after it and its value."""
    first = data[position] if position < len(data) else 0
    num_bytes = 9 - first.bit_length()
    value = int.from_bytes(data[position : position + num_bytes], "big")
    return position + num_bytes, value & ((1 << 7 * num_bytes) - 1)


_SCANS: dict[str, _Scan] = {
    "wav": _scan_pcm(_find_wav, rb"(RIFF|RIFX|RF64|BW64)....WAVE"),
    "aiff": _scan_pcm(_find_aiff, rb"FORM....AIF[FC]"),
    "w64": _scan_pcm(_find_w64, re.escape(_W64)),
    "caf": _scan_pcm(_find_caf, rb"caff\x00\x01..desc"),
    "au": _scan_pcm(_find_au, rb"\.snd\0\0..............\0\0\0"),
    "flac": _scan_flac,
    "ogg": ogg.scan,
    "asf": _scan_asf,
    "mp4": _scan_mp4,
    "matroska": _scan_matroska,
}
