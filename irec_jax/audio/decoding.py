"""Audio decoders.

libsndfile (soundfile) decodes uncompressed files, FLAC and Ogg; FFmpeg (PyAV) decodes everything
else: mp3, m4a, mp4, aac, webm ... libsndfile could also decode mp3, but it prints to standard error
and, if files were joined, stops after the first one. Suffixes may be wrong, so they are ignored.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from irec_jax.audio.parts import Damaged, Part, Window, read_bytes
from irec_jax.audio.samples import BLOCK_SAMPLES
from irec_jax.text import plural

_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
# FFmpeg also opens playlists, which refer to other files and URLs; allow self-contained files only.
_AV_OPTIONS = {"protocol_whitelist": "none"}
# PyAV 18 rejects tags that are not UTF-8 unless this argument is set; PyAV 19 accepts them and has
# no such argument.
_AV_TAGS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# A single-stream file counts as misidentified if its size exceeds four times the number of decoded
# bytes by more than this number.
_MAX_OTHER_BYTES = 1 << 16
_FFMPEG_KINDS = ("mpeg", "mpeg in wav", "mp4", "matroska", "asf")


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


def soundfile_name(path: str | os.PathLike) -> Any:
    """Return a file name as bytes for soundfile, even if it is not valid UTF-8.

    The type is Any because soundfile accepts bytes but does not declare it.
    """
    return os.fsencode(path)


def open_part(
    file: BinaryIO,
    part: Part,
    stream: int,
    stack: contextlib.ExitStack,
    *,
    path: str | os.PathLike | None,
    notes: list[str],
) -> tuple[Info, Iterator[np.ndarray]]:
    """Open a part of a file; return its header and its samples as float32 pieces (n, C).

    Args:
        file, part: an open file and one of its parts.
        stream: index of the audio stream.
        stack: exit stack that closes the decoder.
        path: path of the file if the part is the complete file, otherwise None.
        notes: list to which remarks on the file are added once all pieces have been read.

    Raises:
        Damaged: the part is not audio, lacks the stream, or is damaged; damage within the audio is
            reported when it is reached.
    """
    head = read_bytes(file, part.start, 26)
    # libsndfile would treat anything that resembles an MPEG frame or an ID3 tag as mp3.
    is_foreign = part.kind in _FFMPEG_KINDS or head[:3] == b"ID3"
    is_frame = head[:1] == b"\xff" and head[1:2] >= b"\xe0"
    lacks_length = part.kind == "flac" and not int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    if not (is_foreign or is_frame or lacks_length):
        # Given a path, libsndfile reads without calling back into Python, where an interrupt would
        # be lost. For a file of unknown type, it would rely on the path's suffix.
        source = soundfile_name(path) if path is not None and part.kind else Window(file, part)
        with contextlib.suppress(soundfile.LibsndfileError):
            return _open_soundfile(source, part, stack, notes)
    return _open_av(file, part, stream, stack, notes)


def _open_soundfile(
    source: Any, part: Part, stack: contextlib.ExitStack, notes: list[str]
) -> tuple[Info, Iterator[np.ndarray]]:
    sound = stack.enter_context(soundfile.SoundFile(source))

    def pieces() -> Iterator[np.ndarray]:
        num_samples = 0
        while len(piece := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            num_samples += len(piece)
            yield piece
        if sound.format == "FLAC" and num_samples < sound.frames:
            raise Damaged(f"truncated after {num_samples} of {sound.frames} samples")
        _add_damage(notes, part.num_lost, part.num_frames, "pages")

    return Info(sound.samplerate, sound.channels, sound.frames), pieces()


def missing_stream(stream: int, num_streams: int) -> Damaged:
    """Return the error to raise if a file does not contain the requested stream."""
    streams = plural(num_streams, "audio stream")
    fault = f"has no audio stream {stream}: it contains {streams}, numbered from 0"
    return Damaged(fault, "choose an existing stream")


def _open_av(
    file: BinaryIO, part: Part, number: int, stack: contextlib.ExitStack, notes: list[str]
) -> tuple[Info, Iterator[np.ndarray]]:
    container_format = "mp3" if part.kind == "mpeg" else None
    try:
        container = av.open(
            Window(file, part), "r", format=container_format, options=_AV_OPTIONS, **_AV_TAGS
        )
    except (FFmpegError, UnicodeDecodeError) as error:
        fault = "not an audio file, or truncated"
        raise Damaged(fault, "expected wav, flac, ogg, mp3, m4a ...") from error
    stack.enter_context(container)
    if not container.streams.audio:
        raise Damaged("contains no audio stream", "name a file that contains audio")
    num_streams = len(container.streams.audio)
    if number >= num_streams:
        raise missing_stream(number, num_streams)
    stream = container.streams.audio[number]
    for other in container.streams:
        if other is not stream:  # halves the decoding time of a file with five streams
            other.discard = Discard.all
    # A stream with invalid parameters has no decoder, and therefore no rate and no channels.
    if not getattr(stream, "rate", None) or not getattr(stream, "channels", None):
        raise Damaged("contains no readable audio stream")
    header = Info(stream.rate, stream.channels, part.num_samples, num_streams)
    # MP4 and Matroska containers state a duration. For a raw stream, FFmpeg would guess it from
    # the bit rate.
    if part.kind in ("mp4", "matroska"):
        duration_s = _stated_duration_s(container, stream)
        if duration_s:
            header = header._replace(num_samples=round(duration_s * stream.rate))
    return header, _av_pieces(container, stream, header, part, notes)


def _stated_duration_s(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return the duration of a stream as stated in an MP4 or Matroska file; None if unknown."""
    unit_s = float(stream.time_base or 0)
    if stream.duration is not None and unit_s:
        return stream.duration * unit_s
    # Matroska states the duration of the longest stream, and in most files the end of each stream.
    if end := _CLOCK.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, end.groups())
        return 3600 * hours + 60 * minutes + seconds - (stream.start_time or 0) * unit_s
    if len(container.streams) > 1 or not container.duration:
        return None
    return container.duration / av.time_base


