"""Example creation for stem datasets, and the base class for their builders."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_builders.common.features import STEM_SAMPLE_RATE_HZ, STEM_SEGMENT_S
from data_builders.common.streaming import IndexedBuilder
from irec_jax.labels import STREAMS

_SEGMENT_SAMPLES = STEM_SEGMENT_S * STEM_SAMPLE_RATE_HZ


def track_examples(
    track: str, streams: Mapping[str, np.ndarray], *, errata: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the (key, example) pairs for a track, stream by stream; see `features.stem_features`.

    ``streams`` maps each of `labels.STREAMS` to its samples, int16 (T, 2), all of the same length.
    """
    if {*streams} != {*STREAMS} or len({audio.shape for audio in streams.values()}) != 1:
        raise ValueError(f"{track}: expected the streams {', '.join(STREAMS)} of equal length")
    for stem in STREAMS:
        for segment in range(num_segments(len(streams[stem]))):
            start = segment * _SEGMENT_SAMPLES
            key = f"{track}/{stem}/{segment}"
            names = dict(id=key, track=track, stem=stem, segment=segment, errata=errata)
            audio = streams[stem][start : start + _SEGMENT_SAMPLES]
            yield key, names | {"start_s": start / STEM_SAMPLE_RATE_HZ, "audio": audio}


def num_segments(num_samples: int) -> int:
    """Return the number of segments in a stream of ``num_samples`` samples."""
    return -(-num_samples // _SEGMENT_SAMPLES)


class StemBuilder(IndexedBuilder):
    """Base class for stem dataset builders; see `features.stem_features`.

    Each index row consists of ``track``, ``stem`` (stream name), ``segment``,
    ``errata`` and ``num_samples``.
    """

    INDEX = "stem_index"

    def _row(self, example: Mapping[str, Any]) -> dict[str, Any]:
        row = {name: example[name] for name in ("track", "stem", "segment", "errata")}
        return row | {"num_samples": len(example["audio"])}
