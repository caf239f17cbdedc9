"""Stores of precomputed examples, such as a dataset's clips after source separation.

    store.json   kind, shape, dataset and origin of the examples, and their clip ids
    values.npy   int16 (N, *shape), memory-mapped for reading
    done.npy     uint8 (N,), 1 for each clip whose values have been written

Values lie in -1..1 and are multiplied by 32768 for storage. An interrupted write can be resumed.
"""

import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax.audio import to_int16
from irec_jax.data.labelled_clips import Clips, peak
from irec_jax.errors import UserError
from irec_jax.files import atomic_write, expand_home, read_json, write_bytes, write_json
from irec_jax.progress import progress_bar

FORMAT = 1
#: Kinds of examples: `spectrogram_db` front-end features, or audio.
KINDS = ("features", "audio")
_ARRAY_FILES = ("values.npy", "done.npy")


@dataclasses.dataclass(frozen=True)
class StoreContents:
    """Description of the examples in a store.

    Attributes:
        kind: one of `KINDS`.
        shape: shape of an example.
        dataset: identity of the clips' dataset: ``name``, ``version``, ``config``, ``channels`` and
            ``window_s``, the number of seconds taken from the start of each clip.
        made_by: unique description of how the examples were computed, such as the separator and
            its fingerprint.
    """

    kind: str
    shape: tuple[int, ...]
    dataset: Mapping[str, Any]
    made_by: str

    def to_dict(self) -> dict[str, Any]:
        """Return the contents as a JSON-serialisable dict."""
        return {"format": FORMAT} | dataclasses.asdict(self) | {"shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.kind} by {self.made_by}"


@dataclasses.dataclass(frozen=True)
class ExampleStore:
    """A complete store: values int16 (N, *shape), and the row of each clip id."""

    folder: Path
    contents: StoreContents
    rows: Mapping[str, int]
    values: np.ndarray

    def replace_audio(self, clips: Clips) -> Clips:
        """Return the clips with a `read` function that returns the stored values.

        `read` returns a flat array and a gain: the peak of stored audio, or 1 for features.

        Raises:
            UserError: a clip is missing from the store.
        """
        missing = [name for name in clips.ids if str(name) not in self.rows]
        if missing:
            raise UserError(
                f"{self.folder}: lacks clip {missing[0]} ({len(missing)} of {len(clips)} clips are "
                "missing); store the examples of this dataset with the same channels and window_s"
            )
        rows = [self.rows[str(name)] for name in clips.ids]

        def read(i: int) -> tuple[np.ndarray, np.float32]:
            values = np.array(self.values[rows[i]]).ravel()
            return values, peak(values) if self.contents.kind == "audio" else np.float32(1.0)

        num_values = int(np.prod(self.contents.shape))
        return dataclasses.replace(
            clips, num_samples=np.full(len(clips), num_values, np.int64), read=read
        )


def write_store(
    folder: str | os.PathLike,
    contents: StoreContents,
    ids: Iterable[str],
    compute: Callable[[Sequence[int]], np.ndarray],
    *,
    batch_size: int = 16,
    label: str = "store",
) -> None:
    """Compute and write the examples that are missing from a store, showing a progress bar.

    Args:
        folder: store folder; created if it does not exist.
        contents: description of the examples.
        ids: N unique clip ids.
        compute: function that maps the indices of n <= batch_size clips to floats (n, *shape)
            within -1..1; values outside this range are clipped.
        batch_size: clips per batch; completed batches survive an interruption.
        label: progress-bar label.

    Raises:
        UserError: the folder holds other files or a store with other contents or clips, or is not
            writable (permissions, full disk).
    """
    folder, ids = Path(folder), [str(name) for name in ids]
    if len(set(ids)) < len(ids):
        raise ValueError("ids: expected unique ids")
    _create_or_check(folder, contents, ids)
    done = np.load(folder / "done.npy")
    remaining = np.flatnonzero(done == 0)
    num_done = len(ids) - len(remaining)
    bar = progress_bar(total=len(ids), initial=num_done, desc=label, unit="clip")
    offset = np.load(folder / "values.npy", mmap_mode="r").offset
    try:
        with bar, open(folder / "values.npy", "rb+") as file:
            for first in range(0, len(remaining), batch_size):
                batch = remaining[first : first + batch_size]
                values = to_int16(np.asarray(compute(batch.tolist()), np.float32))
                if values.shape != (expected := (len(batch), *contents.shape)):
                    raise ValueError(f"compute: returned {values.shape}, expected {expected}")
                # A memory-mapped write to a full disk would crash the process.
                for row, value in zip(batch, values, strict=True):
                    file.seek(offset + int(row) * value.nbytes)
                    file.write(value.tobytes())
                file.flush()
                os.fsync(file.fileno())
                done[batch] = 1
                write_bytes(folder / "done.npy", _npy(done))
                bar.update(len(batch))
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space and repeat "
            "the command to resume"
        ) from error


