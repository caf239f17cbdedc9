"""Division of datasets into training, validation and test examples."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from irec_jax.data.dataset import Dataset
from irec_jax.data.labelled_clips import Clips
from irec_jax.data.stems import StemDataset, Tracks
from irec_jax.errors import UserError
from irec_jax.text import plural

#: Values of `data.split` for clips, with the descriptions shown in reports; each dataset describes
#: its own test clips.
SPLITS = {
    "official": "the dataset's own test clips",
    "parts": "trained on the training clips and part 2 of IRMAS's test clips, tested on part 3; "
    "only the first seconds of each clip are used",
    "song": "windows of the training clips; the splits have no song in common",
    "window": "random windows of the training clips; windows of one clip may be in several splits "
    "(leakage, as in Goel's experiments)",
}
#: Values of `data.split` for which the examples are clips rather than windows.
CLIP_SPLITS = ("official", "parts")
#: Values of `data.split_validation`, with the descriptions shown in reports.
VALIDATION_SPLITS = {
    "song": "training and validation have no song in common",
    "random": "validation clips are drawn at random, so that clips of one song may be in both "
    "training and validation",
}
#: Values of `data.split` for stems, with the descriptions shown in reports.
STEM_SPLITS = {
    "official": "the dataset's own training, validation and test tracks (if there are no "
    "validation tracks, some of the training tracks are used for validation)",
    "validation": "tested on the dataset's own validation tracks; some of the training tracks are "
    "used for validation",
}
#: Seeds for the random generators that choose validation and test examples.
_SEEDS = {"validation": 0x5EED, "test": 0x7E57}


Examples = TypeVar("Examples", Clips, Tracks)


class Splits(NamedTuple, Generic[Examples]):
    """Training, validation and test examples: clips, or tracks with stems."""

    training: Examples
    validation: Examples
    test: Examples


def split_clips(dataset: Dataset, settings: Mapping[str, Any], *, seed: int) -> Splits[Clips]:
    """Split a dataset as the settings specify; the same seed gives the same splits.

    Args:
        dataset: result of `load` with the same settings.
        settings: the `data` section of a config. With `split` "song" or "window", all examples are
            windows of the training clips, `window_s` long and `hop_s` apart. Otherwise,
            `split_validation` "song" (default) holds out complete songs for validation, and
            "random" holds out random clips.
        seed: seed for the random order.

    Raises:
        UserError: a split would be empty.
    """
    clips, fraction = dataset.train, settings["validation_fraction"]
    if "label_s" in settings:
        assert dataset.test is not None
        validating = _hold_out_pieces(clips.songs, fraction=fraction, seed=seed)
        return Splits(clips.subset(~validating), clips.subset(validating), dataset.test)
    if dataset.validation is not None:
        assert dataset.test is not None
        return Splits(clips, dataset.validation, dataset.test)
    if dataset.test is not None:
        groups = clips.songs if _by_song(settings) else _clip_ids(clips, settings)
        training, validation = split_songs(groups, clips.labels, fraction=fraction, seed=seed)
        return Splits(clips.subset(training), clips.subset(validation), dataset.test)
    window_samples, hop_samples = window_and_hop(settings, dataset.sample_rate_hz)
    examples = clips.to_windows(window_samples=window_samples, hop_samples=hop_samples)
    choose: Callable = split_songs if settings["split"] == "song" else split_examples

    def hold_out(examples: Clips, fraction: float, purpose: str) -> tuple[Clips, Clips]:
        remaining, held_out = choose(
            examples.songs, examples.labels, fraction=fraction, seed=seed, purpose=purpose
        )
        return examples.subset(remaining), examples.subset(held_out)

    test_fraction = settings["test_fraction"]
    remaining, test = hold_out(examples, test_fraction, "test")
    training, validation = hold_out(remaining, fraction / (1.0 - test_fraction), "validation")
    return Splits(training, validation, test)


def _by_song(settings: Mapping[str, Any]) -> bool:
    return settings.get("split_validation", "song") == "song"


def _clip_ids(clips: Clips, settings: Mapping[str, Any]) -> np.ndarray:
    """Return the clip id of each example, without its channel number."""
    if settings["channels"] != "separate":
        return clips.ids
    return np.array([name.rpartition("#")[0] or name for name in clips.ids])


def describe_split(
    settings: Mapping[str, Any], test_split: str, *, own_validation: bool = False
) -> str:
    """Return a description of a dataset's split for reports.

    Args:
        settings: the `data` section of a config.
        test_split: description of the dataset's test clips, `Dataset.test_split`.
        own_validation: whether the dataset's own validation clips are used.
    """
    name = settings["split"]
    if name not in CLIP_SPLITS:
        return SPLITS[name]
    validation = VALIDATION_SPLITS["song" if _by_song(settings) else "random"]
    if own_validation:
        validation = "validated on the dataset's own validation clips"
    return f"{test_split if name == 'official' else SPLITS[name]}; {validation}"


def describe_stem_split(settings: Mapping[str, Any], dataset: StemDataset) -> str:
    """Return a description of a stem dataset's split for reports."""
    if settings["split"] != "official":
        return STEM_SPLITS[settings["split"]]
    if dataset.validation is not None:
        return "the dataset's own training, validation and test tracks"
    return (
        "the dataset's own training and test tracks; some of the training tracks are used for "
        "validation"
    )


