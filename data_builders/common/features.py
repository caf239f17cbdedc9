"""What an example holds, real, rendered or a user's own: a clip, many tracks, or one of them."""

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
    """Sample rate and number of channels of the prepared audio."""

    sample_rate_hz: int
    num_channels: int


FORMATS = {"stereo44k": AudioFormat(44_100, 2), "mono22k": AudioFormat(22_050, 1)}
#: Formats of multitrack datasets: sample rate in Hz. Tracks have one channel, mixes two.
MULTITRACK_FORMATS = {"multitrack44k": 44_100, "multitrack48k": 48_000}
#: Longest segment of a piece that is one example of a multitrack dataset.
SEGMENT_S = 60
#: Sample rate of stem datasets, and the longest segment of a stream that is one example of them.
STEM_SAMPLE_RATE_HZ = 44_100
STEM_SEGMENT_S = 6


def check_format(name: str) -> str:
    """Return the name of a format of clips.

    Raises:
        UserError: not a key of `FORMATS`.
    """
    if name not in FORMATS:
        raise registry.unknown("format", name, FORMATS)
    return name


def recognition_features(
    classes: Sequence[str], audio_format: AudioFormat
) -> tfds.features.FeaturesDict:
    """Features of a clip.

    ``audio`` int16 (T, C); ``labels`` the instruments; ``id`` unique within the dataset; ``song``
    the group that splits must not cut apart; ``drums`` and ``genre`` tags; ``part`` of the test
    set (0 for training clips); ``contradictory`` when a byte-identical clip has other labels.
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
    """Features of a segment of a piece of J tracks, `SEGMENT_S` long at most.

    ``mix`` int16 (T, 2); ``spots``, what the microphone of each track heard, and ``stems``, its
    dry sound: J arrays int16 (T,), or none where they are not known; ``mixing``: J rows float32
    (J,), the amplitude of each stem in each spot, or none; ``max_crosstalk_db`` (NaN where not
    known) bounds it off the diagonal. ``tracks`` are J unique names such as violin-2 and
    ``instruments`` their classes, in the same order in all segments of a piece. ``piece`` is the
    group that splits must not cut apart, ``segment`` counts from 0 and begins at ``start_s``;
    ``id`` is unique within the dataset.
    """
    track = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
    row = tfds.features.Tensor(shape=(None,), dtype=np.float32, encoding="bytes")
    return tfds.features.FeaturesDict(
        {
            "mix": tfds.features.Tensor(shape=(None, 2), dtype=np.int16, encoding="bytes"),
            # A tensor with two unknown lengths cannot be read back without TensorFlow.
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
    """Features of a segment of one stream of a track, `STEM_SEGMENT_S` long at most.

    ``audio`` int16 (T, 2) at `STEM_SAMPLE_RATE_HZ`; ``stem`` one of `labels.STREAMS`, which are
    equally long in a track; ``track`` is the group that splits must not cut apart, ``segment``
    counts from 0 and begins at ``start_s``; ``errata`` says what is known to be wrong with the
    track, empty for nothing; ``id`` is unique within the dataset.
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
