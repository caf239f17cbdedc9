"""From a folder of tracks to a folder of tracks without crosstalk."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from irec_jax import crosstalk as ct
from irec_jax import registry
from irec_jax.audio import session as tracks
from irec_jax.audio.names import printable
from irec_jax.audio.track_files import Writers, num_bytes, unfinished
from irec_jax.audio.tracks import Track, read
from irec_jax.errors import UserError
from irec_jax.files import atomic_write
from irec_jax.reports import debleed_figure, figures

#: Of the report, beside the tracks.
REPORT_NAME = "debleed.png"


@dataclasses.dataclass(frozen=True)
class Debled:
    """What was done with the J tracks of a folder.

    Attributes:
        names: of the tracks, files without suffix.
        paths: of the files that were written, in the same order.
        crosstalk: what was found: amplitudes and delays of direct sound, and weights.
        settings: with which.
        losses_db: energy that each track lost, in dB, 0 or more but for rounding; 0 for silence.
        num_clipped: samples of each file beyond what its integers hold.
        sample_rate_hz, num_samples: of all tracks.
        elapsed_s: how long it took, without the report.
        left_aside: names of what else lay in the folder.
        converted: names of files whose coding could not be kept: the new ones are better.
        report: the picture, or None.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    crosstalk: ct.Crosstalk
    settings: ct.Settings
    losses_db: tuple[float, ...]
    num_clipped: tuple[int, ...]
    sample_rate_hz: int
    num_samples: int
    elapsed_s: float
    left_aside: tuple[str, ...]
    converted: tuple[str, ...]
    report: Path | None = None

    @property
    def duration_s(self) -> float:
        """Length of each track in seconds."""
        return self.num_samples / self.sample_rate_hz

    @property
    def speed(self) -> float:
        """Seconds of recording, of all tracks together, in a second."""
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
    """Takes the sound of the other instruments out of every track of a recording.

    Every audio file in `folder` but `mix.*` is the track of a microphone; all are of one length and
    sample rate and begin at the same time. For each one a file of the same name, length, sample
    rate and coding appears in `out`, when all of them are done. Coding with loss and 8 bits are
    not repeated: mp3, ogg, m4a ... become wav files of 24 bits, 8 bits become 16. Samples are
    computed in float32; metadata is not carried over.

    Args:
        folder: of the tracks.
        out: a folder outside `folder`; made where it is missing.
        overwrite: replace files of the tracks' names in `out`.
        report: draw what was found and done in `out`/debleed.png.
        progress: show a bar.
        **settings: of `irec_jax.crosstalk.Settings`: strength, solver, method, floor, align ...

    Raises:
        UserError: a setting out of range, tracks or a place that cannot be used, in one line.
    """
    registry.check_arguments("command", "debleed", ct.Settings, settings)
    chosen = ct.Settings(**settings)
    if not os.fspath(folder) or not os.fspath(out):
        raise UserError("an empty name; name the folder of the tracks and another one for --out")
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    started_s = time.perf_counter()
    found, left_aside = tracks.find_tracks(folder, progress=progress)
    chosen.bands(found[0].sample_rate_hz)
    if found[0].num_samples < (needed := ct.min_samples(chosen)):
        raise UserError(
            f"{folder}: tracks of {found[0].num_samples} samples are too short to find crosstalk "
            f"in; it takes {needed}, fewer with a smaller hop_length"
        )
    tracks.check_place(folder, out, found, overwrite=overwrite)
    with unfinished(out, sum(map(num_bytes, found))) as hidden:
        crosstalk, energies, num_clipped, paths = _write(found, chosen, hidden, progress)
        losses_db = _ratio_db(energies[0].sum(1), energies[1].sum(1))
        elapsed_s = time.perf_counter() - started_s
        if report:
            figure = debleed_figure.draw(found, paths, crosstalk, chosen, losses_db, energies)
            with atomic_write(hidden / REPORT_NAME) as path:
                path.write_bytes(figures.encode(figure, "png"))
            os.replace(hidden / REPORT_NAME, out / REPORT_NAME)
        for path in paths:
            os.replace(path, out / path.name)
    return Debled(
        names=tuple(track.name for track in found),
        paths=tuple(out / path.name for path in paths),
        crosstalk=crosstalk,
        settings=chosen,
        losses_db=tuple(losses_db.tolist()),
        num_clipped=tuple(num_clipped.tolist()),
        sample_rate_hz=found[0].sample_rate_hz,
        num_samples=found[0].num_samples,
        elapsed_s=elapsed_s,
        left_aside=tuple(left_aside),
        converted=tuple(printable(t.path.name) for t in found if t.changed),
        report=out / REPORT_NAME if report else None,
    )


def _write(
    found: Sequence[Track], settings: ct.Settings, hidden: Path, progress: bool
) -> tuple[ct.Crosstalk, np.ndarray, np.ndarray, list[Path]]:
    """Analyses and writes the tracks to a folder.

    Returns:
        What was found, the energies (2, J, seconds) of every second of each track before and after,
        the numbers (J,) of clipped samples, and the files.
    """
    rate_hz, num_samples = found[0].sample_rate_hz, found[0].num_samples
    known = dict(num_samples=num_samples, sample_rate_hz=rate_hz)
    energies = np.zeros((2, len(found), -(-num_samples // rate_hz)))
    bar = tqdm(
        total=(ct.num_passes(settings) + 1) * num_samples / rate_hz,
        bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        leave=False,
        disable=not progress,
    )

    def blocks() -> Iterator[list[np.ndarray]]:
        for block in read(found):
            yield block
            bar.update(block[0].shape[1] / rate_hz)

    with bar:
        bar.set_description("listening")
        crosstalk = ct.analyse(
            lambda: map(tracks.mean_of_channels, blocks()),
            settings,
            names=[track.name for track in found],
            **known,
        )
        bar.set_description("writing")
        measured = _measured(blocks(), energies[0], rate_hz)
        reduced = ct.reduce_blocks(measured, crosstalk, settings, **known)
        with contextlib.closing(Writers(hidden, found)) as files:
            for block in _measured(reduced, energies[1], rate_hz):
                files.write(block)
            paths = files.finish()
    return crosstalk, energies, files.num_clipped, paths


def _measured(
    blocks: Iterator[list[np.ndarray]], energies: np.ndarray, rate_hz: int
) -> Iterator[list[np.ndarray]]:
    """Adds the energy of what passes to (J, seconds)."""
    num_samples = 0
    for block in blocks:
        end = num_samples + block[0].shape[1]
        second = num_samples // rate_hz
        first_cut = (second + 1) * rate_hz
        starts = [0, *(cut - num_samples for cut in range(first_cut, end, rate_hz))]
        for track, sums in zip(block, energies, strict=True):
            squares = np.square(track).sum(axis=0)
            sums[second : second + len(starts)] += np.add.reduceat(squares, starts, dtype=float)
        num_samples = end
        yield block


def _ratio_db(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """10 log10(before / after), not beyond 120 dB; 0 where nothing was."""
    least = np.maximum(after, 1e-12 * before)
    return 10 * np.log10(np.divide(before, least, out=np.ones_like(before), where=before > 0))