def split_tracks(dataset: StemDataset, settings: Mapping[str, Any], *, seed: int) -> Splits[Tracks]:
    """Split a stem dataset as the settings specify.

    Args:
        dataset: result of `load_stems` with the same settings.
        settings: `split`, a key of `STEM_SPLITS`, and `validation_fraction`.
        seed: seed for choosing validation tracks; the same seed gives the same splits.

    Raises:
        UserError: a split would be empty.
    """
    train, name = dataset.train, dataset.name
    official = settings["split"] == "official"
    test = dataset.test if official else dataset.validation
    if test is None:
        missing, other = ("test", "validation") if official else ("validation", "official")
        alternative = dataset.validation if official else dataset.test
        remedy = f"set data.split={other}" if alternative else "add tracks for testing"
        raise UserError(f"{name}: has no {missing} tracks to test with; {remedy}")
    if official and dataset.validation is not None:
        return Splits(train, dataset.validation, test)
    fraction = settings["validation_fraction"]
    order = _generator(fraction, seed, "validation").permutation(len(train))
    num_validation = max(1, round(fraction * len(train)))
    if num_validation >= len(train):
        raise UserError(
            f"{name}: {plural(len(train), 'training track')}, too few to hold out "
            f"{fraction:.0%} for validation; add more"
        )
    validation, training = np.sort(order[:num_validation]), np.sort(order[num_validation:])
    return Splits(train.subset(training), train.subset(validation), test)


def window_and_hop(settings: Mapping[str, Any], sample_rate_hz: int) -> tuple[int, int]:
    """Return the length and hop of training windows in samples."""
    hop_s = settings["hop_s"] or settings["window_s"]
    return round(settings["window_s"] * sample_rate_hz), max(1, round(hop_s * sample_rate_hz))


