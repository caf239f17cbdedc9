"""Example features for the three kinds of datasets: clips, multitrack pieces and stems."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from irec_jax import registry
from irec_jax.labels import STREAMS

GENRES = ("unknown", "cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")
DRUMS = ("unknown", "no", "yes")


@dataclasses.dataclass(frozen=True)
class AudioFormat:
    """Sample rate and number of channels of prepared audio."""

    sample_rate_hz: int
    num_channels: int


FORMATS = {"stereo44k": AudioFormat(44_100, 2), "mono22k": AudioFormat(22_050, 1)}
#: Multitrack format -> sample rate in Hz. Tracks are mono, and mixes are stereo.
MULTITRACK_FORMATS = {"multitrack44k": 44_100, "multitrack48k": 48_000}
#: Maximum duration of a multitrack example in s.
SEGMENT_S = 60
#: Sample rate of stem datasets in Hz, and maximum duration of a stem example in s.
STEM_SAMPLE_RATE_HZ = 44_100
STEM_SEGMENT_S = 6


def check_format(name: str) -> str:
    """Return a clip format's name; raise UserError if it is not a key of `FORMATS`."""
    if name not in FORMATS:
        raise registry.unknown("format", name, FORMATS)
    return name


def recognition_features(
    classes: Sequence[str], audio_format: AudioFormat
) -> tfds.features.FeaturesDict:
    """Return the features of a clip.

    - ``audio``: int16 (T, C);
    - ``labels``: instrument classes;
    - ``id``: unique within the dataset;
    - ``song``: group of clips that must stay within one split;
    - ``drums``, ``genre``: one of `DRUMS` and one of `GENRES`;
    - ``part``: number of the test part; 0 for training clips;
    - ``contradictory``: True if a byte-identical clip has different labels.
    """
    return tfds.features.FeaturesDict(
        {
            "audio": tfds.features.Tensor(
                shape=(None, audio_format.num_channels), dtype=np.int16, encoding="bytes"
            ),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=list(classes))),
            "id": tfds.features.Text(),
            "song": tfds.features.Text(),
            "drums": tfds.features.ClassLabel(names=list(DRUMS)),
            "genre": tfds.features.ClassLabel(names=list(GENRES)),
            "part": tfds.features.Scalar(dtype=np.int32),
            "contradictory": tfds.features.Scalar(dtype=np.bool_),
        }
    )


def multitrack_features(classes: Sequence[str]) -> tfds.features.FeaturesDict:
    """Return the features of a segment, at most `SEGMENT_S` long, from a piece with J tracks.

    - ``mix``: int16 (T, 2);
    - ``spots``: spot microphone signals, J arrays int16 (T,); empty if unknown;
    - ``stems``: dry tracks, J arrays int16 (T,); empty if unknown;
    - ``mixing``: amplitude of each stem in each spot, J rows float32 (J,); empty if unknown;
    - ``max_crosstalk_db``: upper bound on the off-diagonal elements of ``mixing``; NaN if unknown;
    - ``tracks``: J unique names such as violin-2, in the same order in all segments of a piece;
    - ``instruments``: class of each track;
    - ``piece``: name of the piece, which must stay within one split;
    - ``id``: unique within the dataset;
    - ``segment``, ``start_s``: number of the segment, from 0, and its start in the piece.
    """
    track = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
    row = tfds.features.Tensor(shape=(None,), dtype=np.float32, encoding="bytes")
    return tfds.features.FeaturesDict(
        {
            "mix": tfds.features.Tensor(shape=(None, 2), dtype=np.int16, encoding="bytes"),
            # A tensor with two unknown dimensions cannot be read without TensorFlow.
            "spots": tfds.features.Sequence(track),
            "stems": tfds.features.Sequence(track),
            "mixing": tfds.features.Sequence(row),
            "max_crosstalk_db": tfds.features.Scalar(dtype=np.float32),
            "instruments": tfds.features.Sequence(tfds.features.ClassLabel(names=list(classes))),
            "tracks": tfds.features.Sequence(tfds.features.Text()),
            "piece": tfds.features.Text(),
            "id": tfds.features.Text(),
            "segment": tfds.features.Scalar(dtype=np.int32),
            "start_s": tfds.features.Scalar(dtype=np.float64),
        }
    )


def stem_features() -> tfds.features.FeaturesDict:
    """Return the features of a segment, at most `STEM_SEGMENT_S` long, from one stream of a track.

    - ``audio``: int16 (T, 2) at `STEM_SAMPLE_RATE_HZ`;
    - ``stem``: one of `labels.STREAMS`; all streams of a track have the same length;
    - ``track``: name of the track, which must stay within one split;
    - ``segment``, ``start_s``: number of the segment, from 0, and its start in the track;
    - ``errata``: known errors in the track; empty if there are none;
    - ``id``: unique within the dataset.
    """
    return tfds.features.FeaturesDict(
        {
            "audio": tfds.features.Tensor(shape=(None, 2), dtype=np.int16, encoding="bytes"),
            "stem": tfds.features.ClassLabel(names=list(STREAMS)),
            "track": tfds.features.Text(),
            "segment": tfds.features.Scalar(dtype=np.int32),
            "start_s": tfds.features.Scalar(dtype=np.float64),
            "errata": tfds.features.Text(),
            "id": tfds.features.Text(),
        }
    )
