"""Audio files as tracks, read in parallel and written block by block.

Files get their final names once all of them are complete.
"""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from irec_jax import audio
from irec_jax.audio.samples import BLOCK_SAMPLES
from irec_jax.errors import UserError
from irec_jax.text import join_names, printable

# Lossless containers that libsndfile can write; tracks keep them.
_LOSSLESS_FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
#: Encodings that tracks keep.
KEPT_SUBTYPES = (
    *("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
)
_WIDENED_SUBTYPES = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16"}


@dataclasses.dataclass(frozen=True)
class Track:
    """An audio file, and the format in which its processed version is written.

    Attributes:
        path: the file.
        sample_rate_hz, num_channels, num_samples: format of the file; ``num_samples`` is exact.
        file_name: name of the file to write.
        format, subtype: soundfile's names of the container and the encoding to write.
        changed: whether these differ from those of the file.
    """

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    file_name: str
    format: str
    subtype: str
    changed: bool

    @property
    def name(self) -> str:
        """Printable name of the file without its suffix."""
        return printable(self.path.stem)


def open_track(path: Path) -> Track:
    """Return a file as a track and choose the format in which it is written.

    Lossless containers and encodings are kept; lossy and unusual ones become 24-bit wav, and 8 bits
    become 16. A file whose header does not state its exact length is decoded to measure it.

    Raises:
        UserError: a file that cannot be read or contains no samples.
    """
    header = audio.info(path)
    file_name, file_format, subtype, changed = f"{path.stem}.wav", "WAV", "PCM_24", True
    num_samples = None
    try:
        coding = soundfile.info(os.fsencode(path))
    except soundfile.SoundFileError:  # decoded by FFmpeg
        coding = None
    if coding is not None and coding.format in _LOSSLESS_FORMATS:
        file_name, file_format, subtype = path.name, coding.format, coding.subtype
        if subtype not in KEPT_SUBTYPES:
            subtype = _WIDENED_SUBTYPES.get(subtype, "PCM_24")
        changed = subtype != coding.subtype
        if coding.subtype in (*KEPT_SUBTYPES, *_WIDENED_SUBTYPES):
            num_samples = header.num_samples
    if num_samples is None:  # unknown or inexact
        num_samples = sum(len(block) for block in audio.blocks(path))
    if not num_samples:
        raise UserError(f"{printable(path)}: contains no samples; export it again")
    return Track(
        path, header.sample_rate_hz, header.num_channels, num_samples,
        file_name, file_format, subtype, changed,
    )  # fmt: skip


def read_tracks(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    """Read J tracks in parallel, block by block.

    Yields:
        Lists of J float32 arrays (C_j, n).

    Raises:
        UserError: a file is damaged or was changed while being read.
    """
    return prefetch(_read_blocks(tracks))


def _read_blocks(tracks: Sequence[Track]) -> Iterator[list[np.ndarray]]:
    options = dict(mono=False, block_samples=BLOCK_SAMPLES)
    streams = [audio.blocks(track.path, **options) for track in tracks]
    num_read, num_samples = 0, tracks[0].num_samples
    while num_read < num_samples:
        blocks = []
        for track, stream in zip(tracks, streams, strict=True):
            block = next(stream, None)
            if block is None or len(block) != min(BLOCK_SAMPLES, num_samples - num_read):
                raise UserError(
                    f"{printable(track.path)}: does not contain the {num_samples} samples that its "
                    "header states; export it again"
                )
            blocks.append(block.T)
        num_read += blocks[0].shape[1]
        yield blocks


def prefetch(blocks: Iterator[Any]) -> Iterator[Any]:
    """Yield the blocks, reading each in a thread while the previous one is processed.

    libsndfile reads through Python callbacks that swallow exceptions: in the main thread Ctrl-C
    would be lost there, and some audio with it. Other threads never receive it.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, blocks, None)
            yield block


#: Name of the staging folder within the output folder.
STAGING_NAME = ".irec.unfinished"
# Bits per sample of the encodings of tracks.
_BITS = {name: int(name[-2:]) for name in KEPT_SUBTYPES if name[-2:].isdigit()}
_FLOAT_BITS = {"FLOAT": 32, "DOUBLE": 64}
# Sizes in the headers of wav files have 32 bits.
_MAX_WAV_BYTES = (1 << 32) - (1 << 16)


def check_output_files(
    out: Path, names: Sequence[str], inputs: Collection[str | os.PathLike], *, overwrite: bool
) -> None:
    """Check that files of these names can be written to a folder.

    Args:
        out: output folder, which need not exist.
        names: file names.
        inputs: files that are read and must not be replaced.
        overwrite: replace existing files of these names.

    Raises:
        UserError: `out` is a file, one of the files is an input (or a link to one), or files of
            these names exist and `overwrite` is not set.
    """
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise UserError(f"{out}: is a file; name a folder")
    protected = {os.path.realpath(path) for path in inputs}
    existing = [name for name in names if os.path.lexists(real / name)]
    for name in existing:
        if os.path.realpath(real / name) in protected:
            raise UserError(
                f"{real / name}: is one of the tracks to read; name another folder to write to"
            )
        if (real / name).is_dir():
            raise UserError(f"{real / name}: is a folder; name another folder to write to")
    if existing and not overwrite:
        shown = join_names([printable(name) for name in existing])
        raise UserError(f"{out}: already contains {shown}; name another folder or set --overwrite")


@contextlib.contextmanager
def staging_folder(out: Path, num_bytes: int) -> Iterator[Path]:
    """Create a hidden folder within `out` for files being written, and remove it at the end.

    Only a killed process leaves the folder behind; the next process removes it.

    Args:
        out: output folder; created if missing, removed again if it stays empty.
        num_bytes: number of bytes to be written.

    Raises:
        UserError: `out` is not writable, the disk has too little space, or another process is
            writing to `out`.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    hidden = out / STAGING_NAME
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
                    f"{out}: another process is writing to it; wait for it or name another folder"
                ) from None
            except OSError:  # a network file system without locks
                pass
            stack.callback(shutil.rmtree, hidden, ignore_errors=True)
            for stale in hidden.iterdir():  # files of a killed process
                stale.unlink()
            free = shutil.disk_usage(hidden).free
        except OSError as error:
            raise UserError(
                f"{out}: cannot be written ({error.strerror}); name a writable folder"
            ) from error
        if free < num_bytes:
            raise UserError(
                f"{out}: {num_bytes / 1e6:.2f} MB are needed and {free / 1e6:.2f} MB are free; "
                "free some space or name a folder on another disk"
            )
        yield hidden


class TrackWriter:
    """Writer of J tracks in parallel.

    Attributes:
        num_clipped: (J,) number of samples beyond the integer range of each file.
    """

    def __init__(self, folder: Path, tracks: Sequence[Track]):
        self.num_clipped = np.zeros(len(tracks), np.int64)
        self._tracks = tracks
        self._paths = [folder / track.file_name for track in tracks]
        self._files: list[soundfile.SoundFile] = []
        with self._user_errors():
            for track, path in zip(tracks, self._paths, strict=True):
                signal = dict(samplerate=track.sample_rate_hz, channels=track.num_channels)
                coding = dict(format=_format(track), subtype=track.subtype)
                self._files.append(soundfile.SoundFile(os.fsencode(path), "w", **signal, **coding))

    def write(self, blocks: Sequence[np.ndarray]) -> None:
        """Append J float32 arrays (C_j, n), one to each track."""
        with self._user_errors():
            for j, (track, block) in enumerate(zip(self._tracks, blocks, strict=True)):
                samples = block.T
                if track.subtype in _BITS:
                    samples, num_clipped = quantise(samples, _BITS[track.subtype])
                    self.num_clipped[j] += num_clipped
                self._files[j].write(samples)

    def finish(self) -> list[Path]:
        """Close the files, check that they are complete and on disk, and return their paths."""
        with self._user_errors():
            self.close()
            for track, path in zip(self._tracks, self._paths, strict=True):
                with open(path, "rb+") as file:  # libsndfile does not report a full disk
                    os.fsync(file.fileno())
                num_written = audio.info(path).num_samples
                if num_written != track.num_samples:
                    raise OSError(f"{num_written} of {track.num_samples} samples were written")
        return self._paths

    def close(self) -> None:
        """Close the files, complete or not."""
        for file in self._files:
            file.close()

    @contextlib.contextmanager
    def _user_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, soundfile.SoundFileError) as error:
            out = self._paths[0].parent.parent
            reason = getattr(error, "strerror", None) or str(error).split(": ")[-1].strip()
            free = shutil.disk_usage(out).free
            hint = "the disk is full" if free < 1 << 20 else "check the folder and the disk"
            raise UserError(f"{out}: the tracks cannot be written ({reason}); {hint}") from error


