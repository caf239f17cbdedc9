"""Datasets of tracks with their stems, any stretch of which is read without the rest."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import data_builders
from data_builders.common.features import STEM_SAMPLE_RATE_HZ
from irec_jax import registry
from irec_jax.data.dataset import remember
from irec_jax.data.options import builder_arguments, check_kind
from irec_jax.errors import UserError
from irec_jax.labels import STEMS, STREAMS


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Pieces of music whose mixture and stems are known.

    `read(track, stream, start, num_samples)` gives a stretch of the 'mixture' or of a stem as int16
    (num_samples, 2), with zeros beyond the end of the track. What it gives is not to be written to.
    """

    names: np.ndarray  # (N,) str
    num_samples: np.ndarray  # (N,) int64
    errata: np.ndarray  # (N,) str, what is known to be wrong with a track, mostly empty
    read: Callable[[int, str, int, int], np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Tracks":
        """The tracks at these indices, in this order."""
        indices = np.asarray(indices, np.int64)
        return Tracks(
            names=self.names[indices],
            num_samples=self.num_samples[indices],
            errata=self.errata[indices],
            read=lambda track, *stretch: self.read(int(indices[track]), *stretch),
        )

    @classmethod
    def from_arrays(cls, tracks: Mapping[str, Mapping[str, np.ndarray]]) -> "Tracks":
        """Tracks in memory: name -> stream -> int16 (T, 2).

        Where there is no 'mixture' it is the sum of the stems, cut at what int16 holds.
        """
        streams = []
        for given in tracks.values():
            longest = max(len(audio) for audio in given.values())
            whole = {name: stretch([audio], 0, longest) for name, audio in given.items()}
            if "mixture" not in whole:
                total = np.sum(list(whole.values()), axis=0, dtype=np.int32)
                whole["mixture"] = total.clip(-(2**15), 2**15 - 1).astype(np.int16)
            streams.append(whole)
        return cls(
            names=np.array(list(tracks), str),
            num_samples=np.array([len(one["mixture"]) for one in streams], np.int64),
            errata=np.array([""] * len(streams)),
            read=lambda track, stream, start, n: stretch([streams[track][stream]], start, n),
        )


def stretch(parts: Sequence[np.ndarray], start: int, num_samples: int) -> np.ndarray:
    """A stretch of int16 parts (T_i, 2) that follow each other, with zeros beyond their end.

    Returns:
        (num_samples, 2); a view where it lies within a single part.
    """
    touched, first = [], 0
    for part in parts:
        found = part[max(start - first, 0) : max(start + num_samples - first, 0)]
        touched += [found] if len(found) else []
        first += len(part)
    missing = num_samples - sum(map(len, touched))
    if missing:
        touched.append(np.zeros((missing, 2), np.int16))
    return touched[0] if len(touched) == 1 else np.concatenate(touched)


def parse_target(text: str, stems: Sequence[str] = STEMS) -> tuple[str, ...]:
    """The stems of a sum such as 'vocals+other', in that order.

    Raises:
        UserError: a stem that is not known or is named twice, no stem, or all of them.
    """
    names = tuple(name.strip() for name in str(text).split("+") if name.strip())
    for name in names:
        if name not in stems:
            raise registry.unknown("stem in config key data.target", name, stems)
        if names.count(name) > 1:
            raise UserError(f"config key data.target={text}: names {name!r} twice")
    if not 0 < len(names) < len(stems):
        what = "no stem" if not names else "all stems, which is the mixture itself"
        raise UserError(
            f"config key data.target={text!r}: names {what}; name one or a sum of some, such as "
            f"{stems[-1]}+{stems[-2]}"
        )
    return names


@dataclasses.dataclass(frozen=True)
class StemDataset:
    """A dataset by its full name and the tracks of its splits, None where it has none of one."""

    name: str
    version: str
    config: str
    rendered: bool
    sample_rate_hz: int
    stems: tuple[str, ...]
    train: Tracks
    validation: Tracks | None
    test: Tracks | None


def load_stems(settings: Mapping[str, Any]) -> StemDataset:
    """Prepares (if need be) and opens the stem dataset of a config section `data`.

    Raises:
        UserError: an unknown dataset or option; files that are missing or cannot be read.
    """
    check_kind(settings["name"], "stems")
    builder = data_builders.prepare(settings["name"], **builder_arguments(settings))
    splits = {
        split: _open(builder, split, settings["cache_gb"] * 1e9)
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    if "train" not in splits:
        raise UserError(f"{builder.name}: has no training tracks; check data.path")
    return StemDataset(
        name=settings["name"],
        version=str(builder.version),
        config=builder.builder_config.name,
        rendered=data_builders.describe(settings["name"]).rendered,
        sample_rate_hz=STEM_SAMPLE_RATE_HZ,
        stems=STEMS,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
    )


def describe_stems(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Names of the stems and sample rate of a config section `data`, without preparing it.

    Raises:
        UserError: an unknown dataset or option.
    """
    check_kind(settings["name"], "stems")
    data_builders.builder(settings["name"], **builder_arguments(settings))
    return STEMS, STEM_SAMPLE_RATE_HZ


def _open(builder: Any, split: str, cache_bytes: float) -> Tracks:
    """The tracks of a split; its records are remembered where all of them fit into the cache."""
    source = builder.as_data_source(split)
    records: dict[str, dict[str, list[int]]] = {}
    lengths, errata, num_bytes = [], {}, 0
    for i, row in enumerate(builder.index(split)):
        streams = records.setdefault(row["track"], {stream: [] for stream in STREAMS})
        streams[row["stem"]].append(i)
        errata[row["track"]] = row["errata"]
        lengths.append(row["num_samples"])
        num_bytes += 4 * row["num_samples"]
    places = {
        (track, stream): (np.array(found), np.cumsum([0] + [lengths[i] for i in found]))
        for track, streams in enumerate(records.values())
        for stream, found in streams.items()
    }

    def fetch(record: int) -> np.ndarray:
        return source[record]["audio"]

    if num_bytes <= cache_bytes:
        fetch = remember(fetch)

    def read(track: int, stream: str, start: int, num_samples: int) -> np.ndarray:
        found, bounds = places[track, stream]
        first = np.searchsorted(bounds, start, side="right") - 1
        touched = found[first : np.searchsorted(bounds, start + num_samples)]
        return stretch([fetch(int(i)) for i in touched], start - bounds[first], num_samples)

    return Tracks(
        names=np.array(list(records), str),
        num_samples=np.array([places[i, "mixture"][1][-1] for i in range(len(records))], np.int64),
        errata=np.array([errata[name] for name in records], str),
        read=read,
    )
