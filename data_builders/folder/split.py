"""Choice of test songs if the user has not split the clips."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

_TEST_FRACTION = 0.2


def choose_test_songs(labels: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Choose about a fifth of the songs for testing; equal inputs always give the same choice.

    Args:
        labels: song -> its classes.

    Returns:
        The test songs. They cover every class that has at least two songs, unless this would leave
        some class without a training song. The set is empty if no class can spare a song.
    """
    order = sorted(labels, key=lambda song: hashlib.sha256(song.encode()).digest())
    remaining = Counter(label for names in labels.values() for label in set(names))
    test: dict[str, None] = {}

    def can_spare(song: str) -> bool:
        return song not in test and all(remaining[label] > 1 for label in set(labels[song]))

    def take(song: str) -> None:
        test[song] = None
        remaining.subtract(set(labels[song]))

    # Songs are chosen for the rarest classes first.
    for label in sorted(remaining, key=lambda name: (remaining[name], name)):
        songs = [song for song in order if label in labels[song]]
        if not any(song in test for song in songs):
            song = next(filter(can_spare, songs), None)
            if song is not None:
                take(song)
    for song in order:
        if len(test) < round(_TEST_FRACTION * len(labels)) and can_spare(song):
            take(song)
    return frozenset(test)
