"""Segments in which classes or tracks are active, and their files."""

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
    """Return the first index of each run of True, and the index after its last."""
    changes = np.diff(np.concatenate([[0], active.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)], axis=1)


def find_segments(
    active: Bool[np.ndarray, "rows frames"],
    names: Sequence[str],
    edges_s: Float[np.ndarray, " edges"],
) -> list[Segment]:
    """Return the segments of every row, row by row.

    Args:
        active: whether a class or track is active in each frame.
        names: name of each row.
        edges_s: boundaries of the frames in seconds, one more than frames.
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
    """Return a table with the columns `name`, start_s and end_s.

    Args:
        segments: the segments.
        name: title of the column of their names.
        systems: name of a segment -> names of the systems that know it. If there are any, they are
            a further column, joined by ` + `.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name, "start_s", "end_s", *(["systems"] if systems else [])])
    for label, start_s, end_s in segments:
        known_by = [" + ".join(systems[label])] if systems else []
        writer.writerow([label, f"{start_s:.6f}", f"{end_s:.6f}", *known_by])
    return text.getvalue()


def to_audacity(segments: Iterable[Segment]) -> str:
    """Return a label track for Audacity: a line with start, end and name for each segment."""
    return "".join(f"{start:.6f}\t{end:.6f}\t{name}\n" for name, start, end in segments)
