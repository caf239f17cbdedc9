"""Which clips `gm_irmas` has: their songs, genres and labels, in IRMAS's proportions.

A plan is drawn before a note is composed, so that the counts of labels are exact and songs are
disjoint by construction. It is a function of the size alone.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from data_builders.rendering import seeding
from data_builders.rendering.instruments import GENRES, genre_weight
from irec_jax.labels import IRMAS

#: IRMAS's own counts: training clips per class, test labels per class, test clips by number of
#: labels (1 to 5), and test clips per part.
TRAIN_CLIPS = dict(zip(IRMAS, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True))
TEST_LABELS = dict(zip(IRMAS, (111, 62, 163, 535, 942, 361, 995, 326, 167, 211, 1044), strict=True))
TEST_CLIPS_BY_NUM_LABELS = (1236, 1278, 318, 39, 3)
TEST_PARTS = (807, 1301, 766)


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a dataset is: clips in all, clips a song, and the fewest test labels of a class."""

    train_clips: int
    clips_per_train_song: int
    test_clips: int
    clips_per_test_song: int
    min_test_labels: int


SIZES = {
    "tiny": Size(40, 1, 16, 2, 1),
    "small": Size(1100, 3, 624, 3, 25),
    "full": Size(6705, 3, 2874, 14, 0),
}


@dataclasses.dataclass(frozen=True)
class ClipPlan:
    """A clip before it is composed.

    ``song`` counts within the split, ``index`` within the song; ``part`` is 1 to 3 in the test
    split, 0 in training.
    """

    split: str
    song: int
    index: int
    genre: str
    labels: tuple[str, ...]
    part: int


def plan_clips(size: str, split: str) -> list[ClipPlan]:
    """All clips of a split, song by song.

    Raises:
        ValueError: an unknown size or split.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}: expected one of {', '.join(SIZES)}")
    if split == "train":
        return _train(SIZES[size])
    if split == "test":
        return _test(SIZES[size])
    raise ValueError(f"unknown split {split!r}: expected train or test")


def apportion(total: int, weights: Sequence[float], *, minimum: int = 0) -> list[int]:
    """Whole numbers that add up to ``total``, as near to the proportions as they can be.

    Largest remainders; entries below ``minimum`` are raised to it at the cost of the others.
    """
    weights = np.asarray(weights, float)
    if minimum * len(weights) > total:
        raise ValueError(f"{total} cannot give {minimum} to each of {len(weights)}")
    raised = np.zeros(len(weights), bool)
    while True:
        rest = total - minimum * raised.sum()
        shares = np.where(raised, minimum, rest * weights / max(weights[~raised].sum(), 1e-9))
        short = ~raised & (shares < minimum)
        if not short.any():
            break
        raised |= short
    counts = np.floor(shares).astype(int)
    order = np.argsort(-(shares - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts.tolist()


def _train(size: Size) -> list[ClipPlan]:
    clips, song = [], 0
    counts = apportion(size.train_clips, list(TRAIN_CLIPS.values()))
    for label, count in zip(IRMAS, counts, strict=True):
        num_songs = max(1, round(count / size.clips_per_train_song))
        rng = seeding.generator("gm_irmas", "train genres", label)
        genres = apportion(num_songs, [genre_weight(label, genre) for genre in GENRES])
        order = rng.permutation(np.repeat(np.arange(len(GENRES)), genres))
        for place, num_clips in enumerate(apportion(count, [1.0] * num_songs)):
            genre = GENRES[order[place]]
            clips += [
                ClipPlan("train", song, index, genre, (label,), 0) for index in range(num_clips)
            ]
            song += 1
    return clips


def _test(size: Size) -> list[ClipPlan]:
    rng = seeding.generator("gm_irmas", "test plan", size.test_clips)
    clips: list[ClipPlan] = []
    songs = _songs(rng, _label_sets(rng, size), size.clips_per_test_song)
    ends = np.cumsum(TEST_PARTS) / sum(TEST_PARTS) * size.test_clips
    for song, (genre, label_sets) in enumerate(songs):
        middle = len(clips) + len(label_sets) / 2
        part = 1 + int(np.searchsorted(ends, middle))
        clips += [
            ClipPlan("test", song, index, genre, labels, part)
            for index, labels in enumerate(label_sets)
        ]
    return clips


def _label_sets(rng: np.random.Generator, size: Size) -> list[tuple[str, tuple[str, ...]]]:
    """(genre, labels) of every test clip, with exact counts of labels and of labels per clip."""
    by_size = apportion(size.test_clips, TEST_CLIPS_BY_NUM_LABELS)
    total = sum((index + 1) * count for index, count in enumerate(by_size))
    counts = apportion(total, list(TEST_LABELS.values()), minimum=size.min_test_labels)
    left = Counter(dict(zip(IRMAS, counts, strict=True)))
    sets = []
    # Large sets first; the single labels take up whatever is left, so the counts always come out.
    for num_labels in range(len(by_size), 1, -1):
        for _ in range(by_size[num_labels - 1]):
            first = seeding.draw(rng, left)
            genre = _genre_of(rng, first)
            chosen = [first]
            while len(chosen) < num_labels:
                odds = {
                    label: left[label] * (genre_weight(label, genre) + 0.02)
                    for label in IRMAS
                    if label not in chosen
                }
                chosen.append(seeding.draw(rng, odds))
            left.subtract(chosen)
            sets.append((genre, tuple(sorted(chosen))))
    for label in IRMAS:
        sets += [(_genre_of(rng, label), (label,)) for _ in range(left[label])]
    return sets


def _genre_of(rng: np.random.Generator, label: str) -> str:
    return seeding.draw(rng, {genre: genre_weight(label, genre) for genre in GENRES})


def _songs(rng: np.random.Generator, sets, clips_per_song: int) -> list:
    """Groups clips of one genre that share instruments into songs: [(genre, [labels, ...])]."""
    songs = []
    for genre in GENRES:
        waiting = [labels for one, labels in sets if one == genre]
        waiting = [waiting[place] for place in rng.permutation(len(waiting))]
        while waiting:
            song = [waiting.pop()]
            while waiting and len(song) < clips_per_song:
                band = {label for labels in song for label in labels}
                overlaps = [
                    len(band.intersection(labels)) / len(band.union(labels)) for labels in waiting
                ]
                song.append(waiting.pop(int(np.argmax(overlaps))))
            songs.append((genre, song))
    return [songs[place] for place in rng.permutation(len(songs))]
