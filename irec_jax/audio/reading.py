"""Decoding of audio files, whole or piece by piece.

libsndfile (soundfile) reads wav, flac, ogg, mp3 and aiff, FFmpeg (PyAV) everything else: m4a, mp4,
aac, webm ...
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.stream import Discard

from irec_jax.audio.samples import BLOCK_SAMPLES, resample_pieces
from irec_jax.errors import UserError

#: Full scale is 1; what is far beyond is no audio, and its powers would not be finite.
LOUDEST = 1e12
_FORGIVEN_BYTES = 64
# FFmpeg knows playlists that name other files and addresses: only self-contained files are read.
_AV_OPTIONS = {"protocol_whitelist": "none"}


class Info(NamedTuple):
    """What a file's header says.

    ``num_samples`` (per channel) is exact for uncompressed and lossless files, may be off by a
    codec frame for lossy ones, and is None where the container does not tell. ``num_streams`` is
    that of audio streams, of which each has a rate, channels and a length of its own.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int | None
    num_streams: int = 1


def info(path: str | os.PathLike | BinaryIO, *, stream: int = 0) -> Info:
    """Rate, channels and length of an audio file, without decoding it.

    Args:
        path: the file, or an open one that can seek and has a ``name``.
        stream: which of its audio streams.

    Raises:
        UserError: no such file, empty, not audio, or no such stream.
    """
    with _open(path, stream) as (header, _):
        return header


def read(
    path: str | os.PathLike | BinaryIO,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = False,
    stream: int = 0,
) -> tuple[np.ndarray, int]:
    """Reads a whole audio file.

    Args:
        path: the file, or an open one that can seek and has a ``name``.
        sample_rate_hz: resample to this rate; None keeps the file's.
        mono: mean of the channels.
        stream: which of the file's audio streams.

    Returns:
        Samples, float32 (T, C) with C = 1 for mono, and their rate in Hz.

    Raises:
        UserError: missing, empty, truncated, not audio, no such stream, no samples, NaN or infinite
            samples. A wav file whose header promises more than the file holds counts as truncated;
            headers of streamed files, which promise nothing, do not. Silence is not an error.
    """
    with _open(path, stream) as (header, decoded):
        rate_hz = sample_rate_hz or header.sample_rate_hz
        chain = _convert(decoded, header.sample_rate_hz, rate_hz, mono)
        return np.concatenate(list(chain)), rate_hz


def blocks(
    path: str | os.PathLike | BinaryIO,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = True,
    block_samples: int = BLOCK_SAMPLES,
    stream: int = 0,
) -> Iterator[np.ndarray]:
    """Reads an audio file piece by piece, in memory that does not grow with the file.

    Args:
        path: the file, or an open one that can seek and has a ``name``.
        sample_rate_hz: resample to this rate; None keeps the file's.
        mono: mean of the channels.
        block_samples: length of the pieces, after resampling.
        stream: which of the file's audio streams.

    Yields:
        float32 (block_samples, C), the last one shorter; joined they equal `read`.

    Raises:
        UserError: as `read`; for damage further on, only when that place is reached.
    """
    with _open(path, stream) as (header, decoded):
        rate_hz = sample_rate_hz or header.sample_rate_hz
        pending, num_pending = [], 0
        for piece in _convert(decoded, header.sample_rate_hz, rate_hz, mono):
            pending.append(piece)
            num_pending += len(piece)
            if num_pending < block_samples:
                continue
            joined = np.concatenate(pending)
            whole = num_pending - num_pending % block_samples
            for start in range(0, whole, block_samples):
                yield joined[start : start + block_samples]
            pending, num_pending = [joined[whole:]], num_pending - whole
        if num_pending:
            yield np.concatenate(pending)


class _Damaged(Exception):
    """A fault of the file being read, with its remedy; `_open` adds the name."""

    def __init__(self, what: str, remedy: str = "get a whole copy of the file"):
        super().__init__(what)
        self.remedy = remedy


def file_error(path: str | os.PathLike, what: str, remedy: str) -> UserError:
    """The error for a file: its name, what is wrong with it and the remedy."""
    # Names that are not valid UTF-8 must not turn the printing of the error into another one.
    name = os.fsencode(path).decode("utf-8", "replace")
    return UserError(f"{name}: {what}; {remedy}")


