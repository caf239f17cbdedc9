"""Crosstalk reduction for a folder of tracks."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irec_jax import crosstalk as ct
from irec_jax import registry
from irec_jax.audio import multitrack
from irec_jax.audio.tracks import Track, read_tracks
from irec_jax.audio.writing import TrackWriter, estimate_bytes, staging_folder
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.progress import progress_bar
from irec_jax.reports import debleed_figure, debleed_page, provenance, writing
from irec_jax.text import printable

#: File name of the report, which is written next to the tracks.
REPORT_NAME = "debleed.html"
_PICTURE_NAME = "debleed.png"


@dataclasses.dataclass(frozen=True)
class Debled:
    """The result of crosstalk reduction for the J tracks in a folder.

    Attributes:
        names: track names (file names without suffixes).
        paths: paths to the written files, in the same order.
        crosstalk: estimated amplitudes and delays of direct sound, and weights of the remaining
            crosstalk.
        settings: the settings that were used.
        losses_db: energy loss of each track in dB, at least 0 except for rounding errors; 0 for
            silence.
        num_clipped: number of samples in each file that exceed its integer range.
        silent: whether each track is completely silent.
        sample_rate_hz, num_samples: sample rate and length, the same for all tracks.
        elapsed_s: computing time in seconds, excluding the report.
        ignored: names of the other files in the folder, such as a mix.
        converted: names of files that were written in a higher-quality encoding, because their
            original encoding cannot be written.
        report: path to the HTML report, or None.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    crosstalk: ct.Crosstalk
    settings: ct.Settings
    losses_db: tuple[float, ...]
    num_clipped: tuple[int, ...]
    silent: tuple[bool, ...]
    sample_rate_hz: int
    num_samples: int
    elapsed_s: float
    ignored: tuple[str, ...]
    converted: tuple[str, ...]
    report: Path | None = None

    @property
    def duration_s(self) -> float:
        """Length of each track in seconds."""
        return self.num_samples / self.sample_rate_hz

    @property
    def speed(self) -> float:
        """Speed as a multiple of real time, for all tracks together."""
        return self.duration_s / self.elapsed_s


