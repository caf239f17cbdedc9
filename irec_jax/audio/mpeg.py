"""MPEG audio frames (mp3, mp2), and the tags before, between and after them."""

import functools
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from irec_jax.audio.parts import Damaged, Part, read_bytes, skip_tags

_BUFFER_BYTES = 1 << 20
# Maximum size of other data before the first frame.
_SEARCH_BYTES = 1 << 16
# Numbers of consecutive frames needed to identify a stream, and to find where it resumes after
# damage.
_NUM_PROVING, _NUM_RESUMING = 6, 3
# Bit rates in kbit/s by index, keyed by MPEG version and layer; (2, 2) includes layer III.
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES_HZ = (44_100, 48_000, 32_000)


class _Format(NamedTuple):
    """Properties shared by all frames of a stream."""

    version: int  # 1, 2, or 4 for MPEG-2.5
    layer: int
    sample_rate_hz: int

    @property
    def frame_samples(self) -> int:
        if self.layer == 1:
            return 384
        return 576 if self.layer == 3 and self.version > 1 else 1152


def scan(file: BinaryIO, start: int, size: int) -> list[Part]:
    """Return the parts of an MPEG audio file, or an empty list for any other file.

    In an MPEG audio file, frames are contiguous: each header gives the position of the next one. A
    new part begins at an encoder header (Xing, Info, VBRI), after a tag, or where the format
    changes.

    Raises:
        Damaged: there are fewer frames than the encoder header states.
    """
    scanner = _Scanner(file, size)
    first: int | None = start
    if not scanner.has_frames(start, 2):
        first = scanner.find(start, min(size, start + _SEARCH_BYTES), _NUM_PROVING)
    parts = list(scanner.parts(first))
    num_bytes = scanner.num_tag_bytes + sum(part.num_bytes for part in parts)
    return parts if 2 * num_bytes > size - start else []