def protocol(settings: Mapping[str, Any], splits: Splits[Clips], dataset: Dataset) -> dict:
    """Return a dict that describes the splits of a dataset for a report.

    Returns:
        dict: ``split`` (a key of `SPLITS`); ``description``; ``unit`` ("clips", "windows" or
        "instances"); ``examples``, a description of the examples and their lengths; ``sides``,
        which holds the ``num_examples``, ``num_songs`` and ``per_class`` (number of examples
        labelled with each class) of ``training``, ``validation`` and ``test``; and
        ``num_songs_on_both_sides``, the number of songs in both training and test.
    """
    name = settings["split"]
    hop_s = settings["hop_s"] or settings["window_s"]
    windows = f"windows of {settings['window_s']:g} s every {hop_s:g} s"
    examples, unit = windows, "clips" if name in CLIP_SPLITS else "windows"
    if "label_s" in settings:
        label_s = settings["label_s"] or settings["window_s"]
        examples, unit = f"instances of {label_s:.3g} s", "instances"
        if label_s < settings["window_s"]:
            examples += f" in the middle of windows of {settings['window_s']:.3g} s"
        examples += f", labelled with activities above {settings['threshold_db']:g} dB"
    elif name in CLIP_SPLITS:
        examples = f"clips, divided into {windows} for training"
    if name == "parts":
        examples = f"the first {settings['window_s']:g} s of each clip"
    if settings["channels"] == "separate":
        examples += ", each channel separately"
    description = describe_split(
        settings, dataset.test_split, own_validation=dataset.validation is not None
    )
    counts = {
        split: {
            "num_examples": len(clips),
            "num_songs": len(set(clips.songs)),
            "per_class": dict(
                zip(dataset.classes, map(int, (clips.labels > 0).sum(axis=0)), strict=True)
            ),
        }
        for split, clips in splits._asdict().items()
    }
    return {
        "split": name,
        "description": f"{name}: {description}",
        "unit": unit,
        "examples": examples,
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
    """Hold out complete songs, stratified by class.

    Songs are taken in random order, skipping songs that would give a class more than its share.
    Approximately `fraction` of each class's clips are therefore held out.

    Args:
        songs: (N,) song of each clip.
        labels: (N, K) multi-hot.
        fraction: share of the clips to hold out, between 0 and 1.
        seed: seed for the random order.
        purpose: 'validation' or 'test'; each has its own random order.

    Returns:
        Indices of the remaining clips and of the held-out clips, in ascending order.

    Raises:
        UserError: the set of remaining or held-out clips would be empty.
    """
    # Clips without labels form a class of their own.
    labels = np.column_stack([labels, labels.sum(axis=1) == 0])
    unique, song_of_clip = np.unique(songs, return_inverse=True)
    per_song = np.zeros((len(unique), labels.shape[1]))
    np.add.at(per_song, song_of_clip, labels)
    # A class with few songs contributes its smallest song, so that every class is represented.
    smallest = np.where(per_song > 0, per_song, np.inf).min(axis=0, initial=np.inf)
    share = np.maximum(fraction * per_song.sum(axis=0), smallest)
    share = np.where((per_song > 0).sum(axis=0) > 1, share, 0.0)
    held_out_per_class = np.zeros(labels.shape[1])
    held_out = np.zeros(len(unique), bool)
    for song in _generator(fraction, seed, purpose).permutation(len(unique)):
        if np.all(held_out_per_class + per_song[song] <= share + 1e-9):
            held_out_per_class += per_song[song]
            held_out[song] = True
    return _indices(held_out[song_of_clip], plural(len(unique), "song"), fraction, purpose)


def _hold_out_pieces(songs: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Return whether each instance belongs to a piece held out for validation, as bool (N,).

    At least one piece is drawn at random. Choosing pieces by class would not balance the classes,
    since most pieces have several instruments.
    """
    pieces = np.unique(songs)
    num_held_out = max(1, round(fraction * len(pieces)))
    if num_held_out >= len(pieces):
        raise UserError(
            f"data.validation_fraction={fraction}: "
            f"{plural(len(pieces), 'training piece')}: too few to hold out {fraction:.0%} for "
            "validation; add more"
        )
    order = _generator(fraction, seed, "validation").permutation(len(pieces))
    return np.isin(songs, pieces[order[:num_held_out]])


def split_examples(
    songs: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float,
    seed: int,
    purpose: str = "validation",
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out random examples regardless of their song, stratified by label set.

    Args, Returns and Raises as for `split_songs`; `songs` is not used.
    """
    del songs
    generator = _generator(fraction, seed, purpose)
    _, label_set = np.unique(labels, axis=0, return_inverse=True)
    order = generator.permutation(len(labels))
    order = order[np.argsort(label_set[order], kind="stable")]
    # Examples are sorted by label set and shuffled within each set. The first examples of each set
    # are held out.
    first = np.searchsorted(label_set[order], label_set[order])
    size = np.bincount(label_set)[label_set[order]]
    held_out = np.zeros(len(labels), bool)
    held_out[order] = np.arange(len(order)) - first < np.round(fraction * size)
    return _indices(held_out, plural(len(labels), "example"), fraction, purpose)


def _generator(fraction: float, seed: int, purpose: str) -> np.random.Generator:
    if not 0.0 < fraction < 1.0:
        raise UserError(f"data.{purpose}_fraction={fraction}: expected a number between 0 and 1")
    return np.random.default_rng([seed, _SEEDS[purpose]])


def _indices(
    held_out: np.ndarray, count: str, fraction: float, purpose: str
) -> tuple[np.ndarray, np.ndarray]:
    if held_out.all() or not held_out.any():
        raise UserError(
            f"data.{purpose}_fraction={fraction}: {count}: too few to hold out {fraction:.0%} "
            f"of the clips for {purpose}; add more songs per class"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
