"""Separation of audio files and arrays with a trained separator."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from irec_jax import audio
from irec_jax.audio.tracks import Track, open_track, prefetch, read_tracks
from irec_jax.audio.writing import TrackWriter, check_output_files, estimate_bytes, staging_folder
from irec_jax.errors import UserError
from irec_jax.files import atomic_write, expand_home, unique_names
from irec_jax.progress import progress_bar
from irec_jax.reports import figures, spectrogram_overview
from irec_jax.systems.inputs import check_array, is_file, is_path, to_numpy
from irec_jax.systems.separator import Separator, load_separator
from irec_jax.text import printable

#: Name of the remainder, which is the mixture minus the target.
REMAINDER = "remainder"
#: File name of the spectrogram figure, which is written next to the stems.
FIGURE_NAME = "spectrograms.png"
# Number of quantisation steps per unit of amplitude in 24-bit files.
_STEPS = np.float32(1 << 23)
_FULL_SCALE = 1 - 1 / _STEPS
_MAX_LABEL = 24


@dataclasses.dataclass(frozen=True)
class Separated:
    """A recording and its stems.

    Attributes:
        source: name of the file, or 'array'.
        stems: name -> stem, for the target (such as 'vocals_other') and 'remainder'. Stems are
            paths or, for an array, float32 arrays with the shape of the input.
        picture: path to the spectrogram figure; None for an array.
        sample_rate_hz, num_samples, num_channels: format of the recording and its stems.
        num_clipped: number of samples beyond full scale in each stem; arrays are not clipped.
        silent: whether all samples are 0.
        elapsed_s: computing time in seconds.
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
        """Speed as a multiple of real time."""
        return self.duration_s / self.elapsed_s


