"""Player activity in `gm_multitrack` pieces, computed from the composed notes."""

import numpy as np

from data_builders.gm_multitrack.plan import PiecePlan
from data_builders.gm_multitrack.render import compose


def note_activity(
    plan: PiecePlan, *, num_frames: int, frame_length: int, sample_rate_hz: int
) -> np.ndarray:
    """Return whether each track holds a note in each frame, as bool (J, F).

    The piece is composed but not rendered. Notes begin and end as performed: deviations from the
    beat are included, but the decay after the end of a note is not. A frame is active even if a
    note covers only part of it.

    Args:
        plan: an entry of `plan.plan_pieces`, with J tracks.
        num_frames: number of frames F from the start of the piece; later notes are ignored.
        frame_length: frame length in samples; frame f starts at sample ``f * frame_length``.
        sample_rate_hz: sample rate of the rendered audio.
    """
    score = compose(plan)
    # Number of notes that begin in each frame minus the number that end in the previous frame.
    changes = np.zeros((len(plan.tracks), num_frames + 1), np.int64)
    for row, (name, _) in zip(changes, plan.tracks, strict=True):
        onset_s, duration_s = np.array(
            [(note.onset_s, note.duration_s) for note in score.parts[name].notes]
        ).T
        start = np.rint(onset_s * sample_rate_hz).astype(np.int64)
        end = np.maximum(start + 1, np.rint((onset_s + duration_s) * sample_rate_hz))
        last = (end.astype(np.int64) - 1) // frame_length
        np.add.at(row, np.minimum(start // frame_length, num_frames), 1)
        np.add.at(row, np.minimum(last + 1, num_frames), -1)
    return changes[:, :-1].cumsum(axis=1) > 0
