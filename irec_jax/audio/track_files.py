"""Tracks written block by block, which appear under their names when all of them are whole."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from irec_jax import audio
from irec_jax.audio.names import listed, printable
from irec_jax.audio.tracks import Track
from irec_jax.errors import UserError

#: Where files grow, within the folder that they are for.
UNFINISHED = ".irec.unfinished"
_BITS = {
    **{"PCM_16": 16, "PCM_24": 24, "PCM_32": 32},
    **{"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32},
}
_FLOAT_BITS = {"FLOAT": 32, "DOUBLE": 64}
# Sizes in the headers of wav files have 32 bits.
_MAX_WAV_BYTES = (1 << 32) - (1 << 16)


def check_files(
    out: Path, names: Sequence[str], inputs: Collection[str | os.PathLike], *, overwrite: bool
) -> None:
    """Finds out whether files of these names may be written to `out`.

    Args:
        out: a folder, there or not.
        names: of the files.
        inputs: files that are read and must stay.
        overwrite: replace files of these names.

    Raises:
        UserError: `out` is a file, holds an input or what it is a link to, or holds files of these
            names and `overwrite` is not set.
    """
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise UserError(f"{out}: is a file; name a folder")
    kept = {os.path.realpath(path) for path in inputs}
    found = [name for name in names if os.path.lexists(real / name)]
    for name in found:
        if os.path.realpath(real / name) in kept:
            raise UserError(
                f"{real / name}: is one of the tracks to read; name another folder to write to"
            )
        if (real / name).is_dir():
            raise UserError(f"{real / name}: is a folder; name another folder to write to")
    if found and not overwrite:
        raise UserError(
            f"{out}: holds {listed([printable(name) for name in found])} already; name another "
            "folder, or set --overwrite"
        )


@contextlib.contextmanager
def unfinished(out: Path, num_bytes: int) -> Iterator[Path]:
    """A hidden folder within `out` for what is being written; whatever happens, it is removed.

    Only a killed process leaves it; the next one removes it.

    Args:
        out: made where it is missing; removed again if it stays empty.
        num_bytes: that will be written there.

    Raises:
        UserError: it cannot be written, too little room, or another process is writing there.
    """
    missing = [place for place in (out, *out.parents) if not place.exists()]
    hidden = out / UNFINISHED
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, missing)
        try:
            hidden.mkdir(parents=True, exist_ok=True)
            lock = os.open(hidden, os.O_RDONLY)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{out}: another process is writing here; wait for it or name another folder"
                ) from None
            except OSError:  # a network file system without locks
                pass
            stack.callback(shutil.rmtree, hidden, ignore_errors=True)
            for left in hidden.iterdir():  # by a killed process
                left.unlink()
            room = shutil.disk_usage(hidden).free
        except OSError as error:
            raise UserError(
                f"{out}: cannot be written ({error.strerror}); name a folder that takes files"
            ) from error
        if room < num_bytes:
            raise UserError(
                f"{out}: {num_bytes / 1e6:.2f} MB are needed and {room / 1e6:.2f} MB are free; "
                "make room or name a folder on another disk"
            )
        yield hidden


class Writers:
    """The files of all tracks, open for writing.

    Attributes:
        num_clipped: (J,) samples beyond what the integers of a file can hold.
    """

    def __init__(self, folder: Path, tracks: Sequence[Track]):
        self.num_clipped = np.zeros(len(tracks), np.int64)
        self._tracks = tracks
        self._paths = [folder / track.file_name for track in tracks]
        self._files: list[soundfile.SoundFile] = []
        with self._explained():
            for track, path in zip(tracks, self._paths, strict=True):
                self._files.append(
                    soundfile.SoundFile(
                        os.fsencode(path),
                        "w",
                        samplerate=track.sample_rate_hz,
                        channels=track.num_channels,
                        format=_format(track),
                        subtype=track.subtype,
                    )
                )

    def write(self, blocks: Sequence[np.ndarray]) -> None:
        """Appends J float32 arrays (C_j, n)."""
        with self._explained():
            for j, (track, block) in enumerate(zip(self._tracks, blocks, strict=True)):
                samples = block.T
                if track.subtype in _BITS:
                    samples, num_clipped = to_integers(samples, _BITS[track.subtype])
                    self.num_clipped[j] += num_clipped
                self._files[j].write(samples)

    def finish(self) -> list[Path]:
        """Closes the files, makes sure that they are whole and on the disk, and gives them."""
        with self._explained():
            self.close()
            for track, path in zip(self._tracks, self._paths, strict=True):
                with open(path, "rb+") as file:  # libsndfile does not tell of a disk that fills up
                    os.fsync(file.fileno())
                written = audio.info(path).num_samples
                if written != track.num_samples:
                    raise OSError(f"{written} of {track.num_samples} samples were written")
        return self._paths

    def close(self) -> None:
        """Closes the files, whatever their state."""
        for file in self._files:
            file.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, soundfile.SoundFileError) as error:
            out = self._paths[0].parent.parent
            reason = getattr(error, "strerror", None) or str(error).split(": ")[-1].strip()
            room = shutil.disk_usage(out).free
            hint = "the disk is full" if room < 1 << 20 else "check the folder and the disk"
            raise UserError(f"{out}: the tracks cannot be written ({reason}); {hint}") from error


def num_bytes(track: Track) -> int:
    """About how large the track's file will be."""
    if not track.changed:
        return track.path.stat().st_size
    return _num_data_bytes(track)


def to_integers(samples: np.ndarray, num_bits: int) -> tuple[np.ndarray, int]:
    """Float samples as integers of so many bits, in the upper bits of int32.

    Rounded to the nearest, clipped at full scale.

    Args:
        samples: float32, full scale at 1.
        num_bits: 16 to 32.

    Returns:
        int32, of the shape of ``samples``, and how many were clipped by a step or more.
    """
    full = 2.0 ** (num_bits - 1)
    scaled = np.rint(samples * full, dtype=np.float64)
    num_clipped = int(np.count_nonzero((scaled > full) | (scaled < -full)))
    integers = np.clip(scaled, -full, full - 1).astype(np.int32)
    return integers << (32 - num_bits), num_clipped


def _format(track: Track) -> str:
    large = track.format in ("WAV", "WAVEX") and _num_data_bytes(track) > _MAX_WAV_BYTES
    return "RF64" if large else track.format


def _num_data_bytes(track: Track) -> int:
    num_bits = _BITS.get(track.subtype) or _FLOAT_BITS[track.subtype]
    return track.num_samples * track.num_channels * num_bits // 8


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # what is not empty stays
            folder.rmdir()