def _av_pieces(
    container: InputContainer, stream: av.AudioStream, header: Info, part: Part, notes: list[str]
) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    counts = _Counts()
    num_samples, pending, num_pending = 0, [], 0
    for frame in _frames(container, stream, resampler, part.kind == "mpeg", counts):
        planes: Any = frame.planes  # buffers, but PyAV does not declare them as such
        pending.append([np.frombuffer(plane, np.float32, frame.samples) for plane in planes])
        num_samples += frame.samples
        num_pending += frame.samples
        if num_pending >= BLOCK_SAMPLES:  # frames are too short to be processed individually
            yield _interleave(pending)
            pending, num_pending = [], 0
    if pending:
        yield _interleave(pending)
    other_bytes = part.num_bytes - 4 * counts.num_bytes
    if len(container.streams) == 1 and part.kind != "mpeg" and other_bytes > _MAX_OTHER_BYTES:
        fault = f"only {counts.num_bytes} of {part.num_bytes} bytes can be decoded"
        raise Damaged(fault, "export it again")
    # Encoder delay and padding are shorter than half a second at any sample rate.
    stated = 0 if part.kind == "mpeg" else header.num_samples or 0
    if num_samples < stated - header.sample_rate_hz // 2:
        raise Damaged(f"truncated after {num_samples} of {stated} samples")
    _add_damage(notes, max(part.num_lost, counts.num_lost), part.num_frames, "frames")


def _interleave(frames: list[list[np.ndarray]]) -> np.ndarray:
    """Join frames of C planes (n,) into samples (T, C)."""
    return np.stack([np.concatenate(planes) for planes in zip(*frames, strict=True)], axis=1)


class _Counts:
    """Number of decoded bytes and number of packets that could not be decoded."""

    num_bytes = 0
    num_lost = 0


def _frames(
    container: InputContainer,
    stream: av.AudioStream,
    resampler: av.AudioResampler,
    skips_damage: bool,
    counts: _Counts,
) -> Iterator[av.AudioFrame]:
    first = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError:
            if not skips_damage:
                raise
            counts.num_lost += 1
            continue
        counts.num_bytes += packet.size
        for frame in frames:
            frame.pts = None
            form = frame.sample_rate, frame.layout.nb_channels, frame.format.name
            first = first or form
            if form[:2] != first[:2]:
                raise Damaged(
                    f"changes from {first[0]} Hz, {first[1]} channels to {form[0]} Hz, {form[1]} "
                    "channels",
                    "split it into files with one format each",
                )
            if form[2] == "fltp":
                yield frame
            else:
                yield from resampler.resample(frame)
    if first and first[2] != "fltp":
        yield from resampler.resample(None)


def _add_damage(notes: list[str], num_lost: int, num_all: int, unit: str) -> None:
    if num_lost:
        notes.append(f"damaged in places: {num_lost} of {max(num_all, num_lost)} {unit}")
