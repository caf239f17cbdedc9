"""Writing audio files: arrays in one go, tracks and MP3 files block by block.

Tracks are written to a staging folder and moved to their destination once all are complete.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soundfile

from irec_jax.audio.decoding import soundfile_name
from irec_jax.audio.reading import file_error, info
from irec_jax.audio.samples import to_int16
from irec_jax.audio.tracks import KEPT_SUBTYPES, Track
from irec_jax.errors import UserError
from irec_jax.files import write_error
from irec_jax.text import join_names, printable

#: Name of the staging folder within the output folder.
STAGING_NAME = ".irec.unfinished"
# Bits per sample of the integer encodings.
_BITS = {name: int(name[-2:]) for name in KEPT_SUBTYPES if name[-2:].isdigit()}
_FLOAT_BITS = {"FLOAT": 32, "DOUBLE": 64}
# Wav headers store sizes in 32 bits.
_MAX_WAV_BYTES = (1 << 32) - (1 << 16)


def write(
    path: str | os.PathLike, samples: np.ndarray, sample_rate_hz: int, *, subtype: str | None = None
) -> None:
    """Write an audio file atomically.

    Args:
        path: path of the file; its suffix (.wav, .flac, .ogg, .mp3 ...) determines the format.
        samples: float within [-1, 1] (clipped in integer files) or int16; (T,) or (T, C).
        sample_rate_hz: sample rate in Hz.
        subtype: soundfile's name for the encoding: 'PCM_16', 'PCM_24', 'FLOAT' ...; None selects
            the format's default, which is 16 bits for wav and flac.

    Raises:
        UserError: unknown suffix or subtype, missing folder, missing permission, or full disk.
    """
    path = Path(path)
    file_format = path.suffix[1:].upper()
    if file_format not in soundfile.available_formats():
        raise file_error(path, f"cannot be written as {path.suffix!r}", "use .wav or .flac")
    subtype = subtype or soundfile.default_subtype(file_format)
    if not soundfile.check_format(file_format, subtype):
        raise file_error(path, f"cannot be written as {subtype}", "use PCM_16 or a .wav file")
    if subtype == "PCM_16" and samples.dtype != np.int16:
        samples = to_int16(samples)  # libsndfile would scale by 32767
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()  # unlike libsndfile, this reports what is wrong with the folder
        name = soundfile_name(temporary)
        soundfile.write(name, samples, sample_rate_hz, subtype, format=file_format)
        with open(temporary, "rb") as file:  # libsndfile does not report a full disk on closing
            os.fsync(file.fileno())
        info(temporary)
        os.replace(temporary, path)
    except (OSError, soundfile.SoundFileError, UserError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise write_error(printable(path), error) from error
        remedy = "check the folder and the free space"
        raise file_error(path, "cannot be written: the disk may be full", remedy) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_mp3(
    file: BinaryIO, blocks: Iterable[np.ndarray], sample_rate_hz: int, *, bit_rate: int
) -> None:
    """Encode mono audio as an MP3 file with a constant bit rate, block by block.

    Args:
        file: a seekable file that is open for writing.
        blocks: float32 (n,), clipped to [-1, 1].
        sample_rate_hz: a sample rate that MP3 supports, such as 32,000 Hz.
        bit_rate: bit rate in bits per second.
    """
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=sample_rate_hz, layout="mono")
        stream.bit_rate = bit_rate
        for block in blocks:
            samples = np.clip(block, -1, 1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = sample_rate_hz
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def check_output_files(
    out: Path, names: Sequence[str], inputs: Collection[str | os.PathLike], *, overwrite: bool
) -> None:
    """Check that files with these names can be written to a folder.

    Args:
        out: output folder, which need not exist.
        names: file names.
        inputs: files to be read, which must not be replaced.
        overwrite: allow existing files with these names to be replaced.

    Raises:
        UserError: `out` is a file, one of the names denotes a folder, an input or a link to an
            input, or files with these names exist and `overwrite` is not set.
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

    A killed process leaves the folder behind; the next process to write to `out` removes it.

    Args:
        out: output folder; created if missing, and removed again if it stays empty.
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
            except OSError:  # some network file systems do not support locks
                pass
            stack.callback(shutil.rmtree, hidden, ignore_errors=True)
            for stale in hidden.iterdir():  # left by a killed process
                stale.unlink()
            free = shutil.disk_usage(hidden).free
        except OSError as error:
            raise UserError(
                f"{out}: cannot be written ({error.strerror}); name a writable folder"
            ) from error
        if free < num_bytes:
            raise UserError(
                f"{out}: {num_bytes / 1e6:.2f} MB are needed, but only {free / 1e6:.2f} MB are "
                "free; free some space or name a folder on another disk"
            )
        yield hidden


class TrackWriter:
    """Writer for J tracks in parallel.

    Attributes:
        num_clipped: (J,) number of samples clipped to the integer range of each file.
    """

    def __init__(self, folder: Path, tracks: Sequence[Track]):
        self.num_clipped = np.zeros(len(tracks), np.int64)
        self._tracks = tracks
        self._paths = [folder / track.file_name for track in tracks]
        self._files: list[soundfile.SoundFile] = []
        with self._user_errors():
            for track, path in zip(tracks, self._paths, strict=True):
                name, signal = soundfile_name(path), (track.sample_rate_hz, track.num_channels)
                self._files.append(
                    soundfile.SoundFile(
                        name, "w", *signal, subtype=track.subtype, format=_format(track)
                    )
                )

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
                num_written = info(path).num_samples
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
        samples: float32 samples with full scale at 1.
        num_bits: bits per sample, 16 to 32.

    Returns:
        int32 samples with the shape of ``samples``, whose upper ``num_bits`` bits hold the values,
        and the number of samples clipped by a step or more.
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
