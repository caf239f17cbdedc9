"""Reading audio files, complete or block by block, and finding them in folders.

libsndfile (soundfile) decodes wav, flac, ogg, mp3 and aiff, FFmpeg (PyAV) everything else: m4a,
mp4, aac, webm ...
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from irec_jax.audio.samples import BLOCK_SAMPLES, resample_pieces
from irec_jax.errors import UserError

#: Full scale is 1. Far larger samples are not audio, and their squares would overflow in float32.
MAX_SAMPLE = 1e12
_WAV_TOLERANCE_BYTES = 64
# FFmpeg also opens playlists, which refer to other files and URLs: read self-contained files only.
_AV_OPTIONS = {"protocol_whitelist": "none"}
# PyAV 18 refuses tags that are not UTF-8 unless told otherwise; PyAV 19 accepts them and has no
# such argument.
_AV_TAGS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class Info(NamedTuple):
    """Header of an audio file.

    ``num_samples`` (per channel) is exact for uncompressed and lossless files, may be off by a
    codec frame for lossy ones, and is None if the container does not state it. ``num_streams``
    counts the audio streams; each has its own rate, channels and length.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int | None
    num_streams: int = 1


def info(path: str | os.PathLike | BinaryIO, *, stream: int = 0) -> Info:
    """Return the sample rate, channels and length of an audio file without decoding it.

    Args:
        path: a path, or an open seekable file.
        stream: index of the audio stream.

    Raises:
        UserError: missing, empty, not audio, or no such stream.
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
    """Read an audio file.

    Args:
        path, stream: as for `info`.
        sample_rate_hz: rate to resample to; None keeps that of the file.
        mono: average the channels.

    Returns:
        Samples, float32 (T, C) with C = 1 for mono, and their rate in Hz.

    Raises:
        UserError: missing, empty, truncated, not audio, no such stream, no samples, NaN or infinite
            samples. A wav file counts as truncated if its header states more bytes than the file
            has, unless it was streamed and its header states no length. Silence is not an error.
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
    """Read an audio file block by block, in constant memory.

    Args:
        path, sample_rate_hz, mono, stream: as for `read`.
        block_samples: block length after resampling.

    Yields:
        float32 (block_samples, C); the last block may be shorter. Concatenated, the blocks equal
        the result of `read`.

    Raises:
        UserError: as for `read`; damage within the file is reported when it is reached.
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
            num_ready = num_pending - num_pending % block_samples
            for start in range(0, num_ready, block_samples):
                yield joined[start : start + block_samples]
            pending, num_pending = [joined[num_ready:]], num_pending - num_ready
        if num_pending:
            yield np.concatenate(pending)


class _Damaged(Exception):
    """A fault of the file being read, and its remedy; `_open` adds the file name."""

    def __init__(self, fault: str, remedy: str = "get an intact copy of the file"):
        super().__init__(fault)
        self.remedy = remedy


def file_error(path: str | os.PathLike, fault: str, remedy: str) -> UserError:
    """Return the error `<file name>: <fault>; <remedy>`."""
    # Printing a name that is not valid UTF-8 must not raise another error.
    name = os.fsencode(path).decode("utf-8", "replace")
    return UserError(f"{name}: {fault}; {remedy}")


def soundfile_name(path: str | os.PathLike) -> Any:
    """Return a file name for soundfile as bytes, which need not be valid UTF-8.

    The type is Any because soundfile accepts bytes but does not declare it.
    """
    return os.fsencode(path)


@contextlib.contextmanager
def _open(
    path_or_file: str | os.PathLike | BinaryIO, stream: int
) -> Iterator[tuple[Info, Iterator[np.ndarray]]]:
    """Open a file and yield its header and an iterator of checked float32 (n, C) pieces."""
    is_path = isinstance(path_or_file, str | os.PathLike)
    path = path_or_file if is_path else str(getattr(path_or_file, "name", "file"))
    with contextlib.ExitStack() as stack:
        try:
            if is_path:
                _check_regular(path)
                file = stack.enter_context(open(path, "rb"))
            else:
                file = path_or_file
            if not file.seek(0, os.SEEK_END):
                raise _Damaged("is empty (0 bytes)")
            file.seek(0)
            try:
                # Given a path, libsndfile reads without calling back into Python, where an
                # interrupt would be lost.
                sound = soundfile_name(path) if is_path else file
                header, pieces = _open_soundfile(file, sound, stack)
            except soundfile.LibsndfileError:
                file.seek(0)
                header, pieces = _open_av(file, stream, stack)
            if stream >= header.num_streams:
                raise _missing_stream(stream, header.num_streams)
            yield header, _check_pieces(pieces)
        except FileNotFoundError as error:
            raise file_error(path, "no such file", "check the path") from error
        except _Damaged as error:
            raise file_error(path, str(error), error.remedy) from error
        except (FFmpegError, soundfile.SoundFileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise file_error(path, f"damaged audio: {reason}", "get an intact copy") from error
        except OSError as error:
            raise file_error(path, f"cannot be read: {error.strerror}", "check the file") from error


def _check_regular(path: str | os.PathLike) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise _Damaged("is a folder", "name an audio file")
    if not stat.S_ISREG(mode):  # opening a pipe would wait
        raise _Damaged("is a pipe or device", "name an audio file")


def _check_pieces(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    num_samples = 0
    for piece in pieces:
        if not np.isfinite(piece).all():
            raise _Damaged("contains NaN or infinite samples", "export it again")
        if max(abs(piece.min(initial=0)), abs(piece.max(initial=0))) > MAX_SAMPLE:
            fault = f"contains samples above {MAX_SAMPLE:.0e} times full scale"
            raise _Damaged(fault, "export it again")
        num_samples += len(piece)
        yield piece
    if not num_samples:
        raise _Damaged("contains no samples", "remove it or export it again")


def _convert(
    pieces: Iterator[np.ndarray], old_rate_hz: int, new_rate_hz: int, mono: bool
) -> Iterator[np.ndarray]:
    if mono:
        pieces = (piece.mean(axis=1, keepdims=True, dtype=np.float32) for piece in pieces)
    return resample_pieces(pieces, old_rate_hz, new_rate_hz)


def _open_soundfile(
    file: BinaryIO, path_or_file: str | BinaryIO, stack: contextlib.ExitStack
) -> tuple[Info, Iterator[np.ndarray]]:
    sound = stack.enter_context(soundfile.SoundFile(path_or_file))
    if sound.format in ("WAV", "WAVEX"):
        _check_wav(file)
    known = 0 <= sound.frames < 1 << 62  # a flac stream need not state its length

    def pieces() -> Iterator[np.ndarray]:
        num_samples = 0
        while len(piece := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            num_samples += len(piece)
            yield piece
        if sound.format == "FLAC" and known and num_samples < sound.frames:
            raise _Damaged(f"truncated after {num_samples} of {sound.frames} samples")

    return Info(sound.samplerate, sound.channels, sound.frames if known else None), pieces()


def _check_wav(file: BinaryIO) -> None:
    """Check that the file is as long as the data chunk of its RIFF header states.

    libsndfile reads a truncated file without an error. Sizes of 0 and of 0x7FFFF000 or more are
    written by programs that stream and do not know the length: these are not checked. A few
    missing bytes are tolerated (a counted pad byte, an incomplete last sample).
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF":
        return
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, stated = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"data":
            if 0 < stated < 0x7FFFF000 and position + stated > size + _WAV_TOLERANCE_BYTES:
                raise _Damaged(f"truncated: {size - position} of {stated} bytes of audio")
            return
        position += stated + stated % 2


