"""Parts of an audio file: one for each file that was joined into it."""

import functools
import io
import os
from typing import BinaryIO, NamedTuple


class Damaged(Exception):
    """Error in a file, raised with the fault and the remedy but without the file name."""

    def __init__(self, fault: str, remedy: str = "get an intact copy of the file"):
        super().__init__(fault)
        self.remedy = remedy


class Part(NamedTuple):
    """A range of a file that forms an audio file of its own, usually the entire file.

    Attributes:
        start, stop: byte range, without the tags before the audio.
        kind: container, such as 'wav' or 'mpeg'; '' if unknown.
        patches: pairs of a position within the part and replacement bytes, which supply lengths
            that are missing from the header.
        num_samples: number of samples, if known from the frames.
        num_frames, num_lost: number of frames or pages, and how many of them are lost.
    """

    start: int
    stop: int
    kind: str = ""
    patches: tuple[tuple[int, bytes], ...] = ()
    num_samples: int | None = None
    num_frames: int = 0
    num_lost: int = 0

    @property
    def num_bytes(self) -> int:
        return self.stop - self.start

    def is_whole(self, file: BinaryIO) -> bool:
        """Return whether the part is the complete, unchanged file."""
        return not self.start and not self.patches and self.stop == file.seek(0, os.SEEK_END)


class Window(io.RawIOBase):
    """File object for a part of an open file, without a name that decoders might rely on."""

    def __init__(self, file: BinaryIO, part: Part):
        super().__init__()
        self._file, self._part, self._position = file, part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._part.num_bytes}
        self._position = max(0, origins[whence] + offset)
        return self._position

    def readinto(self, buffer) -> int:
        view, position = memoryview(buffer).cast("B"), self._position
        wanted = min(len(view), self._part.num_bytes - position)
        if wanted <= 0:  # seeking to a huge position could fail
            return 0
        data = bytearray(read_bytes(self._file, self._part.start + position, wanted))
        for patched, patch in self._part.patches:
            first, last = max(patched, position), min(patched + len(patch), position + len(data))
            if first < last:
                data[first - position : last - position] = patch[first - patched : last - patched]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def read_bytes(file: BinaryIO, position: int, num_bytes: int) -> bytes:
    """Read `num_bytes` bytes at a position, or fewer at the end of the file."""
    file.seek(position)
    return file.read(num_bytes)


def skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """Return the position after any ID3v2, ID3v1 and APE tags."""
    while position < size:
        head = read_bytes(file, position, 32)
        if head[:3] == b"ID3" and len(head) >= 10 and not any(byte & 0x80 for byte in head[6:10]):
            num_bytes = functools.reduce(lambda total, byte: total << 7 | byte, head[6:10])
            position += num_bytes + (20 if head[5] & 0x10 else 10)
        elif head[:8] == b"APETAGEX":
            position += 32 + int.from_bytes(head[12:16], "little")
        elif head[:3] == b"TAG" and position + 128 <= size:
            position += 128
        else:
            break
    return min(position, size)