def estimate_bytes(track: Track) -> int:
    """Return the approximate size of the file to be written for a track."""
    return _num_data_bytes(track) if track.changed else track.path.stat().st_size


def quantise(samples: np.ndarray, num_bits: int) -> tuple[np.ndarray, int]:
    """Quantise float samples, rounding to the nearest step and clipping at full scale.

    Args:
        samples: float32, full scale at 1.
        num_bits: 16 to 32.

    Returns:
        int32 samples in the shape of ``samples``, in the upper ``num_bits`` bits, and the number of
        samples clipped by a step or more.
    """
    full_scale = 2.0 ** (num_bits - 1)
    scaled = np.rint(samples * full_scale, dtype=np.float64)
    num_clipped = int(np.count_nonzero((scaled > full_scale) | (scaled < -full_scale)))
    integers = np.clip(scaled, -full_scale, full_scale - 1).astype(np.int32)
    return integers << (32 - num_bits), num_clipped


def _format(track: Track) -> str:
    large = track.format in ("WAV", "WAVEX") and _num_data_bytes(track) > _MAX_WAV_BYTES
    return "RF64" if large else track.format


def _num_data_bytes(track: Track) -> int:
    num_bits = _BITS.get(track.subtype) or _FLOAT_BITS[track.subtype]
    return track.num_samples * track.num_channels * num_bits // 8


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # raised for folders that are not empty
            folder.rmdir()
