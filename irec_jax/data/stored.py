"""Examples that lie ready on disk: what a separator made of the clips of a dataset.

    store.json   what it holds, of which dataset, made by what; the ids of its clips
    values.npy   int16 (N, *shape), memory-mapped when it is read
    done.npy     uint8 (N,), 1 for a clip whose values are written

Values within -1..1 times 32768. An interrupted store goes on where it stopped.
"""

import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from irec_jax.audio import to_int16
from irec_jax.data.clips import Clips, peak
from irec_jax.errors import UserError
from irec_jax.files import atomic_write, read_json, write_bytes, write_json

FORMAT = 1
#: What an example is: features of `spectrogram_db`, or audio.
KINDS = ("features", "audio")
_PARTS = ("values.npy", "done.npy")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a store holds.

    Attributes:
        kind: one of `KINDS`.
        shape: of an example.
        dataset: of whose clips: ``name``, ``version``, ``config`` and ``window_s``, the length of
            the beginning of each clip that was taken.
        made_by: in words that tell it from any other, such as the separator and its fingerprint.
    """

    kind: str
    shape: tuple[int, ...]
    dataset: Mapping[str, Any]
    made_by: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "shape": list(self.shape),
            "dataset": dict(self.dataset),
            "made_by": self.made_by,
        }

    def __str__(self) -> str:
        return f"{self.kind} by {self.made_by}"


@dataclasses.dataclass(frozen=True)
class Stored:
    """A complete store: its contents, and its values int16 (N, *shape) by the id of a clip."""

    folder: Path
    contents: Contents
    rows: Mapping[str, int]
    values: np.ndarray

    def clips(self, clips: Clips) -> Clips:
        """The same clips, of which `read` gives what is stored: all values of an example in a row,
        and the peak of stored audio (1 for features).

        Raises:
            UserError: a clip is not here.
        """
        missing = [name for name in clips.ids if str(name) not in self.rows]
        if missing:
            raise UserError(
                f"{self.folder}: holds no clip {missing[0]} ({len(missing)} of {len(clips)} are "
                "missing); store the examples of this dataset, its channels and its window_s"
            )
        rows = [self.rows[str(name)] for name in clips.ids]

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            values = np.array(self.values[rows[i]]).ravel()
            return values, peak(values) if self.contents.kind == "audio" else np.float32(1.0)

        num_values = int(np.prod(self.contents.shape))
        return dataclasses.replace(
            clips, num_samples=np.full(len(clips), num_values, np.int64), read=read
        )


def write_stored(
    folder: str | os.PathLike,
    contents: Contents,
    ids: Sequence[str],
    compute: Callable[[Sequence[int]], np.ndarray],
    *,
    batch_size: int = 16,
    label: str = "stored",
) -> None:
    """Computes and stores the examples of clips that are not there yet, with a progress bar.

    Args:
        folder: of the store; made where it is missing.
        contents: what it will hold.
        ids: N ids of the clips, each once.
        compute: indices of n <= batch_size clips to floats (n, *shape) within -1..1; what lies
            beyond is cut.
        batch_size: clips at a time; after each batch an interruption loses nothing.
        label: of the progress bar.

    Raises:
        UserError: the folder holds a store of other contents or clips, or something else, or
            cannot be written (rights, full disk).
    """
    folder, ids = Path(folder), list(map(str, ids))
    if len(set(ids)) < len(ids):
        raise ValueError("ids: some are there twice")
    _begin(folder, contents, ids)
    done = np.load(folder / "done.npy")
    left = np.flatnonzero(done == 0)
    bar = tqdm(total=len(ids), initial=len(ids) - len(left), desc=label, unit="clip", leave=False)
    offset = np.load(folder / "values.npy", mmap_mode="r").offset
    try:
        with bar, open(folder / "values.npy", "rb+") as file:
            for first in range(0, len(left), batch_size):
                chosen = left[first : first + batch_size]
                values = to_int16(np.asarray(compute(chosen.tolist()), np.float32))
                if values.shape != (len(chosen), *contents.shape):
                    raise ValueError(f"compute gave {values.shape}, not clips of {contents.shape}")
                # Written, not mapped: a disk that is full is then an error, not a crash.
                for row, value in zip(chosen, values, strict=True):
                    file.seek(offset + int(row) * value.nbytes)
                    file.write(value.tobytes())
                file.flush()
                os.fsync(file.fileno())
                done[chosen] = 1
                write_bytes(folder / "done.npy", _npy(done))
                bar.update(len(chosen))
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); make room, and the same "
            "command goes on"
        ) from error


def _begin(folder: Path, contents: Contents, ids: list[str]) -> None:
    """Makes an empty store, or finds the one that was begun."""
    wanted = contents.to_dict() | {"ids": ids}
    if (folder / "store.json").exists():
        found = _record(folder)
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            made = f" by {found.get('made_by')}" if "made_by" in differing else ""
            raise UserError(
                f"{folder}: holds other examples{made} ({', '.join(differing)} differ); delete it, "
                "and what was trained on it"
            )
        return
    others = [p for p in folder.iterdir() if p.name not in _PARTS] if folder.is_dir() else []
    if any(not other.name.startswith(".") for other in others):
        raise UserError(f"{folder}: holds other files; choose an empty or new folder")
    shape = (len(ids), *contents.shape)
    needed = 2 * int(np.prod(shape))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error
    if free < needed:
        raise UserError(
            f"{folder}: {len(ids)} examples take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are "
            "free; make room or choose another folder"
        )
    with atomic_write(folder / "values.npy") as path:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape).flush()
    write_bytes(folder / "done.npy", _npy(np.zeros(len(ids), np.uint8)))
    # Last: a store without it was not begun.
    write_json(folder / "store.json", wanted)


def open_stored(folder: str | os.PathLike) -> Stored:
    """A store that is complete.

    Raises:
        UserError: no store, an incomplete or a damaged one.
    """
    folder = Path(folder).expanduser()
    record = _record(folder)
    contents = Contents(
        kind=record["kind"],
        shape=tuple(record["shape"]),
        dataset=record["dataset"],
        made_by=record["made_by"],
    )
    try:
        done = np.load(folder / "done.npy")
        values = np.load(folder / "values.npy", mmap_mode="r")
        sound = values.dtype == np.int16 and len(done) == len(record["ids"])
        sound = sound and values.shape == (len(done), *contents.shape)
    except (OSError, ValueError, EOFError):
        sound = False
    if not sound:
        raise UserError(f"{folder}: is damaged; delete it, and make it again")
    if not done.all():
        raise UserError(
            f"{folder}: holds {int(done.sum())} of {len(done)} examples, having been interrupted; "
            "the command that made it goes on"
        )
    rows = {name: row for row, name in enumerate(record["ids"])}
    return Stored(folder=folder, contents=contents, rows=rows, values=values)


def _record(folder: Path) -> dict[str, Any]:
    """store.json."""
    if not (folder / "store.json").exists():
        raise UserError(f"{folder}: holds no stored examples (store.json); check data.stored")
    record = read_json(folder / "store.json")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{folder / 'store.json'}: not written by this version; make it again")
    return record


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
