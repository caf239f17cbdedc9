"""Who trains, who validates and who tests."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from irec_jax.data.clips import Clips
from irec_jax.data.dataset import Dataset
from irec_jax.data.stems import StemDataset, Tracks
from irec_jax.errors import UserError

#: Ways to split a dataset, in words.
SPLITS = {
    "official": "the dataset's own test clips, and no song on both sides of training and "
    "validation",
    "parts": "the training clips and part 2 of IRMAS's test clips train, no song on both sides of "
    "training and validation, and part 3 tests; the beginning of each clip alone",
    "song": "windows of the training clips, no song on both sides",
    "window": "windows of the training clips at random, windows of the same clip on both sides: "
    "leaky, as the protocol of its source",
}
#: Those of which an example is a clip, not a window.
_WHOLE = ("official", "parts")
#: Ways to split a dataset of stems, in words.
STEM_SPLITS = {
    "official": "the dataset's own training, validation and test tracks (without validation "
    "tracks, some of the training tracks validate)",
    "validation": "the dataset's own validation tracks test, and some of the training tracks "
    "validate",
}
#: What is set aside -> its random stream.
_STREAMS = {"validation": 0x5EED, "test": 0x7E57}


class Splits(NamedTuple):
    """The clips, or the tracks of stems, that train, validate and test."""

    training: Clips | Tracks
    validation: Clips | Tracks
    test: Clips | Tracks


def split(dataset: Dataset, settings: Mapping[str, Any], *, seed: int) -> Splits:
    """Parts a dataset as a config section `data` says; the same seed gives the same sides.

    Args:
        dataset: of `load`, with the same settings.
        settings: of `SPLITS`, with `song` and `window` all examples are windows of `window_s`
            every `hop_s` of the training clips.
        seed: of the random order.

    Raises:
        UserError: nothing would be left on one of the sides.
    """
    clips, share = dataset.train, settings["validation_fraction"]
    if settings["split"] in _WHOLE:
        training, validation = split_songs(clips.songs, clips.labels, fraction=share, seed=seed)
        return Splits(clips.subset(training), clips.subset(validation), dataset.test)
    window_samples, hop_samples = window_and_hop(settings, dataset.sample_rate_hz)
    examples = clips.windows(window_samples=window_samples, hop_samples=hop_samples)
    set_aside: Callable = split_songs if settings["split"] == "song" else split_examples

    def part(examples: Clips, fraction: float, purpose: str) -> tuple[Clips, Clips]:
        indices = set_aside(
            examples.songs, examples.labels, fraction=fraction, seed=seed, purpose=purpose
        )
        return examples.subset(indices[0]), examples.subset(indices[1])

    rest, test = part(examples, settings["test_fraction"], "test")
    training, validation = part(rest, share / (1.0 - settings["test_fraction"]), "validation")
    return Splits(training, validation, test)


def split_tracks(dataset: StemDataset, settings: Mapping[str, Any], *, seed: int) -> Splits:
    """Parts a dataset of stems as a config section `data` says; the same seed, the same sides.

    Args:
        dataset: of `load_stems`, with the same settings.
        settings: `split`, one of `STEM_SPLITS`, and `validation_fraction`.
        seed: of the choice of the training tracks that validate.

    Raises:
        UserError: there are no tracks for one of the sides.
    """
    train, name = dataset.train, dataset.name
    official = settings["split"] == "official"
    test = dataset.test if official else dataset.validation
    if test is None:
        kind, other = ("test", "validation") if official else ("validation", "official")
        found = dataset.validation if official else dataset.test
        remedy = f"set data.split={other}" if found else "bring some that are not trained on"
        raise UserError(f"{name}: has no {kind} tracks to test with; {remedy}")
    if official and dataset.validation is not None:
        return Splits(train, dataset.validation, test)
    fraction = settings["validation_fraction"]
    order = _generator(fraction, seed, "validation").permutation(len(train))
    num_validation = max(1, round(fraction * len(train)))
    if num_validation >= len(train):
        raise UserError(
            f"{name}: {len(train)} training track(s) are too few to set {fraction:.0%} aside for "
            "validation; bring more"
        )
    validation, training = np.sort(order[:num_validation]), np.sort(order[num_validation:])
    return Splits(train.subset(training), train.subset(validation), test)


def window_and_hop(settings: Mapping[str, Any], sample_rate_hz: int) -> tuple[int, int]:
    """Length and distance of training windows in samples."""
    hop_s = settings["hop_s"] or settings["window_s"]
    return round(settings["window_s"] * sample_rate_hz), max(1, round(hop_s * sample_rate_hz))


def protocol(settings: Mapping[str, Any], splits: Splits, classes: tuple[str, ...]) -> dict:
    """How a dataset was parted, in words and numbers, as it stands in a report.

    Returns:
        dict: ``split`` (a key of `SPLITS`), ``description``, ``unit`` (what an example is),
        ``examples`` (the same with its sizes), ``sides``: for ``training``, ``validation`` and
        ``test`` the ``num_examples``, ``num_songs`` and ``per_class`` (examples that show it), and
        ``num_songs_on_both_sides`` of training and test.
    """
    name, separate = settings["split"], settings["channels"] == "separate"
    hop_s = settings["hop_s"] or settings["window_s"]
    windows = f"windows of {settings['window_s']:g} s every {hop_s:g} s"
    examples = windows
    if name in _WHOLE:
        examples = f"clips, trained on in {windows}"
    if name == "parts":
        examples = f"the first {settings['window_s']:g} s of each clip"
    counts = {
        side: {
            "num_examples": len(clips),
            "num_songs": len(set(clips.songs)),
            "per_class": dict(zip(classes, map(int, (clips.labels > 0).sum(axis=0)), strict=True)),
        }
        for side, clips in splits._asdict().items()
    }
    return {
        "split": name,
        "description": f"{name}: {SPLITS[name]}",
        "unit": "clips" if name in _WHOLE else "windows",
        "examples": examples + (", each channel by itself" if separate else ""),
        "sides": counts,
        "num_songs_on_both_sides": len(set(splits.training.songs) & set(splits.test.songs)),
    }


def split_songs(
    songs: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float,
    seed: int,
    purpose: str = "validation",
) -> tuple[np.ndarray, np.ndarray]:
    """Sets whole songs aside, class by class.

    Songs are taken in random order as long as no class gets more than its share there; so each
    class has close to `fraction` of its clips in it.

    Args:
        songs: (N,) song of each clip.
        labels: (N, K) multi-hot.
        fraction: share of the clips that are set aside, between 0 and 1.
        seed: of the random order.
        purpose: 'validation' or 'test', whose random orders differ.

    Returns:
        Indices of the clips that stay and of those set aside, ascending.

    Raises:
        UserError: nothing would be left on one of the sides.
    """
    unique, song_of_clip = np.unique(songs, return_inverse=True)
    per_song = np.zeros((len(unique), labels.shape[1]))
    np.add.at(per_song, song_of_clip, labels)
    # A class of few songs gives its smallest one, so that no class goes without.
    smallest = np.where(per_song > 0, per_song, np.inf).min(axis=0, initial=np.inf)
    share = np.maximum(fraction * per_song.sum(axis=0), smallest)
    share = np.where((per_song > 0).sum(axis=0) > 1, share, 0.0)
    taken = np.zeros(labels.shape[1])
    chosen = np.zeros(len(unique), bool)
    for song in _generator(fraction, seed, purpose).permutation(len(unique)):
        if np.all(taken + per_song[song] <= share + 1e-9):
            taken += per_song[song]
            chosen[song] = True
    return _sides(chosen[song_of_clip], f"{len(unique)} song(s)", fraction, purpose)


def split_examples(
    songs: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float,
    seed: int,
    purpose: str = "validation",
) -> tuple[np.ndarray, np.ndarray]:
    """Sets examples aside at random whatever their song, the same share of every set of labels.

    Arguments, results and errors are those of `split_songs`; the songs are not looked at.
    """
    del songs
    generator = _generator(fraction, seed, purpose)
    _, kind = np.unique(labels, axis=0, return_inverse=True)
    order = generator.permutation(len(labels))
    order = order[np.argsort(kind[order], kind="stable")]
    # Examples of a kind lie together in random order: the first ones of each are taken.
    first = np.searchsorted(kind[order], kind[order])
    size = np.bincount(kind)[kind[order]]
    chosen = np.zeros(len(labels), bool)
    chosen[order] = np.arange(len(order)) - first < np.round(fraction * size)
    return _sides(chosen, f"{len(labels)} example(s)", fraction, purpose)


def _generator(fraction: float, seed: int, purpose: str) -> np.random.Generator:
    if not 0.0 < fraction < 1.0:
        raise UserError(f"config key data.{purpose}_fraction={fraction}: between 0 and 1, please")
    return np.random.default_rng([seed, _STREAMS[purpose]])


def _sides(
    chosen: np.ndarray, what: str, fraction: float, purpose: str
) -> tuple[np.ndarray, np.ndarray]:
    if chosen.all() or not chosen.any():
        raise UserError(
            f"{what} are too few to set {fraction:.0%} of the clips aside for {purpose}: bring "
            "more songs per class"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
