"""Plans for the `gm_irmas` clips: songs, genres and labels in IRMAS's proportions.

The plans are drawn before any music is composed, so that label counts are exact and no song is in
both splits. They depend only on the size.
"""

import dataclasses
from collections import Counter

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from data_builders.rendering import seeding
from data_builders.rendering.instruments import GENRES, genre_weight
from irec_jax.labels import IRMAS

#: Counts in the real dataset: training clips per class, test labels per class, test clips by number
#: of labels (1 to 5), and test clips per part.
TRAIN_CLIPS = dict(zip(IRMAS, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True))
TEST_LABELS = dict(zip(IRMAS, (111, 62, 163, 535, 942, 361, 995, 326, 167, 211, 1044), strict=True))
TEST_CLIPS_BY_NUM_LABELS = (1236, 1278, 318, 39, 3)
TEST_PARTS = (807, 1301, 766)


@dataclasses.dataclass(frozen=True)
class Size:
    """Numbers of clips in total and per song, and the minimum number of test labels per class."""

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
    """Plan for a clip.

    Attributes:
        split: ``train`` or ``test``.
        song: number of the song within the split.
        index: number of the clip within the song.
        genre: key of `genres.GENRES`.
        labels: instrument classes that the clip is labelled with.
        part: test part, 1 to 3; 0 for training clips.
    """

    split: str
    song: int
    index: int
    genre: str
    labels: tuple[str, ...]
    part: int


def plan_clips(size: str, split: str) -> list[ClipPlan]:
    """Return the plans for all clips in a split, song by song.

    Raises:
        ValueError: if the size or split is unknown.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}: expected one of {', '.join(SIZES)}")
    if split == "train":
        return _train_clips(SIZES[size])
    if split == "test":
        return _test_clips(SIZES[size])
    raise ValueError(f"unknown split {split!r}: expected train or test")


def apportion(total: int, weights: ArrayLike, *, minimum: int = 0) -> list[int]:
    """Divide ``total`` into integers proportional to weights, using the largest remainder method.

    Shares below ``minimum`` are raised to ``minimum``, and the other shares are reduced.

    Raises:
        ValueError: if the total is too small for the minimum.
    """
    weights = np.asarray(weights, float)
    if minimum * len(weights) > total:
        raise ValueError(
            f"total={total}: too small for {len(weights)} shares of at least {minimum}"
        )
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


def _train_clips(size: Size) -> list[ClipPlan]:
    clips, song = [], 0
    counts = apportion(size.train_clips, list(TRAIN_CLIPS.values()))
    for label, count in zip(IRMAS, counts, strict=True):
        num_songs = max(1, round(count / size.clips_per_train_song))
        rng = seeding.generator("gm_irmas", "train genres", label)
        genre_counts = apportion(num_songs, [genre_weight(label, genre) for genre in GENRES])
        genres = rng.permutation(np.repeat(np.arange(len(GENRES)), genre_counts))
        for genre, num_clips in zip(genres, apportion(count, [1.0] * num_songs), strict=True):
            plan = ClipPlan("train", song, 0, GENRES[genre], (label,), 0)
            clips += [dataclasses.replace(plan, index=index) for index in range(num_clips)]
            song += 1
    return clips


def _test_clips(size: Size) -> list[ClipPlan]:
    rng = seeding.generator("gm_irmas", "test plan", size.test_clips)
    clips: list[ClipPlan] = []
    songs = _group_into_songs(rng, _draw_label_sets(rng, size), size.clips_per_test_song)
    part_ends = np.cumsum(TEST_PARTS) / sum(TEST_PARTS) * size.test_clips
    for song, (genre, label_sets) in enumerate(songs):
        middle = len(clips) + len(label_sets) / 2
        part = 1 + int(np.searchsorted(part_ends, middle))
        clips += [
            ClipPlan("test", song, index, genre, labels, part)
            for index, labels in enumerate(label_sets)
        ]
    return clips


def _draw_label_sets(rng: Generator, size: Size) -> list[tuple[str, tuple[str, ...]]]:
    """Draw the genre and labels of each test clip so that the label counts are exact."""
    by_num_labels = apportion(size.test_clips, TEST_CLIPS_BY_NUM_LABELS)
    total = sum((index + 1) * count for index, count in enumerate(by_num_labels))
    counts = apportion(total, list(TEST_LABELS.values()), minimum=size.min_test_labels)
    remaining = Counter(dict(zip(IRMAS, counts, strict=True)))
    label_sets = []
    # Draw large sets first: clips with one label then use up the remaining labels exactly.
    for num_labels in range(len(by_num_labels), 1, -1):
        for _ in range(by_num_labels[num_labels - 1]):
            first = seeding.draw(rng, remaining)
            genre = _draw_genre(rng, first)
            chosen = [first]
            while len(chosen) < num_labels:
                weights = {
                    label: remaining[label] * (genre_weight(label, genre) + 0.02)
                    for label in IRMAS
                    if label not in chosen
                }
                chosen.append(seeding.draw(rng, weights))
            remaining.subtract(chosen)
            label_sets.append((genre, tuple(sorted(chosen))))
    for label in IRMAS:
        label_sets += [(_draw_genre(rng, label), (label,)) for _ in range(remaining[label])]
    return label_sets


def _draw_genre(rng: Generator, label: str) -> str:
    return seeding.draw(rng, {genre: genre_weight(label, genre) for genre in GENRES})


def _group_into_songs(rng: Generator, label_sets, clips_per_song: int) -> list:
    """Group clips with the same genre and similar labels into songs: [(genre, [labels, ...])]."""
    songs = []
    for genre in GENRES:
        ungrouped = [labels for clip_genre, labels in label_sets if clip_genre == genre]
        ungrouped = [ungrouped[index] for index in rng.permutation(len(ungrouped))]
        while ungrouped:
            song = [ungrouped.pop()]
            while ungrouped and len(song) < clips_per_song:
                band = {label for labels in song for label in labels}
                overlaps = [
                    len(band.intersection(labels)) / len(band.union(labels)) for labels in ungrouped
                ]
                song.append(ungrouped.pop(int(np.argmax(overlaps))))
            songs.append((genre, song))
    return [songs[index] for index in rng.permutation(len(songs))]
