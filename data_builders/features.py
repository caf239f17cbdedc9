"""What an example of every recognition dataset holds, real, rendered or a user's own."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

GENRES = ("unknown", "cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")
DRUMS = ("unknown", "no", "yes")


@dataclasses.dataclass(frozen=True)
class AudioFormat:
    """Sample rate and number of channels of the prepared audio."""

    sample_rate_hz: int
    num_channels: int


FORMATS = {"stereo44k": AudioFormat(44_100, 2), "mono22k": AudioFormat(22_050, 1)}


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
