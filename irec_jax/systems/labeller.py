"""Labels that state when each track of a multitrack session plays."""

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from irec_jax import crosstalk as ct
from irec_jax.audio import multitrack
from irec_jax.audio.tracks import Track, read_tracks
from irec_jax.audio.writing import staging_folder
from irec_jax.crosstalk import activity as ct_activity
from irec_jax.errors import UserError
from irec_jax.files import expand_home, write_text
from irec_jax.inference.segments import Segment, find_segments, to_audacity, to_csv
from irec_jax.progress import progress_bar
from irec_jax.reports import figures, timeline

#: Output file names: segments, label track for Audacity, and figure.
CSV_NAME, AUDACITY_NAME, PICTURE_NAME = "segments.csv", "labels.txt", "label.png"
# Disk space that must be free before the tracks are read.
_OUTPUT_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The labels for the J tracks of a session.

    Attributes:
        names: track names (file names without suffixes).
        activity: (J, frames) RMS of each frame after crosstalk reduction, divided by the track's
            maximum.
        edges_s: (frames + 1,) frame boundaries in seconds.
        segments: segments in which a track plays, track by track.
        note: reason why crosstalk could not be reduced as requested; usually empty.
        paths: paths to the written files.
        elapsed_s: computing time in seconds.
        ignored: names of the other files in the folder, such as a mix.
    """

    names: tuple[str, ...]
    activity: np.ndarray
    edges_s: np.ndarray
    segments: tuple[Segment, ...]
    note: str
    paths: tuple[Path, ...]
    elapsed_s: float
    ignored: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Length of the session in seconds."""
        return float(self.edges_s[-1])

    @property
    def speed(self) -> float:
        """Speed as a multiple of real time, for all tracks together."""
        return self.duration_s / self.elapsed_s

    def segments_of(self, name: str) -> list[Segment]:
        """Return the segments of a track."""
        return [segment for segment in self.segments if segment.name == name]


def label(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    threshold_db: float = ct_activity.DEFAULT_THRESHOLD_DB,
    reduction: bool = True,
    plot: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Labelled:
    """Find out when each track of a multitrack session plays.

    Every audio file in `folder` is treated as the track of one microphone. Mixes are recognised by
    name (`mix`, `mixture`, `mixdown`, `master`, ...) and ignored. All tracks must have the same
    length, sample rate and start time. Crosstalk is reduced with the default settings of
    `irec_jax.debleed`. A track plays in the frames whose RMS reaches the threshold. A frame lasts
    23.2 ms, which is 1,024 samples at 44.1 kHz, rounded to whole samples at other rates.

    Args:
        folder: the folder that contains the tracks.
        out: a folder outside `folder`, created if missing, for segments.csv with the columns track,
            start_s and end_s, and for labels.txt, a label track for Audacity. The files appear once
            all of them are complete.
        threshold_db: level in dB relative to the track's loudest frame.
        reduction: reduce crosstalk if there are several tracks that are long enough to estimate it
            (`irec_jax.crosstalk.min_samples`).
        plot: draw the segments and levels of the tracks over time in `out`/label.png.
        overwrite: replace files with these names in `out`.
        progress: show a progress bar.

    Raises:
        UserError: if the threshold is above 0 dB, the tracks are invalid, or `out` is not writable.
    """
    ct_activity.check_threshold(threshold_db)
    if folder in ("", b"") or out in ("", b""):
        raise UserError("folder, out: empty name; specify the input and the output folder")
    folder, out = expand_home(folder), expand_home(out)
    started_s = time.perf_counter()
    tracks, ignored = multitrack.find_tracks(folder, progress=progress)
    names = [track.name for track in tracks]
    multitrack.check_distinct(folder, tracks, names, "labelled")
    file_names = [CSV_NAME, AUDACITY_NAME, *([PICTURE_NAME] if plot else [])]
    multitrack.check_output_folder(folder, out, tracks, file_names, overwrite=overwrite)
    rate_hz, num_samples = tracks[0].sample_rate_hz, tracks[0].num_samples
    frame_length = frame_samples(rate_hz)
    note = ""
    settings = ct.Settings() if reduction else None
    if settings and len(tracks) == 1:
        note = "a single track has no crosstalk to reduce"
    elif settings and num_samples < ct.min_samples(settings):
        note = "the tracks are too short to estimate crosstalk"
    with staging_folder(out, _OUTPUT_BYTES) as hidden:
        activity = _read_activity(tracks, None if note else settings, frame_length, progress)
        samples = np.minimum(np.arange(activity.shape[1] + 1) * frame_length, num_samples)
        edges_s = samples / rate_hz
        active = ct_activity.is_active(activity, threshold_db)
        segments = find_segments(active, names, edges_s)
        write_text(hidden / CSV_NAME, to_csv(segments))
        write_text(hidden / AUDACITY_NAME, to_audacity(segments))
        if plot:
            figure = timeline.tracks_over_time(edges_s, activity, names, threshold_db)
            figures.save(figure, hidden / PICTURE_NAME)
        for name in file_names:
            os.replace(hidden / name, out / name)
    return Labelled(
        names=tuple(names),
        activity=activity,
        edges_s=edges_s,
        segments=tuple(segments),
        note=note,
        paths=tuple(out / name for name in file_names),
        elapsed_s=time.perf_counter() - started_s,
        ignored=tuple(ignored),
    )


def frame_samples(sample_rate_hz: int) -> int:
    """Return the number of samples per frame at a sample rate (1,024 at 44.1 kHz)."""
    return max(1, round(ct_activity.FRAME_LENGTH * sample_rate_hz / 44_100))


def _read_activity(
    tracks: Sequence[Track], settings: ct.Settings | None, frame_length: int, progress: bool
) -> np.ndarray:
    """Read the tracks and return their activity (J, frames)."""
    rate_hz, num_samples = tracks[0].sample_rate_hz, tracks[0].num_samples
    polarities = multitrack.polarities(tracks)

    def read() -> Iterator[np.ndarray]:
        for block in read_tracks(tracks):
            yield multitrack.downmix(multitrack.apply_polarities(block, polarities))

    bar = progress_bar(
        total=ct_activity.num_reads(settings) * num_samples / rate_hz,
        desc="labelling",
        bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        disable=not progress,
    )
    with bar:
        return ct.track_activity(
            read,
            settings,
            num_samples=num_samples,
            sample_rate_hz=rate_hz,
            frame_length=frame_length,
            names=[track.name for track in tracks],
            progress=lambda length: bar.update(length / rate_hz),
        )