def separate(
    path_or_array: Any,
    *,
    workdir: str | os.PathLike | Separator,
    out: str | os.PathLike | None = None,
    sample_rate: float | None = None,
    post: bool = False,
    phase: str = "mixture",
    overlap: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Separated:
    """Separate music into a target (the stems that a trained system keeps) and the remainder.

    The remainder is the input minus the target, so the two add up to the input at any sample
    rate and with any phase. Files are written with 24 bits, and add up exactly if the input has at
    most 24 bits and does not exceed twice full scale. Frequencies above half the system's sample
    rate are part of the remainder. With phase='griffin-lim', the phases of the target and the input
    differ. The remainder then also contains the phase difference and is not a clean stem.

    Args:
        path_or_array: path to any audio file; or samples (T,) or (T, C) as a NumPy, JAX or PyTorch
            array or a list: floats in -1..1, or 8-, 16- or 32-bit integers, which are scaled to
            -1..1 (for unsigned integers, the middle of the range is silence). Each channel is
            separated independently.
        workdir: workdir of a trained separator or, to separate many files, a loaded separator.
        out: output folder, required if the input is a file. The stems and a figure of the
            spectrograms are written to `out`/<name>/.
        sample_rate: sample rate of an array, in Hz.
        post: remove soft values from the target's spectrogram, using the system's `post_db`.
        phase: phase of the target: 'mixture', or 'griffin-lim' as in Ligtenberg (2022).
        overlap: how often each second is computed, 1 (default) to 16. Higher values are slower;
            `irec separate --help` states how much they improve the result.
        overwrite: replace existing files.
        progress: show a progress bar for a file.

    Raises:
        UserError: if the file, array or workdir is invalid, or the folder is not writable.
    """
    separator = workdir if isinstance(workdir, Separator) else load_separator(workdir)
    options: dict[str, Any] = dict(post=post, phase=phase, overlap=overlap)
    if not is_path(path_or_array):
        if is_file(path_or_array):
            raise UserError("path_or_array: an open file cannot be separated; pass its path")
        samples = to_numpy(path_or_array)
        if out is not None:
            raise UserError("out: only applies to files; the stems of an array are returned")
        return _separate_array(samples, separator, sample_rate, **options)
    if out is None:
        raise UserError("out: missing; specify a folder for the stems of a file")
    path = expand_home(path_or_array)
    (name,) = folder_names([path])
    folder = expand_home(out) / name
    return separate_file(path, separator, folder, overwrite=overwrite, progress=progress, **options)


def separate_file(
    path: Path,
    separator: Separator,
    folder: Path,
    *,
    post: bool = False,
    phase: str = "mixture",
    overlap: float | None = None,
    overwrite: bool = False,
    inputs: Collection[str | os.PathLike] = (),
    progress: bool = True,
) -> Separated:
    """Separate a file; the stems and the figure appear in `folder` once all of them are complete.

    Args:
        path: path to any audio file.
        separator: a loaded separator.
        folder: output folder for the stems; created if missing.
        post, phase, overlap, overwrite, progress: see `separate`.
        inputs: other files that must not be replaced.

    Raises:
        UserError: if the file is invalid, or the folder is not writable.
    """
    started_s = time.perf_counter()
    options = dict(post=post, phase=phase, overlap=overlap)
    stems = (separator.target_name, REMAINDER)
    file_names = [f"{stem}.wav" for stem in stems]
    check_output_files(folder, [*file_names, FIGURE_NAME], [path, *inputs], overwrite=overwrite)
    label = printable(path.name)
    bar = progress_bar(
        desc=label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        total=1,
        disable=not progress,
    )
    with bar:
        (track,) = prefetch(map(open_track, [path]))  # decoding may take a while
        bar.reset(total=track.num_samples)
        outputs = [
            dataclasses.replace(track, file_name=name, format="WAV", subtype="PCM_24", changed=True)
            for name in file_names
        ]
        with staging_folder(folder, sum(map(estimate_bytes, outputs))) as hidden:
            writers, powers, silent = _write(track, outputs, separator, hidden, bar, options)
            figure = spectrogram_overview.draw_overview(
                dict(zip(("mixture", *stems), powers, strict=True)),
                title=label,
                sample_rate_hz=track.sample_rate_hz,
                duration_s=track.num_samples / track.sample_rate_hz,
            )
            with atomic_write(hidden / FIGURE_NAME) as temporary:
                temporary.write_bytes(figures.encode(figure, "png"))
            for name in (*file_names, FIGURE_NAME):
                os.replace(hidden / name, folder / name)
    return Separated(
        source=str(path),
        stems={stem: folder / name for stem, name in zip(stems, file_names, strict=True)},
        picture=folder / FIGURE_NAME,
        sample_rate_hz=track.sample_rate_hz,
        num_samples=track.num_samples,
        num_channels=track.num_channels,
        num_clipped=dict(zip(stems, writers.num_clipped.tolist(), strict=True)),
        silent=silent,
        elapsed_s=time.perf_counter() - started_s,
    )


def _write(
    track: Track,
    outputs: list[Track],
    separator: Separator,
    folder: Path,
    bar: tqdm,
    options: dict[str, Any],
) -> tuple[TrackWriter, list[np.ndarray], bool]:
    """Write the target and the remainder of a file to a folder.

    Returns:
        The closed writer, the powers (bands, columns) of the mixture, target and remainder, and
        whether the file is silent.
    """
    pairs = separator.split(
        (block.T for (block,) in read_tracks([track])),
        sample_rate_hz=track.sample_rate_hz,
        num_samples=track.num_samples,
        **options,
    )
    overviews = [
        spectrogram_overview.SpectrogramOverview(track.sample_rate_hz, track.num_samples)
        for _ in range(3)
    ]
    silent = True
    with contextlib.closing(TrackWriter(folder, outputs)) as writers:
        for mixture, target in pairs:
            target = _quantise(target, mixture)
            remainder = mixture - target
            writers.write([target.T, remainder.T])
            for overview, block in zip(overviews, (mixture, target, remainder), strict=True):
                overview.add(block)
            silent = silent and not mixture.any()
            bar.update(len(mixture))
        writers.finish()
    return writers, [overview.powers() for overview in overviews], silent


def _quantise(target: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Quantise the target to 24 bits, so that the remainder needs no more than 24 bits either.

    The target is limited so that target and remainder are within full scale wherever the mixture is
    within twice full scale.
    """
    target = np.rint(target * _STEPS) / _STEPS
    low, high = np.maximum(-1, mixture - _FULL_SCALE), np.minimum(_FULL_SCALE, mixture + 1)
    return np.where(low <= high, np.clip(target, low, high), target)


def _separate_array(
    samples: np.ndarray, separator: Separator, sample_rate: float | None, **options
) -> Separated:
    started_s = time.perf_counter()
    mixture, sample_rate_hz = check_array(samples, sample_rate)
    pairs = separator.split(
        [mixture], sample_rate_hz=sample_rate_hz, num_samples=len(mixture), **options
    )
    target = np.concatenate([block for _, block in pairs])
    stems = {separator.target_name: target, REMAINDER: mixture - target}
    return Separated(
        source="array",
        stems={name: stem.reshape(samples.shape) for name, stem in stems.items()},
        picture=None,
        sample_rate_hz=sample_rate_hz,
        num_samples=len(mixture),
        num_channels=mixture.shape[1],
        num_clipped=dict.fromkeys(stems, 0),
        silent=not mixture.any(),
        elapsed_s=time.perf_counter() - started_s,
    )


def find_mixtures(paths: Iterable[str | os.PathLike], out: Path) -> list[Path]:
    """Return the given files and the audio files in the given folders; see `audio.find`.

    Duplicates are removed. If `out` is inside one of the folders, the files in `out` (written by an
    earlier run) are skipped unless they are named explicitly.

    Raises:
        UserError: if a file or folder does not exist, or if a folder contains no audio files or is
            `out` itself.
    """
    real_out = Path(os.path.realpath(out))
    mixtures: dict[str, Path] = {}
    for path in map(Path, paths):
        files = audio.find(path)
        if path.is_dir():
            folder = Path(os.path.realpath(path))
            if folder == real_out:
                raise UserError(
                    f"{out}: is also searched for audio; choose another folder for --out"
                )
            if folder in real_out.parents:
                files = [f for f in files if real_out not in Path(os.path.realpath(f)).parents]
                if not files:
                    raise UserError(f"{path}: contains no audio files except those in {out}")
        for file in files:
            mixtures.setdefault(os.path.realpath(file), file)
    return list(mixtures.values())


def folder_names(files: Sequence[Path]) -> list[str]:
    """Return a folder name for the stems of each file: the file name without its suffix.

    `.stem.mp4` counts as one suffix. Equal names are numbered; see `unique_names`.
    """
    stems = [file.name.removesuffix(".stem.mp4").removesuffix(file.suffix) for file in files]
    return unique_names([stem if stem.strip(".") else "untitled" for stem in stems])
