"""Segments in which classes or tracks are active, and their file formats."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Segment(NamedTuple):
    """A part of a recording in which a class or track is active."""

    name: str
    start_s: float
    end_s: float


def runs(active: Bool[np.ndarray, " frames"]) -> Int[np.ndarray, "runs 2"]:
    """Return the start index and the exclusive end index of each run of True values."""
    changes = np.diff(np.concatenate([[0], active.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)], axis=1)


def find_segments(
    active: Bool[np.ndarray, "rows frames"],
    names: Sequence[str],
    edges_s: Float[np.ndarray, " edges"],
) -> list[Segment]:
    """Return the segments of all rows, row by row.

    Args:
        active: whether a class or track is active in each frame.
        names: name of each row.
        edges_s: frame boundaries in seconds, one more than there are frames.
    """
    edges = edges_s.tolist()
    return [
        Segment(name, edges[start], edges[stop])
        for name, row in zip(names, active, strict=True)
        for start, stop in runs(row)
    ]


def to_csv(
    segments: Iterable[Segment],
    *,
    name: str = "track",
    systems: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return a CSV table with the columns `name`, start_s and end_s.

    Args:
        segments: the segments.
        name: title of the column that contains the segment names.
        systems: segment name -> names of the systems that recognise this class. If given, an
            additional column contains these names, joined by ` + `.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name, "start_s", "end_s", *(["systems"] if systems else [])])
    for label, start_s, end_s in segments:
        known_by = [" + ".join(systems[label])] if systems else []
        writer.writerow([label, f"{start_s:.6f}", f"{end_s:.6f}", *known_by])
    return text.getvalue()


def to_audacity(segments: Iterable[Segment]) -> str:
    """Return an Audacity label track: one line with start, end and name per segment."""
    return "".join(f"{start:.6f}\t{end:.6f}\t{name}\n" for name, start, end in segments)