@contextlib.contextmanager
def _open(
    source: str | os.PathLike | BinaryIO, stream: int
) -> Iterator[tuple[Info, Iterator[np.ndarray]]]:
    """Opens a file: its header and an iterator of float32 (n, C) pieces, checked for faults."""
    path = source if isinstance(source, str | os.PathLike) else source.name
    with contextlib.ExitStack() as stack:
        try:
            if path is source:
                _check_regular(path)
                file = stack.enter_context(open(path, "rb"))
            else:
                file = source
            if not file.seek(0, os.SEEK_END):
                raise _Damaged("is empty (0 bytes)")
            file.seek(0)
            try:
                # By its path, a file is read without Python in between, in which an interrupt
                # would be lost.
                by_path = os.fsencode(path) if path is source else file
                header, pieces = _open_soundfile(file, by_path, stack)
            except soundfile.LibsndfileError:
                file.seek(0)
                header, pieces = _open_av(file, stream, stack)
            if stream >= header.num_streams:
                raise _no_stream(stream, header.num_streams)
            yield header, _checked(pieces)
        except FileNotFoundError as error:
            raise file_error(path, "no such file", "check the path") from error
        except _Damaged as error:
            raise file_error(path, str(error), error.remedy) from error
        except (av.FFmpegError, soundfile.SoundFileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise file_error(path, f"damaged audio: {reason}", "get a whole copy of it") from error
        except OSError as error:
            raise file_error(path, f"cannot be read: {error.strerror}", "check the file") from error


def _check_regular(path: str | os.PathLike) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise _Damaged("is a folder", "name an audio file")
    if not stat.S_ISREG(mode):  # opening a pipe would wait
        raise _Damaged("is a pipe or device", "name an audio file")


def _checked(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    num_samples = 0
    for piece in pieces:
        if not np.isfinite(piece).all():
            raise _Damaged("holds NaN or infinite samples", "export it again")
        if max(abs(piece.min(initial=0)), abs(piece.max(initial=0))) > LOUDEST:
            raise _Damaged(f"holds samples above {LOUDEST:.0e} times full scale", "export it again")
        num_samples += len(piece)
        yield piece
    if not num_samples:
        raise _Damaged("holds no samples", "remove it or export it again")


def _convert(
    pieces: Iterator[np.ndarray], old_rate_hz: int, new_rate_hz: int, mono: bool
) -> Iterator[np.ndarray]:
    if mono:
        pieces = (piece.mean(axis=1, keepdims=True, dtype=np.float32) for piece in pieces)
    return resample_pieces(pieces, old_rate_hz, new_rate_hz)


def _open_soundfile(
    file: BinaryIO, source: bytes | BinaryIO, stack: contextlib.ExitStack
) -> tuple[Info, Iterator[np.ndarray]]:
    sound = stack.enter_context(soundfile.SoundFile(source))
    if sound.format in ("WAV", "WAVEX"):
        _check_wav(file)
    known = 0 <= sound.frames < 1 << 62  # a flac stream may not tell

    def pieces() -> Iterator[np.ndarray]:
        num_samples = 0
        while len(piece := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            num_samples += len(piece)
            yield piece
        if sound.format == "FLAC" and known and num_samples < sound.frames:
            raise _Damaged(f"truncated after {num_samples} of {sound.frames} samples")

    return Info(sound.samplerate, sound.channels, sound.frames if known else None), pieces()


def _check_wav(file: BinaryIO) -> None:
    """Compares the size promised by a RIFF header's data chunk with what is there.

    libsndfile reads a cut file to its end without a word. Sizes of 0 and from 0x7FFFF000 on are
    written by programs that stream and cannot know: they promise nothing. A few bytes too many
    (a counted pad byte, an unfinished last sample) are forgiven.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF":
        return
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, promised = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"data":
            if 0 < promised < 0x7FFFF000 and position + promised > size + _FORGIVEN_BYTES:
                raise _Damaged(f"truncated: {size - position} of {promised} bytes of audio")
            return
        position += promised + promised % 2


def _no_stream(stream: int, num_streams: int) -> _Damaged:
    what = f"has no audio stream {stream}, only {num_streams} from 0 on"
    return _Damaged(what, "name one of these")


def _open_av(
    file: BinaryIO, number: int, stack: contextlib.ExitStack
) -> tuple[Info, Iterator[np.ndarray]]:
    try:
        container = av.open(file, options=_AV_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, UnicodeDecodeError) as error:
        what = "not an audio file, or truncated"
        raise _Damaged(what, "expected wav, flac, ogg, mp3, m4a ...") from error
    stack.enter_context(container)
    if not container.streams.audio:
        raise _Damaged("holds no audio stream", "name a file with sound")
    num_streams = len(container.streams.audio)
    if number >= num_streams:
        raise _no_stream(number, num_streams)
    stream = container.streams.audio[number]
    for other in container.streams:
        if other is not stream:  # five streams are read in half the time
            other.discard = Discard.all
    if not stream.rate or not stream.channels:
        raise _Damaged("holds no readable audio stream")
    header = Info(stream.rate, stream.channels, None, num_streams)
    # These tell their length; that of a raw stream would be FFmpeg's guess from the bit rate.
    if any(kind in container.format.name for kind in ("mp4", "matroska")) and container.duration:
        duration_s = container.duration / av.time_base
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        header = header._replace(num_samples=round(duration_s * stream.rate))

    def pieces() -> Iterator[np.ndarray]:
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        num_samples = 0
        for frame in _frames(container, stream, resampler):
            piece = np.ascontiguousarray(frame.to_ndarray().T)
            num_samples += len(piece)
            yield piece
        # Encoders' delay and padding are less than half a second at any rate.
        if header.num_samples and num_samples < header.num_samples - stream.rate // 2:
            raise _Damaged(f"truncated after {num_samples} of {header.num_samples} samples")

    return header, pieces()


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream, resampler: av.AudioResampler
) -> Iterator[av.AudioFrame]:
    for frame in container.decode(stream):
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)
