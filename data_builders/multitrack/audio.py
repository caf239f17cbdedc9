"""Parallel decoding of a piece's tracks, segment by segment."""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from data_builders.common.archives import File
from data_builders.common.decoding import check_lengths, in_threads
from data_builders.common.features import SEGMENT_S
from data_builders.common.multitrack import segment_example
from data_builders.multitrack.files import PieceFiles
from irec_jax import audio


@dataclasses.dataclass(frozen=True)
class Examples:
    """The (key, example) pairs of a split, decoded during iteration, one segment at a time.

    Dry tracks become ``stems``; other tracks become ``spots``. A missing mix is replaced by the sum
    of the tracks, normalised to full scale.
    """

    pieces: Sequence[PieceFiles]
    sample_rate_hz: int
    num_segments: int

    def __len__(self) -> int:
        return self.num_segments

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for piece in self.pieces:
            yield from self._segments(piece)

    def _segments(self, piece: PieceFiles) -> Iterator[tuple[str, dict[str, Any]]]:
        # The files are first read to measure the peaks. One gain for the entire piece preserves the
        # balance between the tracks and prevents clipping in float files or after resampling.
        mix_peak, peak, channels = _measure(piece, self.sample_rate_hz)
        gain = np.float32(1 / max(1.0, peak))
        mix_gain = np.float32(1 / (max(1.0, mix_peak) if piece.mix else mix_peak or 1.0))
        for number, (mix, tracks) in enumerate(read_segments(piece, self.sample_rate_hz, channels)):
            tracks = audio.to_int16(gain * tracks)
            yield segment_example(
                piece=piece.name,
                segment=number,
                start_s=float(number * SEGMENT_S),
                tracks=piece.tracks,
                mix=audio.to_int16(mix_gain * mix),
                spots=None if piece.dry else tracks,
                stems=tracks if piece.dry else None,
            )


def prepare_examples(pieces: Sequence[PieceFiles], *, sample_rate_hz: int) -> Examples:
    """Check the file headers of all pieces and return the examples.

    Raises:
        UserError: if a file cannot be read, or the tracks of a piece have different lengths.
    """
    num_segments = 0
    for piece in pieces:
        lengths_s = {}
        for file in _files(piece):
            header = audio.info(file.open())
            if header.num_samples is not None:
                lengths_s[file] = header.num_samples / header.sample_rate_hz
        _check_lengths(piece, lengths_s)
        num_segments += math.ceil(max(lengths_s.values(), default=0) / SEGMENT_S)
    return Examples(pieces, sample_rate_hz, num_segments)


def read_segments(
    piece: PieceFiles,
    sample_rate_hz: int,
    channels: Mapping[File, int] = MappingProxyType({}),
    levels: Mapping[File, audio.ChannelLevels] = MappingProxyType({}),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (mix, tracks) for each segment of a piece, as float32 (T, 2) and float32 (J, T).

    All segments except the last are `SEGMENT_S` long. Shorter tracks are padded with silence. A
    missing mix is replaced by the sum of the tracks.

    Args:
        piece: piece to read.
        sample_rate_hz: sample rate of the segments.
        channels: file -> channel to use; the channels of other files are averaged.
        levels: file -> object that measures the file's channel levels.

    Raises:
        UserError: if a file cannot be read or, after the last segment, if tracks turn out to have
            different lengths.
    """
    files = _files(piece)
    streams = [
        _stream(file, sample_rate_hz, file is piece.mix, channels.get(file), levels.get(file))
        for file in files
    ]
    lengths = np.zeros(len(files))
    while True:
        blocks = list(in_threads(lambda stream: next(stream, None), streams))
        sizes = [0 if block is None else len(block) for block in blocks]
        if not any(sizes):
            break
        lengths += sizes
        tracks = np.zeros((len(piece.files), max(sizes)), np.float32)
        for track, block in zip(tracks, blocks, strict=False):
            if block is not None:
                track[: len(block)] = block[:, 0]
        mix = np.zeros((max(sizes), 2), np.float32)
        if piece.mix is None:
            mix += tracks.sum(axis=0)[:, None]
        elif blocks[-1] is not None:
            mix[: len(blocks[-1])] = blocks[-1]  # a mono mix fills both channels
        yield mix, tracks
    _check_lengths(piece, dict(zip(files, lengths / sample_rate_hz, strict=True)))


def _files(piece: PieceFiles) -> list[File]:
    """Return the track files, followed by the mix file if there is one."""
    return [*piece.files.values(), *([] if piece.mix is None else [piece.mix])]


def _check_lengths(piece: PieceFiles, lengths_s: Mapping[File, float]) -> None:
    if piece.ragged:
        return
    names = {file: os.path.split(file.origin) for file in lengths_s}
    folder = next((folder for folder, _ in names.values()), "")
    check_lengths(folder, {names[file][1]: length for file, length in lengths_s.items()})


def _stream(
    file: File,
    sample_rate_hz: int,
    is_mix: bool,
    channel: int | None,
    levels: audio.ChannelLevels | None,
) -> Iterator[np.ndarray]:
    opened = file.open()
    stereo = is_mix and audio.info(opened).num_channels == 2
    return audio.blocks(
        opened,
        sample_rate_hz=sample_rate_hz,
        mono=not stereo,
        block_samples=SEGMENT_S * sample_rate_hz,
        channel=channel,
        levels=levels,
    )


def _measure(piece: PieceFiles, sample_rate_hz: int) -> tuple[float, float, dict[File, int]]:
    """Return the peaks of the mix and of the loudest track, and the channels to use.

    If the channels of a track cancel, as in a stereo pair with one channel inverted, its loudest
    channel is used.
    """
    levels = {file: audio.ChannelLevels() for file in piece.files.values()}
    mix_peak, peak = _peaks(read_segments(piece, sample_rate_hz, levels=levels))
    channels = {file: measured.loudest for file, measured in levels.items() if measured.cancel}
    if channels:
        mix_peak, peak = _peaks(read_segments(piece, sample_rate_hz, channels))
    return mix_peak, peak, channels


def _peaks(segments: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the peaks of the mix and of the loudest track."""
    peaks = [(float(np.abs(mix).max()), float(np.abs(tracks).max())) for mix, tracks in segments]
    mix_peak, peak = map(max, zip((0.0, 0.0), *peaks, strict=True))
    return mix_peak, peak
