"""Writing of audio files."""

import contextlib
import os
from pathlib import Path

import numpy as np
import soundfile

from irec_jax.audio.reading import file_error, info
from irec_jax.audio.samples import to_int16
from irec_jax.errors import UserError


def write(
    path: str | os.PathLike, samples: np.ndarray, sample_rate_hz: int, *, subtype: str | None = None
) -> None:
    """Write an audio file atomically.

    Args:
        path: the file; its suffix (.wav, .flac, .ogg, .mp3 ...) determines the format.
        samples: float within [-1, 1] (clipped in integer files) or int16; (T,) or (T, C).
        sample_rate_hz: sample rate in Hz.
        subtype: soundfile's name of the encoding: 'PCM_16', 'PCM_24', 'FLOAT' ...; None selects
            the default of the format, 16 bits for wav and flac.

    Raises:
        UserError: unknown suffix or subtype, missing folder, no permission, full disk.
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
        temporary.touch()  # unlike libsndfile, this explains what is wrong with the folder
        name = os.fsencode(temporary)
        soundfile.write(name, samples, sample_rate_hz, subtype, format=file_format)
        with open(temporary, "rb") as file:  # libsndfile does not report a full disk on closing
            os.fsync(file.fileno())
        info(temporary)
        os.replace(temporary, path)
    except (OSError, soundfile.SoundFileError, UserError) as error:
        reason = getattr(error, "strerror", None) or "the disk may be full"
        remedy = "check the folder and the free space"
        raise file_error(path, f"cannot be written: {reason}", remedy) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
