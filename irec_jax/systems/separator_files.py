"""From music to its stems."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
from tqdm import tqdm

from irec_jax.audio.names import printable
from irec_jax.audio.track_files import Writers, check_files, num_bytes, unfinished
from irec_jax.audio.tracks import Track, ahead, open_track, read
from irec_jax.errors import UserError
from irec_jax.files import atomic_write
from irec_jax.reports import figures, spectrogram_overview
from irec_jax.reports.spectrogram_overview import SpectrogramOverview
from irec_jax.systems import Separator, load_separator
from irec_jax.systems.loading import check_array
from irec_jax.systems.separator_rates import split
from irec_jax.systems.stem_folders import folder_names

#: What is left of a mixture without the target.
REMAINDER = "remainder"
#: Of the picture, beside the stems.
PICTURE_NAME = "spectrograms.png"
# Steps of what is written.
_STEPS = np.float32(1 << 23)
_FULL = 1 - 1 / _STEPS
_MAX_NAME = 24


@dataclasses.dataclass(frozen=True)
class Separated:
    """A recording and what it was separated into.

    Attributes:
        source: the file, or 'array'.
        stems: the target by its name, such as 'vocals_other', and 'remainder': the files, or, of
            an array, float32 arrays of its shape.
        picture: the spectrograms; None of an array.
        sample_rate_hz, num_samples, num_channels: of the recording and of its stems.
        num_clipped: by name, samples beyond full scale; arrays are not clipped.
        silent: there was nothing but zeros.
        elapsed_s: how long it took.
    """

    source: str
    stems: dict[str, Path] | dict[str, np.ndarray]
    picture: Path | None
    sample_rate_hz: int
    num_samples: int
    num_channels: int
    num_clipped: dict[str, int]
    silent: bool
    elapsed_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate_hz

    @property
    def speed(self) -> float:
        """Seconds of music in a second."""
        return self.duration_s / self.elapsed_s


def separate(
    path_or_array: str | os.PathLike | np.ndarray,
    *,
    workdir: str | os.PathLike | Separator,
    out: str | os.PathLike | None = None,
    sample_rate: int | None = None,
    post: bool = False,
    phase: str = "mixture",
    overwrite: bool = False,
    progress: bool = True,
) -> Separated:
    """Separates music with the system trained in `workdir`: the stems that it keeps, and the rest.

    The remainder is the input minus the target, so that both add up to the input, whatever the
    sample rate and the phase; in files, which hold 24 bits, exactly so for inputs of 24 bits or
    less that do not exceed twice full scale. Sound above half of the system's sample rate is in the
    remainder. With phase 'griffin-lim' the target's phases are its own: the remainder then also
    holds the difference, and is no clean stem.

    Args:
        path_or_array: any audio file, or samples (T,) or (T, C), float in -1..1 or int16. Each
            channel is separated by itself.
        workdir: of a training of a separator; or the separator, loaded, for many files.
        out: a folder, for a file: its stems go to `out`/<name>/, with a picture of the
            spectrograms.
        sample_rate: of an array, in Hz.
        post: remove from the target's spectrogram what lies below the system's `post_db`.
        phase: of the target: 'mixture', or 'griffin-lim' as in the source.
        overwrite: replace files that are there.
        progress: show a bar, of a file.

    Raises:
        UserError: a file, an array, a place or a workdir that cannot be used, in one line.
    """
    separator = workdir if isinstance(workdir, Separator) else load_separator(workdir)
    options = dict(post=post, phase=phase)
    if hasattr(path_or_array, "__array__"):
        if out is not None:
            raise UserError("out: goes with a file; stems of an array are returned")
        return _separate_array(np.asarray(path_or_array), separator, sample_rate, **options)
    if not isinstance(path_or_array, str | os.PathLike):
        kind = type(path_or_array).__name__
        raise UserError(f"a path or a numpy array, please, not {kind}")
    if out is None:
        raise UserError("out: needed with a file, the folder for its stems")
    path = Path(path_or_array).expanduser()
    (name,) = folder_names([path])
    folder = Path(out).expanduser() / name
    return separate_file(path, separator, folder, overwrite=overwrite, progress=progress, **options)


def separate_file(
    path: Path,
    separator: Separator,
    folder: Path,
    *,
    post: bool = False,
    phase: str = "mixture",
    overwrite: bool = False,
    inputs: Collection[str | os.PathLike] = (),
    progress: bool = True,
) -> Separated:
    """Separates a file; the stems, and a picture, appear in `folder` when all are whole.

    Args:
        path: any audio file.
        separator: which.
        folder: for the stems; made where it is missing.
        post, phase, overwrite, progress: see `separate`.
        inputs: more files that must stay.

    Raises:
        UserError: a file or a place that cannot be used.
    """
    started_s = time.perf_counter()
    stems = (separator.target_name, REMAINDER)
    file_names = [f"{stem}.wav" for stem in stems]
    check_files(folder, [*file_names, PICTURE_NAME], [path, *inputs], overwrite=overwrite)
    label = printable(path.name)
    bar = tqdm(
        desc=label if len(label) <= _MAX_NAME else label[: _MAX_NAME - 1] + "…",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        total=1,
        leave=False,
        disable=not progress,
    )
    with bar:
        (track,) = ahead(map(open_track, [path]))  # may have to be decoded
        bar.reset(total=track.num_samples)
        written = [
            dataclasses.replace(track, file_name=name, format="WAV", subtype="PCM_24", changed=True)
            for name in file_names
        ]
        with unfinished(folder, sum(map(num_bytes, written))) as hidden:
            files, powers, silent = _write(track, written, separator, hidden, bar, post, phase)
            figure = spectrogram_overview.draw_overview(
                dict(zip(("mixture", *stems), powers, strict=True)),
                title=label,
                sample_rate_hz=track.sample_rate_hz,
                duration_s=track.num_samples / track.sample_rate_hz,
            )
            with atomic_write(hidden / PICTURE_NAME) as place:
                place.write_bytes(figures.encode(figure, "png"))
            for name in (*file_names, PICTURE_NAME):
                os.replace(hidden / name, folder / name)
    return Separated(
        source=str(path),
        stems={stem: folder / name for stem, name in zip(stems, file_names, strict=True)},
        picture=folder / PICTURE_NAME,
        sample_rate_hz=track.sample_rate_hz,
        num_samples=track.num_samples,
        num_channels=track.num_channels,
        num_clipped=dict(zip(stems, files.num_clipped.tolist(), strict=True)),
        silent=silent,
        elapsed_s=time.perf_counter() - started_s,
    )


def _write(
    track: Track,
    written: list[Track],
    separator: Separator,
    hidden: Path,
    bar: tqdm,
    post: bool,
    phase: str,
) -> tuple[Writers, list[np.ndarray], bool]:
    """Writes target and remainder of a file to a folder.

    Returns:
        The closed files, the powers (bands, columns) of mixture, target and remainder, and whether
        all was silent.
    """
    pairs = split(
        (block.T for (block,) in read([track])),
        separator,
        sample_rate_hz=track.sample_rate_hz,
        num_samples=track.num_samples,
        post=post,
        phase=phase,
    )
    seen = [SpectrogramOverview(track.sample_rate_hz, track.num_samples) for _ in range(3)]
    silent = True
    with contextlib.closing(Writers(hidden, written)) as files:
        for mixture, target in pairs:
            target = _fitted(target, mixture)
            remainder = mixture - target
            files.write([target.T, remainder.T])
            for overview, block in zip(seen, (mixture, target, remainder), strict=True):
                overview.add(block)
            silent = silent and not mixture.any()
            bar.update(len(mixture))
        files.finish()
    return files, [overview.powers() for overview in seen], silent


def _fitted(target: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """The target as it can be written: in whole steps, so that the remainder has such too, and so
    that both are within full scale where the mixture does not exceed twice that."""
    target = np.rint(target * _STEPS) / _STEPS
    low, high = np.maximum(-1, mixture - _FULL), np.minimum(_FULL, mixture + 1)
    return np.where(low <= high, np.clip(target, low, high), target)


def _separate_array(
    samples: np.ndarray, separator: Separator, sample_rate_hz: int | None, **options
) -> Separated:
    started_s = time.perf_counter()
    mixture = check_array(samples, sample_rate_hz)
    pairs = split(
        [mixture],
        separator,
        sample_rate_hz=sample_rate_hz,
        num_samples=len(mixture),
        **options,
    )
    target = np.concatenate([block for _, block in pairs])
    found = {separator.target_name: target, REMAINDER: mixture - target}
    return Separated(
        source="array",
        stems={name: stem.reshape(samples.shape) for name, stem in found.items()},
        picture=None,
        sample_rate_hz=sample_rate_hz,
        num_samples=len(mixture),
        num_channels=mixture.shape[1],
        num_clipped=dict.fromkeys(found, 0),
        silent=not mixture.any(),
        elapsed_s=time.perf_counter() - started_s,
    )
