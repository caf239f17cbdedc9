"""Writing of audio files, and finding them in folders."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from irec_jax.audio.reading import file_error, info
from irec_jax.audio.samples import to_int16
from irec_jax.errors import UserError

#: Suffixes by which `find` knows audio files in a folder.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64", ".caf"),
    *(".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka", ".mkv", ".mov"),
)


def write(
    path: str | os.PathLike, samples: np.ndarray, sample_rate_hz: int, *, subtype: str | None = None
) -> None:
    """Writes an audio file that appears under its name only when it is whole.

    Args:
        path: the file; its suffix (.wav, .flac, .ogg, .mp3 ...) gives the format.
        samples: float within [-1, 1] (clipped in integer files) or int16; (T,) or (T, C).
        sample_rate_hz: in Hz.
        subtype: soundfile's name of the coding, 'PCM_16', 'PCM_24', 'FLOAT' ...; None is the
            format's own default, 16 bits for wav and flac.

    Raises:
        UserError: unknown suffix or subtype, no such folder, no permission, full disk.
    """
    path = Path(path)
    file_format = path.suffix[1:].upper()
    if file_format not in soundfile.available_formats():
        raise file_error(path, f"cannot be written as {path.suffix!r}", "use .wav or .flac")
    subtype = subtype or soundfile.default_subtype(file_format)
    if not soundfile.check_format(file_format, subtype):
        raise file_error(path, f"cannot be written as {subtype}", "use PCM_16 or a .wav file")
    if subtype == "PCM_16" and samples.dtype != np.int16:
        samples = to_int16(samples)  # libsndfile scales by 32767
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_whole(temporary, samples, sample_rate_hz, file_format, subtype)
        os.replace(temporary, path)
    except (OSError, soundfile.SoundFileError, UserError) as error:
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise file_error(
            path, f"cannot be written: {reason}", "check folder and free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def find(
    paths: Iterable[str | os.PathLike] | str | os.PathLike, *, suffixes: Sequence[str] = SUFFIXES
) -> list[Path]:
    """The audio files among files and folders.

    Args:
        paths: files, taken whatever their suffix, and folders, searched to any depth for files
            with one of the suffixes in any case. Hidden files and ``__MACOSX`` are left out.
        suffixes: in lower case, with the dot.

    Returns:
        Each file once: in the order of ``paths``, those of a folder sorted by path.

    Raises:
        UserError: no such file or folder, or a folder without audio files.
    """
    found: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = Path(path)
        if not path.exists():
            raise file_error(path, "no such file or folder", "check the path")
        files = _walk(path, suffixes) if path.is_dir() else [path]
        if not files:
            known = " ".join(suffixes)
            raise file_error(path, "holds no audio files", f"expected files ending in {known}")
        found.update(dict.fromkeys(files))
    return list(found)


def _write_whole(
    path: Path, samples: np.ndarray, sample_rate_hz: int, file_format: str, subtype: str
) -> None:
    path.touch()  # says what is wrong with the folder, which libsndfile does not
    soundfile.write(os.fsencode(path), samples, sample_rate_hz, subtype, format=file_format)
    with open(path, "rb") as file:  # libsndfile does not report a disk that fills up on closing
        os.fsync(file.fileno())
    info(path)


def _walk(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [n for n in folders if not n.startswith((".", "__MACOSX"))]
        kept = [n for n in names if n.lower().endswith(tuple(suffixes)) and not n.startswith(".")]
        files += [Path(parent, name) for name in kept]
    return sorted(files)