@functools.cache
def _formats() -> list[tuple[_Format, int] | None]:
    """Return a table of frame formats and lengths in bytes, indexed by header bytes 2 and 3."""
    table: list[tuple[_Format, int] | None] = [None] * (1 << 16)
    for second in range(0xE0, 0x100):
        version = {0: 4, 2: 2, 3: 1}.get(second >> 3 & 3)
        layer = 4 - (second >> 1 & 3)
        if version is None or layer == 4:
            continue
        rates = _BIT_RATES[min(version, 2), layer if version == 1 else min(layer, 2)]
        for third in range(1 << 8):
            index, rate = third >> 4, third >> 2 & 3
            if not 0 < index < 15 or rate == 3:
                continue
            frame = _Format(version, layer, _SAMPLE_RATES_HZ[rate] // version)
            slot = 4 if layer == 1 else 1
            bits = frame.frame_samples * 1000 * rates[index - 1] // frame.sample_rate_hz
            num_bytes = (bits // (8 * slot) + (third >> 1 & 1)) * slot
            table[second << 8 | third] = frame, num_bytes
    return table


class _EncoderHeader(NamedTuple):
    """An encoder header (Xing, Info or VBRI), stored in a frame without audio.

    Attributes:
        num_frames: number of frames that follow; 0 if not stated.
        num_padding: total number of samples to drop at the start and end.
    """

    num_frames: int = 0
    num_padding: int = 0


class _Scanner:
    """Buffered scanner for the MPEG frames in a file.

    Attributes:
        num_tag_bytes: total size of the tags between and after the parts.
    """

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self._buffer, self._origin = b"", 0
        self._formats = _formats()
        self.num_tag_bytes = 0

    def parts(self, position: int | None) -> Iterator[Part]:
        """Yield the part that begins at a position, and then all later parts."""
        while position is not None:
            part, position = self._part(position)
            yield part

    def has_frames(self, position: int, count: int) -> bool:
        """Return whether `count` contiguous frames with the same format start at a position.

        Fewer frames suffice if they extend to the end of the file.
        """
        found = first = self._frame(position)
        for _ in range(1, count):
            if first is None or found is None or found[0] != first[0]:
                return False
            position += found[1]
            if skip_tags(self._file, position, self._size) >= self._size:
                return position <= self._size
            found = self._frame(position)
        return first is not None and found is not None and found[0] == first[0]

    def find(
        self, start: int, stop: int, count: int, expected: _Format | None = None
    ) -> int | None:
        """Return the first position where `count` frames of the expected (or any) format start."""
        while start < stop:
            data = self._bytes(start, min(_BUFFER_BYTES, stop - start))
            for match in re.finditer(rb"\xff(?=[\xe0-\xff][\x10-\xef])", data):
                found = self._frame(position := start + match.start())
                if found and expected in (None, found[0]) and self.has_frames(position, count):
                    return position
            start += max(1, len(data) - 1)
        return None

    def _part(self, start: int) -> tuple[Part, int | None]:
        """Return the part that begins at a position, and the start of the next part."""
        found = self._frame(start)
        assert found is not None
        expected, header = found[0], self._encoder_header(start, found[0])
        position = start + (found[1] if header else 0)
        num_frames = num_lost = 0
        while True:
            found = self._frame(position)
            if found and found[0] == expected and not self._encoder_header(position, expected):
                num_frames += 1
                position += found[1]
                continue
            resumed, is_joint = self._resume(position, expected)
            if resumed is None or is_joint:
                break
            frame_bytes = (position - start) / max(1, num_frames)
            num_lost += max(1, round((resumed - position) / max(1, frame_bytes)))
            position = resumed
        stated, num_padding = header or _EncoderHeader()
        is_cut = position > self._size  # the file ends within the last frame
        num_frames -= int(is_cut and num_frames > 1)
        # Some encoders count their header as a frame.
        if not num_lost and stated > num_frames + (0 if is_cut else 1):
            raise Damaged(f"truncated: {num_frames} of {stated} frames")
        num_lost += int(is_cut)
        num_samples = max(0, num_frames * expected.frame_samples - num_padding)
        stop = min(position, self._size)
        return Part(start, stop, "mpeg", (), num_samples, num_frames + num_lost, num_lost), resumed

    def _resume(self, position: int, expected: _Format) -> tuple[int | None, bool]:
        """Return where frames resume after an interruption, and whether a new part begins there."""
        after_tags = skip_tags(self._file, position, self._size)
        self.num_tag_bytes += max(0, after_tags - position)
        if self.has_frames(after_tags, _NUM_RESUMING):
            return after_tags, True
        count = _NUM_RESUMING if after_tags == position else _NUM_PROVING
        resumed = self.find(after_tags, self._size, count, expected)
        if resumed is None:
            return self.find(after_tags, self._size, _NUM_PROVING), True
        is_joint = after_tags != position or self._encoder_header(resumed, expected) is not None
        return resumed, is_joint

    def _bytes(self, position: int, num_bytes: int) -> bytes:
        offset = position - self._origin
        if offset < 0 or offset + num_bytes > len(self._buffer):
            self._buffer = read_bytes(self._file, position, max(num_bytes, _BUFFER_BYTES))
            self._origin, offset = position, 0
        return self._buffer[offset : offset + num_bytes]

    def _frame(self, position: int) -> tuple[_Format, int] | None:
        head = self._bytes(position, 4)
        return self._formats[head[1] << 8 | head[2]] if len(head) == 4 and head[0] == 0xFF else None

    def _encoder_header(self, position: int, frame: _Format) -> _EncoderHeader | None:
        if frame.layer != 3:
            return None
        data = self._bytes(position, 192)
        is_mono = len(data) > 3 and data[3] >> 6 == 3
        if data[36:40] == b"VBRI":
            return _EncoderHeader(int.from_bytes(data[50:54], "big"))
        side = {(1, False): 32, (1, True): 17, (0, False): 17, (0, True): 9}
        data = data[4 + side[int(frame.version == 1), is_mono] :]
        if data[:4] not in (b"Xing", b"Info"):
            return None
        flags = data[7] if len(data) > 7 else 0
        num_frames = int.from_bytes(data[8:12], "big") if flags & 1 else 0
        sizes = (4, 4, 100, 4)  # bytes of the optional fields: frames, bytes, seek table, quality
        encoder = data[8 + sum(size for i, size in enumerate(sizes) if flags >> i & 1) :]
        if encoder[:4] not in (b"LAME", b"Lavf", b"Lavc"):
            return _EncoderHeader(num_frames)
        delay_and_padding = int.from_bytes(encoder[21:24], "big")
        return _EncoderHeader(num_frames, (delay_and_padding >> 12) + (delay_and_padding & 0xFFF))
