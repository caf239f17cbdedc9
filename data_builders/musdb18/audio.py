"""Track decoding, and comparison of each mixture with the sum of its stems."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from data_builders.common.decoding import check_lengths, decode_at, in_threads
from data_builders.common.features import STEM_SAMPLE_RATE_HZ, AudioFormat
from data_builders.common.stems import num_segments, track_examples
from data_builders.musdb18 import tracks as musdb18_tracks
from data_builders.musdb18.files import TrackFiles, check_header
from irec_jax.errors import UserError
from irec_jax.labels import STEMS, STREAMS

#: Maximum track duration in s. Each thread keeps a complete track in memory: 1.6 GB for 30 min.
MAX_TRACK_S = 1_800
#: Minimum SNR of a mixture in dB, relative to the sum of its stems; tracks below it are flagged.
#: Lossy coding alone does not reduce the SNR below 24 dB.
MIN_SNR_DB = 15.0
_FORMAT = AudioFormat(STEM_SAMPLE_RATE_HZ, 2)
_BLOCK_SAMPLES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Examples:
    """The (key, example) pairs of a split, decoded in threads, track by track."""

    tracks: Sequence[TrackFiles]
    num_examples: int

    def __length_hint__(self) -> int:
        return self.num_examples

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for track, streams in zip(self.tracks, in_threads(decode, self.tracks), strict=True):
            yield from track_examples(track.name, streams, errata=errata(track.name, streams))


def prepare_examples(tracks: Sequence[TrackFiles]) -> Examples:
    """Check the file headers of all tracks and return the examples.

    Raises:
        UserError: as for `files.check_header`, or if a track is longer than `MAX_TRACK_S`.
    """
    num_examples = 0
    for track, length_s in zip(tracks, in_threads(check_header, tracks), strict=True):
        _check_duration(track, length_s)
        num_examples += len(STREAMS) * num_segments(round(length_s * STEM_SAMPLE_RATE_HZ))
    return Examples(tracks, num_examples)


def decode(track: TrackFiles) -> dict[str, np.ndarray]:
    """Decode a track's streams to int16 (T, 2), truncated to the shortest stream.

    Streams are resampled to `STEM_SAMPLE_RATE_HZ`, and mono streams become stereo. If peaks exceed
    full scale, all streams are scaled down by the same factor, which preserves their balance.

    Raises:
        UserError: if a file cannot be read, the track is longer than `MAX_TRACK_S`, or the lengths
            of its streams differ by more than `decoding.TOLERANCE_S`.
    """
    peak, streams = _decode(track, 1.0)
    if peak > 1:
        _, streams = _decode(track, 1 / peak)
    num_samples = min(len(samples) for samples in streams.values())
    return {stream: samples[:num_samples] for stream, samples in streams.items()}


def _decode(track: TrackFiles, gain: float) -> tuple[float, dict[str, np.ndarray]]:
    peaks, streams, previous = [], {}, None
    opened: str | BinaryIO = ""
    for stream, (file, number) in track.streams.items():
        if file is not previous:
            previous, opened = file, file.open()
        peak, streams[stream] = decode_at(opened, _FORMAT, gain=gain, stream=number)
        peaks.append(peak)
        _check_duration(track, len(streams[stream]) / STEM_SAMPLE_RATE_HZ)
    check_lengths(track.origin, {s: len(x) / STEM_SAMPLE_RATE_HZ for s, x in streams.items()})
    return max(peaks), streams


def _check_duration(track: TrackFiles, length_s: float) -> None:
    if length_s > MAX_TRACK_S:
        minutes = MAX_TRACK_S // 60
        raise UserError(f"{track.origin}: longer than {minutes} minutes; split the track")


def errata(name: str, streams: Mapping[str, np.ndarray]) -> str:
    """Return the known and measured errors in a track."""
    errors = [musdb18_tracks.errata(name)]
    snr_db = mixture_snr_db(streams)
    if snr_db < MIN_SNR_DB:
        errors.append(f"mixture differs from the sum of the stems (SNR {snr_db:.1f} dB)")
    return "; ".join(filter(None, errors))


def mixture_snr_db(streams: Mapping[str, np.ndarray]) -> float:
    """Return the mixture's SNR in dB; the noise is its difference from the sum of the stems."""
    signal = noise = 0.0
    for start in range(0, len(streams["mixture"]), _BLOCK_SAMPLES):
        block = slice(start, start + _BLOCK_SAMPLES)
        mixture = streams["mixture"][block].astype(np.int64)
        signal += float(np.square(mixture).sum())
        for stem in STEMS:
            mixture -= streams[stem][block]
        noise += float(np.square(mixture).sum())
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
