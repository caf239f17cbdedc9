"""Reading audio files, in full or block by block, and finding them in folders.

A file is identified by its content; its suffix does not matter.
"""

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from av.error import FFmpegError

from irec_jax.audio import containers, decoding
from irec_jax.audio.decoding import Info, missing_stream
from irec_jax.audio.parts import Damaged, Part
from irec_jax.audio.samples import BLOCK_SAMPLES, ChannelLevels, resample_pieces
from irec_jax.errors import UserError
from irec_jax.text import join_names

#: Largest accepted absolute sample value, relative to full scale. Much larger values are not audio,
#: and their squares would overflow float32.
MAX_SAMPLE = 1e12


def info(path: str | os.PathLike | BinaryIO, *, stream: int = 0) -> Info:
    """Return the sample rate, channels and length of an audio file without decoding it.

    Args:
        path: a path, or an open seekable file.
        stream: index of the audio stream.

    Raises:
        UserError: the file is missing, empty or not audio, or lacks the stream.
    """
    with _open(path, stream, []) as (header, _):
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
        path, stream: see `info`.
        sample_rate_hz: rate to resample to; None keeps the file's rate.
        mono: average the channels.

    Returns:
        Samples, float32 (T, C) with C = 1 for mono, and their rate in Hz.

    Raises:
        UserError: the file is missing, empty, truncated or not audio; it lacks the stream or has no
            samples; samples are NaN, infinite or above `MAX_SAMPLE`; or joined files differ in rate
            or channels. A file counts as truncated if its header states more bytes or frames than
            it holds. Silence is not an error, nor is a header without a length, as in a file
            written to a pipe.
    """
    with _open(path, stream, []) as (header, decoded):
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
    channel: int | None = None,
    levels: ChannelLevels | None = None,
    notes: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Read an audio file block by block, in constant memory.

    Args:
        path, sample_rate_hz, mono, stream: see `read`.
        block_samples: block length after resampling.
        channel: read this channel instead of averaging the channels.
        levels: object that measures the levels of the channels before they are averaged.
        notes: list to which remarks on the file are added after the last block, such as "damaged
            in places: 3 of 210 frames".

    Yields:
        float32 (block_samples, C); the last block may be shorter. When concatenated, the blocks
        equal the result of `read`.

    Raises:
        UserError: see `read`; damage within the file is reported when it is reached.
    """
    with _open(path, stream, [] if notes is None else notes) as (header, decoded):
        rate_hz = sample_rate_hz or header.sample_rate_hz
        if levels is not None:
            decoded = _measure(decoded, levels)
        if channel is not None:
            decoded = (piece[:, channel : channel + 1] for piece in decoded)
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


def file_error(path: str | os.PathLike, fault: str, remedy: str) -> UserError:
    """Return the error `<file name>: <fault>; <remedy>`."""
    # Printing a name that is not valid UTF-8 must not raise another error.
    name = os.fsencode(path).decode("utf-8", "replace")
    return UserError(f"{name}: {fault}; {remedy}")