def _create_or_check(folder: Path, contents: StoreContents, ids: list[str]) -> None:
    """Create an empty store, or check that the existing one has these contents and ids."""
    expected = contents.to_dict() | {"ids": ids}
    if (folder / "store.json").exists():
        existing = _read_description(folder)
        differing = [key for key in expected if existing.get(key) != expected[key]]
        if differing:
            origin = f" by {existing.get('made_by')}" if "made_by" in differing else ""
            raise UserError(
                f"{folder}: holds other examples{origin} (different {', '.join(differing)}); "
                "delete it and the systems trained on it"
            )
        return
    others = [p for p in folder.iterdir() if p.name not in _ARRAY_FILES] if folder.is_dir() else []
    if any(not other.name.startswith(".") for other in others):
        raise UserError(f"{folder}: holds other files; choose an empty or new folder")
    shape = (len(ids), *contents.shape)
    needed = 2 * int(np.prod(shape))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(
            f"{folder}: is not writable ({error.strerror or error}); choose another folder"
        ) from error
    if free < needed:
        raise UserError(
            f"{folder}: {len(ids)} examples take {needed / 1e9:.1f} GB, but only "
            f"{free / 1e9:.1f} GB are free; free some space or choose another folder"
        )
    with atomic_write(folder / "values.npy") as path:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape).flush()
    write_bytes(folder / "done.npy", _npy(np.zeros(len(ids), np.uint8)))
    # Written last: without this file, a folder is not recognised as a store.
    write_json(folder / "store.json", expected)


def open_store(folder: str | os.PathLike) -> ExampleStore:
    """Open a complete store.

    Raises:
        UserError: the store is missing, incomplete or damaged.
    """
    folder = expand_home(folder)
    description = _read_description(folder)
    contents = StoreContents(
        kind=description["kind"],
        shape=tuple(description["shape"]),
        dataset=description["dataset"],
        made_by=description["made_by"],
    )
    damaged = UserError(f"{folder}: damaged; delete it and store the examples again")
    try:
        done = np.load(folder / "done.npy")
        values = np.load(folder / "values.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise damaged from error
    shape = (len(description["ids"]), *contents.shape)
    if values.dtype != np.int16 or values.shape != shape or len(done) != len(values):
        raise damaged
    if not done.all():
        raise UserError(
            f"{folder}: interrupted after {int(done.sum())} of {len(done)} examples; repeat the "
            "command that writes the store"
        )
    rows = {name: row for row, name in enumerate(description["ids"])}
    return ExampleStore(folder, contents, rows, values)


def _read_description(folder: Path) -> dict[str, Any]:
    """Return the contents of store.json."""
    path = folder / "store.json"
    if not path.exists():
        raise UserError(f"{folder}: no stored examples (store.json); check data.stored")
    description = read_json(path)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(
            f"{path}: written by another version; delete the folder and store the examples again"
        )
    return description


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
