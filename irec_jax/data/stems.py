"""Stem datasets: tracks and their stems, with random access to segments."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import data_builders
from data_builders.common.features import STEM_SAMPLE_RATE_HZ
from irec_jax import registry
from irec_jax.data.dataset import cache_reads
from irec_jax.data.labelled_clips import Selectable
from irec_jax.data.options import builder_arguments, check_kind
from irec_jax.errors import UserError
from irec_jax.labels import STEMS, STREAMS


@dataclasses.dataclass(frozen=True)
class Tracks(Selectable):
    """Tracks with their mixtures and stems.

    `read(track, stream, start, num_samples)` returns a segment of the 'mixture' or of a stem as
    int16 (num_samples, 2), zero-padded beyond the end of the track. The array is read-only.
    """

    names: np.ndarray  # (N,) str
    num_samples: np.ndarray  # (N,) int64
    errata: np.ndarray  # (N,) str, known errors in each track, usually empty
    read: Callable[[int, str, int, int], np.ndarray]

    @classmethod
    def from_arrays(cls, tracks: Mapping[str, Mapping[str, np.ndarray]]) -> "Tracks":
        """Create tracks from arrays in memory: name -> stream -> int16 (T, 2).

        If the 'mixture' is missing, it is the sum of the stems, clipped to the int16 range.
        """
        streams = []
        for arrays in tracks.values():
            longest = max(map(len, arrays.values()))
            padded = {name: _segment([array], 0, longest) for name, array in arrays.items()}
            if "mixture" not in padded:
                total = np.sum(list(padded.values()), axis=0, dtype=np.int32)
                padded["mixture"] = total.clip(-(2**15), 2**15 - 1).astype(np.int16)
            streams.append(padded)
        return cls(
            names=np.array(list(tracks), str),
            num_samples=np.array([len(track["mixture"]) for track in streams], np.int64),
            errata=np.array([""] * len(streams)),
            read=lambda track, stream, start, n: _segment([streams[track][stream]], start, n),
        )


def _segment(arrays: Sequence[np.ndarray], start: int, num_samples: int) -> np.ndarray:
    """Return a segment (num_samples, 2) of concatenated int16 arrays (T_i, 2), zero-padded.

    The result is a view if the segment lies within a single array.
    """
    slices, offset = [], 0
    for array in arrays:
        overlap = array[max(start - offset, 0) : max(start + num_samples - offset, 0)]
        slices += [overlap] if len(overlap) else []
        offset += len(array)
    missing = num_samples - sum(map(len, slices))
    if missing:
        slices.append(np.zeros((missing, 2), np.int16))
    return slices[0] if len(slices) == 1 else np.concatenate(slices)


def parse_target(text: str, stems: Sequence[str] = STEMS) -> tuple[str, ...]:
    """Return the stem names in a sum such as 'vocals+other', in the given order.

    Raises:
        UserError: an unknown or repeated stem, no stem, or all stems.
    """
    names = tuple(name.strip() for name in str(text).split("+") if name.strip())
    for name in names:
        if name not in stems:
            raise registry.unknown("data.target stem", name, stems)
        if names.count(name) > 1:
            raise UserError(f"data.target={text}: {name!r} appears twice; remove one")
    if not 0 < len(names) < len(stems):
        problem = "no stem" if not names else "all stems, which sum to the mixture"
        raise UserError(
            f"data.target={text!r}: {problem}; name one stem, or several joined by '+', such as "
            f"{stems[-1]}+{stems[-2]}"
        )
    return names


@dataclasses.dataclass(frozen=True)
class StemDataset:
    """A stem dataset with the tracks of each split; missing splits are None."""

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
    """Open the stem dataset that the `data` section of a config selects.

    The dataset is prepared on first use.

    Raises:
        UserError: unknown dataset or option; missing or unreadable files.
    """
    check_kind(settings["name"], "stems")
    builder = data_builders.prepare(settings["name"], **builder_arguments(settings))
    train, validation, test = (
        _open_split(builder, split, settings["cache_gb"] * 1e9)
        if split in builder.info.splits
        else None
        for split in ("train", "validation", "test")
    )
    if train is None:
        raise UserError(f"{builder.name}: no training tracks; check data.path")
    return StemDataset(
        name=settings["name"],
        version=str(builder.version),
        config=builder.builder_config.name,
        rendered=data_builders.describe(settings["name"]).rendered,
        sample_rate_hz=STEM_SAMPLE_RATE_HZ,
        stems=STEMS,
        train=train,
        validation=validation,
        test=test,
    )


def describe_stems(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return the stem names and sample rate (Hz), or raise UserError; see `dataset.describe`."""
    check_kind(settings["name"], "stems")
    data_builders.builder(settings["name"], **builder_arguments(settings))
    return STEMS, STEM_SAMPLE_RATE_HZ


def _open_split(builder: Any, split: str, cache_bytes: float) -> Tracks:
    """Return the tracks of a split, caching its records if all of them fit in the cache."""
    source = builder.as_data_source(split)
    records: dict[str, dict[str, list[int]]] = {}
    lengths, errata, num_bytes = [], {}, 0
    for i, row in enumerate(builder.index(split)):
        streams = records.setdefault(row["track"], {stream: [] for stream in STREAMS})
        streams[row["stem"]].append(i)
        errata[row["track"]] = row["errata"]
        lengths.append(row["num_samples"])
        num_bytes += 4 * row["num_samples"]
    # For each stream, its records and their boundaries in samples.
    layout = {
        (track, stream): (np.array(indices), np.cumsum([0] + [lengths[i] for i in indices]))
        for track, streams in enumerate(records.values())
        for stream, indices in streams.items()
    }

    def read_record(record: int) -> np.ndarray:
        return source[record]["audio"]

    fetch = cache_reads(read_record) if num_bytes <= cache_bytes else read_record

    def read(track: int, stream: str, start: int, num_samples: int) -> np.ndarray:
        indices, bounds = layout[track, stream]
        first = np.searchsorted(bounds, start, side="right") - 1
        overlapping = indices[first : np.searchsorted(bounds, start + num_samples)]
        return _segment([fetch(int(i)) for i in overlapping], start - bounds[first], num_samples)

    return Tracks(
        names=np.array(list(records), str),
        num_samples=np.array([layout[i, "mixture"][1][-1] for i in range(len(records))], np.int64),
        errata=np.array([errata[name] for name in records], str),
        read=read,
    )
