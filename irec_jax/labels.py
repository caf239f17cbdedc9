"""Class lists of the five systems, and conversion between label names and multi-hot vectors."""

from collections.abc import Iterable, Sequence

import numpy as np

#: The 11 classes of IRMAS, in its alphabetical order, with their full names.
IRMAS_NAMES = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
IRMAS = tuple(IRMAS_NAMES)

#: The five classes of IRMAS in Goel's experiments.
GOEL = ("gel", "pia", "sax", "vio", "voi")

#: The 13 instruments of Seipel's orchestral recordings.
ORCHESTRA = (
    "bassoon",
    "clarinet",
    "double_bass",
    "flute",
    "french_horn",
    "oboe",
    "piano",
    "trombone",
    "trumpet",
    "tuba",
    "viola",
    "violin",
    "violoncello",
)

#: The four stems of MUSDB18, and its streams: the mixture, then the stems.
STEMS = ("drums", "bass", "other", "vocals")
STREAMS = ("mixture", *STEMS)


def encode(labels: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Return the multi-hot vector of label names.

    Args:
        labels: names from ``classes``; may be empty.
        classes: the K class names.

    Returns:
        float32 array (K,) of zeros and ones.

    Raises:
        ValueError: a label that is not a class.
    """
    multi_hot = np.zeros(len(classes), np.float32)
    for label in labels:
        if label not in classes:
            raise ValueError(f"unknown class {label!r}: expected one of {', '.join(classes)}")
        multi_hot[classes.index(label)] = 1.0
    return multi_hot


def decode(multi_hot: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the non-zero entries of a vector (K,), in class order."""
    if len(multi_hot) != len(classes):
        raise ValueError(f"multi_hot has {len(multi_hot)} entries for {len(classes)} classes")
    return tuple(name for name, is_on in zip(classes, multi_hot, strict=True) if is_on)