def _missing_stream(stream: int, num_streams: int) -> _Damaged:
    fault = f"has no audio stream {stream}: its {num_streams} streams are numbered from 0"
    return _Damaged(fault, "name one of these")


def _open_av(
    file: BinaryIO, number: int, stack: contextlib.ExitStack
) -> tuple[Info, Iterator[np.ndarray]]:
    try:
        container = av.open(file, "r", options=_AV_OPTIONS, **_AV_TAGS)
    except (FFmpegError, UnicodeDecodeError) as error:
        fault = "not an audio file, or truncated"
        raise _Damaged(fault, "expected wav, flac, ogg, mp3, m4a ...") from error
    stack.enter_context(container)
    if not container.streams.audio:
        raise _Damaged("contains no audio stream", "name a file with sound")
    num_streams = len(container.streams.audio)
    if number >= num_streams:
        raise _missing_stream(number, num_streams)
    stream = container.streams.audio[number]
    for other in container.streams:
        if other is not stream:  # halves the time for a file of five streams
            other.discard = Discard.all
    if not stream.rate or not stream.channels:
        raise _Damaged("contains no readable audio stream")
    header = Info(stream.rate, stream.channels, None, num_streams)
    # These containers state their length; for a raw stream FFmpeg guesses it from the bit rate.
    if any(kind in container.format.name for kind in ("mp4", "matroska")) and container.duration:
        duration_s = container.duration / av.time_base
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        header = header._replace(num_samples=round(duration_s * stream.rate))

    def pieces() -> Iterator[np.ndarray]:
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        num_samples = 0
        for frame in _frames(container, stream, resampler):
            piece = np.ascontiguousarray(frame.to_ndarray().T)
            num_samples += len(piece)
            yield piece
        # The delay and padding of encoders are below half a second at any rate.
        if header.num_samples and num_samples < header.num_samples - stream.rate // 2:
            raise _Damaged(f"truncated after {num_samples} of {header.num_samples} samples")

    return header, pieces()


def _frames(
    container: InputContainer, stream: av.AudioStream, resampler: av.AudioResampler
) -> Iterator[av.AudioFrame]:
    for frame in container.decode(stream):
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


#: Suffixes of audio files, in lower case.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64", ".caf"),
    *(".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka", ".mkv", ".mov"),
)


def find(
    paths: Iterable[str | os.PathLike] | str | os.PathLike, *, suffixes: Sequence[str] = SUFFIXES
) -> list[Path]:
    """Return the audio files among files and folders.

    Args:
        paths: files, accepted with any suffix, and folders, searched recursively for files with
            one of the suffixes (in any case). Hidden files and ``__MACOSX`` are skipped.
        suffixes: in lower case, with the dot.

    Returns:
        Each file once, in the order of ``paths``; the files of a folder are sorted by path.

    Raises:
        UserError: a path does not exist, or a folder contains no audio files.
    """
    unique: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = Path(path)
        if not path.exists():
            raise file_error(path, "no such file or folder", "check the path")
        files = _walk(path, suffixes) if path.is_dir() else [path]
        if not files:
            known = " ".join(suffixes)
            raise file_error(path, "contains no audio files", f"expected files ending in {known}")
        unique.update(dict.fromkeys(files))
    return list(unique)


def _walk(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files, visited = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a cycle of links
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [n for n in folders if not n.startswith((".", "__MACOSX"))]
        kept = [n for n in names if n.lower().endswith(tuple(suffixes)) and not n.startswith(".")]
        files += [Path(parent, name) for name in kept]
    return sorted(files)
