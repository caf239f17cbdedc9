"""Multithreaded decoding of audio files into examples for recognition datasets."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

import numpy as np

from data_builders.common.archives import File
from data_builders.common.features import AudioFormat
from irec_jax import audio
from irec_jax.errors import UserError

#: Maximum decoded clip size, which corresponds to 3.4 h of mono22k or 51 min of stereo44k.
#: Several copies of a clip are in memory while it is written.
MAX_CLIP_BYTES = 512 << 20
#: Maximum difference in length between the streams of a track or piece. Codec padding and
#: resampling cause small differences.
TOLERANCE_S = 0.1

_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip that has not been decoded yet; see `features.recognition_features`."""

    file: File
    id: str
    labels: tuple[str, ...]
    song: str
    drums: str = "unknown"
    genre: str = "unknown"
    part: int = 0


@dataclasses.dataclass(frozen=True)
class Examples:
    """The (key, example) pairs of a split, decoded in threads, in the order of ``clips``.

    ``contradictory`` contains the ids of the clips to flag. If ``on_error`` is given, it is called
    with the `UserError` of each clip that cannot be read, and the clip is skipped; otherwise the
    error is raised.
    """

    clips: Sequence[Clip]
    audio_format: AudioFormat
    contradictory: frozenset[str] = frozenset()
    on_error: Callable[[UserError], None] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for clip, samples in zip(self.clips, in_threads(self._decode, self.clips), strict=True):
            if isinstance(samples, UserError):
                if self.on_error is None:
                    raise samples
                self.on_error(samples)
                continue
            example = {f.name: getattr(clip, f.name) for f in dataclasses.fields(Clip)[1:]}
            contradictory = clip.id in self.contradictory
            yield clip.id, example | dict(audio=samples, contradictory=contradictory)

    def _decode(self, clip: Clip) -> np.ndarray | UserError:
        try:
            return decode(clip.file.open(), self.audio_format)
        except UserError as error:
            return error


def decode(file: str | os.PathLike | BinaryIO, audio_format: AudioFormat) -> np.ndarray:
    """Decode a file to int16 (T, C).

    A mono format averages the file's channels; if they cancel, as in a stereo pair with one
    channel inverted, the loudest one is used instead. A stereo format keeps both channels of a
    stereo file; any other file is reduced to one channel, which is duplicated. If peaks exceed full
    scale, in float files or after resampling, the clip is scaled down rather than clipped.

    Raises:
        UserError: as for `audio.read`, or if the clip is larger than `MAX_CLIP_BYTES`.
    """
    peak, samples = decode_at(file, audio_format)
    if peak > 1:
        _, samples = decode_at(file, audio_format, gain=1 / peak)
    return samples


def decode_at(
    file: str | os.PathLike | BinaryIO,
    audio_format: AudioFormat,
    *,
    gain: float = 1.0,
    stream: int = 0,
) -> tuple[float, np.ndarray]:
    """Decode one stream of a file and apply a gain; peaks beyond full scale are clipped.

    Returns:
        The peak before the gain is applied, and the samples, int16 (T, C), as returned by `decode`.
    """
    num_channels = audio_format.num_channels
    if num_channels > 1 and audio.info(file, stream=stream).num_channels == num_channels:
        return _collect(file, audio_format, gain, stream=stream, mono=False)
    levels = audio.ChannelLevels()
    peak, samples = _collect(file, audio_format, gain, stream=stream, levels=levels)
    if levels.cancel:
        peak, samples = _collect(file, audio_format, gain, stream=stream, channel=levels.loudest)
    return peak, np.repeat(samples, num_channels, axis=1)


def _collect(
    file: str | os.PathLike | BinaryIO, audio_format: AudioFormat, gain: float, **options: Any
) -> tuple[float, np.ndarray]:
    """Return the peak and the samples that `audio.blocks` reads; see `decode_at`."""
    peak, num_bytes, blocks = 0.0, 0, []
    rate_hz, num_channels = audio_format.sample_rate_hz, audio_format.num_channels
    for block in audio.blocks(file, sample_rate_hz=rate_hz, **options):
        peak = max(peak, float(np.abs(block).max()))
        blocks.append(audio.to_int16(np.float32(gain) * block))
        num_bytes += blocks[-1].nbytes // block.shape[1] * num_channels
        if num_bytes > MAX_CLIP_BYTES:
            minutes = MAX_CLIP_BYTES / (120 * num_channels * rate_hz)
            name = getattr(file, "name", file)
            raise UserError(f"{name}: longer than {minutes:.0f} minutes; split the file")
    return peak, np.concatenate(blocks)


def check_lengths(origin: str, lengths_s: Mapping[str, float]) -> None:
    """Check that the files or streams of a track or piece have the same length.

    Args:
        origin: file or folder, shown at the start of the error message.
        lengths_s: name -> length of each file or stream.

    Raises:
        UserError: if lengths differ by more than `TOLERANCE_S`.
    """
    if not lengths_s:
        return
    short, long = (choose(lengths_s, key=lengths_s.__getitem__) for choose in (min, max))
    if lengths_s[long] - lengths_s[short] > TOLERANCE_S:
        raise UserError(
            f"{origin}: {short} lasts {lengths_s[short]:.2f} s, but {long} lasts "
            f"{lengths_s[long]:.2f} s; export all of them with the same start and length"
        )


def in_threads(function: Callable[[_T], _U], items: Iterable[_T]) -> Iterator[_U]:
    """Map a function over items in up to four threads (at most one per core), in order.

    Up to one item per thread is processed ahead of the caller.
    """
    num_threads = min(4, os.cpu_count() or 1)
    items = iter(items)
    with ThreadPoolExecutor(num_threads) as executor:
        pending = collections.deque(
            executor.submit(function, item) for item in itertools.islice(items, num_threads)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(executor.submit(function, i) for i in itertools.islice(items, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