@contextlib.contextmanager
def _open(
    path_or_file: str | os.PathLike | BinaryIO, stream: int, notes: list[str]
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
                raise Damaged("is empty (0 bytes)")
            parts = containers.split(file)
            is_whole = is_path and len(parts) == 1 and parts[0].is_whole(file)
            open_part = functools.partial(
                decoding.open_part,
                file,
                stream=stream,
                path=path if is_whole else None,
                notes=notes,
            )
            if len(parts) == 1:
                header, pieces = open_part(part=parts[0], stack=stack)
            else:
                header, pieces = _join(parts, open_part)
            if stream >= header.num_streams:
                raise missing_stream(stream, header.num_streams)
            yield header, _check_pieces(pieces)
        except FileNotFoundError as error:
            raise file_error(path, "no such file", "check the path") from error
        except Damaged as error:
            raise file_error(path, str(error), error.remedy) from error
        except (FFmpegError, soundfile.SoundFileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise file_error(path, f"damaged audio: {reason}", "get an intact copy") from error
        except OSError as error:
            raise file_error(path, f"cannot be read: {error.strerror}", "check the file") from error


def _join(
    parts: Sequence[Part], open_part: Callable[..., tuple[Info, Iterator[np.ndarray]]]
) -> tuple[Info, Iterator[np.ndarray]]:
    """Return the common header of several parts, and an iterator over all of their samples."""
    headers = []
    for part in parts:
        with contextlib.ExitStack() as stack:
            headers.append(open_part(part=part, stack=stack)[0])
    forms = list(dict.fromkeys((h.sample_rate_hz, h.num_channels) for h in headers))
    if len(forms) > 1:
        differing = join_names([f"{rate} Hz with {channels} channels" for rate, channels in forms])
        raise Damaged(
            f"consists of {len(parts)} joined files in different formats ({differing})",
            "split the file",
        )
    lengths = [header.num_samples for header in headers]
    num_samples = None if None in lengths else sum(n or 0 for n in lengths)

    def pieces() -> Iterator[np.ndarray]:
        for part in parts:
            with contextlib.ExitStack() as stack:
                yield from open_part(part=part, stack=stack)[1]

    return headers[0]._replace(num_samples=num_samples), pieces()


def _check_regular(path: str | os.PathLike) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise Damaged("is a folder", "name an audio file")
    if not stat.S_ISREG(mode):  # opening a pipe would block
        raise Damaged("is a pipe or device", "name an audio file")


def _check_pieces(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    num_samples = 0
    for piece in pieces:
        if not np.isfinite(piece).all():
            raise Damaged("contains NaN or infinite samples", "export it again")
        if max(abs(piece.min(initial=0)), abs(piece.max(initial=0))) > MAX_SAMPLE:
            fault = f"contains samples above {MAX_SAMPLE:.0e} times full scale"
            raise Damaged(fault, "export it again")
        num_samples += len(piece)
        yield piece
    if not num_samples:
        raise Damaged("contains no samples", "remove it or export it again")


def _mean(piece: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, (n, 1)."""
    if piece.shape[1] == 2:  # same result, but much faster
        return (piece[:, :1] + piece[:, 1:]) / np.float32(2)
    return piece.mean(axis=1, keepdims=True, dtype=np.float32)


def _measure(pieces: Iterator[np.ndarray], levels: ChannelLevels) -> Iterator[np.ndarray]:
    for piece in pieces:
        levels.add(piece)
        yield piece


def _convert(
    pieces: Iterator[np.ndarray], old_rate_hz: int, new_rate_hz: int, mono: bool
) -> Iterator[np.ndarray]:
    if mono:
        pieces = map(_mean, pieces)
    return resample_pieces(pieces, old_rate_hz, new_rate_hz)


#: Suffixes of audio files, in lower case.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64", ".caf"),
    *(".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka", ".mkv", ".mov"),
)


def find(
    paths: Iterable[str | os.PathLike] | str | os.PathLike, *, suffixes: Sequence[str] = SUFFIXES
) -> list[Path]:
    """Return the given audio files and all audio files in the given folders.

    Args:
        paths: files, which may have any suffix, and folders, which are searched recursively for
            files with one of the suffixes (in any case). Hidden files and ``__MACOSX`` are skipped.
        suffixes: suffixes in lower case, with the dot.

    Returns:
        Each file once, in the order of ``paths``; the files in a folder are sorted by path.

    Raises:
        UserError: a path does not exist, or a folder is unreadable or contains no audio files.
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
    def fail(error: OSError) -> None:
        raise file_error(
            error.filename, f"cannot be read ({error.strerror})", "make the folder readable"
        ) from error

    files, visited = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(parent)
        if real in visited:  # symbolic links form a cycle
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [n for n in folders if not n.startswith((".", "__MACOSX"))]
        kept = [n for n in names if n.lower().endswith(tuple(suffixes)) and not n.startswith(".")]
        files += [Path(parent, name) for name in kept]
    return sorted(files)
