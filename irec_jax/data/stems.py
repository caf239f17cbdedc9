"""Tracks of stems, any stretch of which is read without the rest."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.labels import STEMS


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
    """A stretch of parts (T_i, C) that follow each other, with zeros beyond their end.

    Returns:
        (num_samples, C); a view where it lies within a single part.
    """
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    found = whole[start : start + num_samples]
    if len(found) == num_samples:
        return found
    padded = np.zeros((num_samples, whole.shape[1]), whole.dtype)
    padded[: len(found)] = found
    return padded


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