def debleed(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    overwrite: bool = False,
    report: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Debled:
    """Reduce the crosstalk in every track of a recording.

    Every audio file in `folder` is treated as the track of one microphone. Mixes are recognised by
    name (`mix`, `mixture`, `mixdown`, `master`, ...) and ignored. All tracks must have the same
    length, sample rate and start time. For each track, a file with the same name, length, sample
    rate and encoding is written to `out`; the files appear once all of them are complete. Lossy and
    8-bit encodings are replaced: mp3, ogg, m4a and similar files become 24-bit wav, and 8 bits
    become 16. Samples are processed in float32; metadata is not copied.

    Args:
        folder: the folder that contains the tracks.
        out: a folder outside `folder`; created if missing.
        overwrite: replace files with the same names in `out`, including the report.
        report: write `out`/debleed.html, a page with the estimated crosstalk and the result, and
            its figure, debleed.png.
        progress: show a progress bar.
        **settings: fields of `irec_jax.crosstalk.Settings`, such as strength, solver, method, floor
            and align.

    Raises:
        UserError: if a setting is out of range, the tracks are invalid, or `out` is not writable.
    """
    registry.check_arguments("command", "debleed", ct.Settings, settings)
    crosstalk_settings = ct.Settings(**settings)
    if folder in ("", b"") or out in ("", b""):
        raise UserError("folder, out: empty name; specify the input and the output folder")
    folder, out = expand_home(folder), expand_home(out)
    started_s = time.perf_counter()
    tracks, ignored = multitrack.find_tracks(folder, min_tracks=2, progress=progress)
    file_names = [track.file_name for track in tracks]
    multitrack.check_distinct(folder, tracks, file_names, "written as")
    crosstalk_settings.bands(tracks[0].sample_rate_hz)
    if tracks[0].num_samples < (needed := ct.min_samples(crosstalk_settings)):
        raise UserError(
            f"{folder}: tracks of {tracks[0].num_samples} samples are too short to estimate "
            f"crosstalk; expected at least {needed}, or a smaller hop_length"
        )
    names = [*file_names, *((REPORT_NAME, _PICTURE_NAME) if report else ())]
    multitrack.check_output_folder(folder, out, tracks, names, overwrite=overwrite)
    with staging_folder(out, sum(map(estimate_bytes, tracks))) as hidden:
        crosstalk, energies, num_clipped, paths = _write(
            tracks, crosstalk_settings, hidden, progress
        )
        losses_db = _ratio_db(energies[0].sum(1), energies[1].sum(1))
        silent = energies[0].sum(1) == 0
        elapsed_s = time.perf_counter() - started_s
        if report:
            figure = debleed_figure.draw(
                tracks, paths, crosstalk, crosstalk_settings, losses_db, energies
            )
            page = debleed_page.markdown_page(
                [printable(track.name) for track in tracks],
                crosstalk,
                crosstalk_settings,
                sample_rate_hz=tracks[0].sample_rate_hz,
                duration_s=tracks[0].num_samples / tracks[0].sample_rate_hz,
                losses_db=losses_db,
                num_clipped=num_clipped,
                silent=silent,
                provenance=provenance.environment({"reduction": elapsed_s}),
                picture=_PICTURE_NAME,
            )
            writing.write_page(hidden / REPORT_NAME, page, {_PICTURE_NAME: figure})
            for name in (_PICTURE_NAME, REPORT_NAME):
                os.replace(hidden / name, out / name)
        for path in paths:
            os.replace(path, out / path.name)
    return Debled(
        names=tuple(track.name for track in tracks),
        paths=tuple(out / path.name for path in paths),
        crosstalk=crosstalk,
        settings=crosstalk_settings,
        losses_db=tuple(losses_db.tolist()),
        num_clipped=tuple(num_clipped.tolist()),
        silent=tuple(silent.tolist()),
        sample_rate_hz=tracks[0].sample_rate_hz,
        num_samples=tracks[0].num_samples,
        elapsed_s=elapsed_s,
        ignored=tuple(ignored),
        converted=tuple(printable(t.path.name) for t in tracks if t.changed),
        report=out / REPORT_NAME if report else None,
    )


def _write(
    tracks: Sequence[Track], settings: ct.Settings, folder: Path, progress: bool
) -> tuple[ct.Crosstalk, np.ndarray, np.ndarray, list[Path]]:
    """Estimate the crosstalk between tracks, and write tracks with reduced crosstalk to a folder.

    Returns:
        The estimated crosstalk; the energy of each track per second, before and after the
        reduction, (2, J, seconds); the number of clipped samples per track, (J,); and the paths to
        the written files.
    """
    rate_hz, num_samples = tracks[0].sample_rate_hz, tracks[0].num_samples
    sizes: dict[str, Any] = dict(num_samples=num_samples, sample_rate_hz=rate_hz)
    energies = np.zeros((2, len(tracks), -(-num_samples // rate_hz)))
    bar = progress_bar(
        total=(ct.num_passes(settings) + 1) * num_samples / rate_hz,
        bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        disable=not progress,
    )

    polarities = multitrack.polarities(tracks)

    def blocks() -> Iterator[list[np.ndarray]]:
        for block in read_tracks(tracks):
            yield multitrack.apply_polarities(block, polarities)
            bar.update(block[0].shape[1] / rate_hz)

    with bar:
        bar.set_description("analysing")
        crosstalk = ct.analyse(
            lambda: map(multitrack.downmix, blocks()),
            settings,
            names=[track.name for track in tracks],
            **sizes,
        )
        bar.set_description("writing")
        measured = _add_energies(blocks(), energies[0], rate_hz)
        reduced = ct.reduce_blocks(measured, crosstalk, settings, **sizes)
        with contextlib.closing(TrackWriter(folder, tracks)) as writers:
            for block in _add_energies(reduced, energies[1], rate_hz):
                writers.write(multitrack.apply_polarities(block, polarities))
            paths = writers.finish()
    return crosstalk, energies, writers.num_clipped, paths


def _add_energies(
    blocks: Iterator[list[np.ndarray]], energies: np.ndarray, rate_hz: int
) -> Iterator[list[np.ndarray]]:
    """Yield the blocks unchanged, and add the energy per second to `energies` (J, seconds)."""
    num_samples = 0
    for block in blocks:
        end = num_samples + block[0].shape[1]
        second = num_samples // rate_hz
        next_second = (second + 1) * rate_hz
        starts = [0, *(start - num_samples for start in range(next_second, end, rate_hz))]
        for track, sums in zip(block, energies, strict=True):
            squares = np.square(track).sum(axis=0)
            sums[second : second + len(starts)] += np.add.reduceat(squares, starts, dtype=float)
        num_samples = end
        yield block


def _ratio_db(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return 10 log10(before / after), limited to 120 dB; 0 for silence."""
    limited = np.maximum(after, 1e-12 * before)
    return 10 * np.log10(np.divide(before, limited, out=np.ones_like(before), where=before > 0))
