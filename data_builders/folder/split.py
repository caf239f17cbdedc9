"""Which songs of a user's sounds become the test split, when the user gives none."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

_TEST_FRACTION = 0.2


def choose_test_songs(labels: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Sets a fifth of the songs aside, in an order that depends on their names alone.

    Args:
        labels: the classes of each song.

    Returns:
        The songs for testing: at least one of every class that has two, as far as every class
        keeps one for training; none if no class can spare one.
    """
    order = sorted(labels, key=lambda song: hashlib.sha256(song.encode()).digest())
    left = Counter(label for names in labels.values() for label in set(names))
    test: dict[str, None] = {}

    def can_spare(song: str) -> bool:
        return song not in test and all(left[label] > 1 for label in set(labels[song]))

    def take(song: str) -> None:
        test[song] = None
        left.subtract(set(labels[song]))

    # The rarest classes first, while there is a choice.
    for label in sorted(left, key=lambda name: (left[name], name)):
        songs = [song for song in order if label in labels[song]]
        if not any(song in test for song in songs):
            spared = next(filter(can_spare, songs), None)
            if spared is not None:
                take(spared)
    for song in order:
        if len(test) < round(_TEST_FRACTION * len(labels)) and can_spare(song):
            take(song)
    return frozenset(test)
