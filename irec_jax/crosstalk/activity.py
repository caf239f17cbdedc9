"""Instrument activity and instance labels for multitrack recordings (Seipel 2018, section 4.3).

A track's activity in a frame is the frame's RMS after crosstalk reduction, divided by the track's
largest RMS. An instance consists of consecutive frames and is labelled with every class whose
activity reaches a threshold in at least one of these frames.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from irec_jax.crosstalk.settings import Settings
from irec_jax.crosstalk.streaming import analyse, num_passes, reduce_blocks
from irec_jax.dsp.framing import num_frames
from irec_jax.dsp.rms import frame_rms
from irec_jax.errors import UserError

#: Samples per frame (23.2 ms at 44.1 kHz).
FRAME_LENGTH = 1024
#: Minimum level at which a track counts as playing, in dB relative to its peak activity. This was
#: the best threshold for most instance lengths on the `gm_multitrack` training pieces.
DEFAULT_THRESHOLD_DB = -20.0
_CHUNK_FRAMES = 64


def num_reads(settings: Settings | None) -> int:
    """Return the number of times that `track_activity` reads the tracks."""
    return 2 + (0 if settings is None else num_passes(settings))


def track_activity(
    read: Callable[[], Iterable[Float[np.ndarray, "tracks _samples"]]],
    settings: Settings | None,
    *,
    num_samples: int,
    sample_rate_hz: float,
    frame_length: int = FRAME_LENGTH,
    names: Sequence[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Float32[np.ndarray, "tracks frames"]:
    """Return the activity of every track.

    Tracks are normalised to their peak before crosstalk is reduced. Apart from the result, memory
    use does not depend on the length of the tracks.

    Args:
        read: function that reads the tracks from the beginning in blocks of any length, with one
            row for each track (the mean of its channels); called `num_reads` times.
        settings: crosstalk-reduction settings; None for no reduction. A single track and tracks
            shorter than `min_samples` are always left unchanged.
        num_samples: length of the tracks, at least 1.
        frame_length: samples per frame; the last frame is zero-padded.
        names: track names for error messages.
        progress: called with the length of each block after it has been read.

    Returns:
        Activity from 0 to 1, where 1 is each track's maximum; 0 for silent tracks.

    Raises:
        UserError: if two tracks are identical except for their level, so that crosstalk reduction
            would remove both.
        ValueError: if the blocks do not contain num_samples samples, or if a sample is NaN or
            infinite.
    """

    def blocks() -> Iterator[np.ndarray]:
        for block in read():
            yield np.asarray(block, np.float32)
            if progress is not None:
                progress(block.shape[-1])

    def scaled_blocks() -> Iterator[np.ndarray]:
        return (block / divisors for block in blocks())

    peaks = _peaks(blocks(), num_samples)[:, None]
    divisors = np.where(peaks > 0, peaks, 1)
    tracks: Iterable[np.ndarray] = scaled_blocks()
    if settings is not None and len(peaks) > 1:
        sizes: dict[str, Any] = dict(num_samples=num_samples, sample_rate_hz=sample_rate_hz)
        crosstalk = analyse(scaled_blocks, settings, names=names, **sizes)
        channels = ([track[None] for track in block] for block in scaled_blocks())
        tracks = map(np.concatenate, reduce_blocks(channels, crosstalk, settings, **sizes))
    num = num_frames(num_samples, frame_length=frame_length, hop_length=frame_length, padding="end")
    chunks = _chunks(tracks, _CHUNK_FRAMES * frame_length)
    levels = [np.asarray(_frame_rms(chunk, frame_length=frame_length)) for chunk in chunks]
    activity = np.concatenate(levels, axis=1)[:, :num]
    peaks = activity.max(axis=1, keepdims=True)
    return activity / np.where(peaks > 0, peaks, 1)


def class_activity(
    activity: Float[np.ndarray, "tracks frames"],
    instruments: Sequence[str],
    classes: Sequence[str],
) -> Float[np.ndarray, "classes frames"]:
    """Return each class's activity: the maximum over all tracks with its instrument.

    Args:
        activity: result of `track_activity`.
        instruments: instrument of each track; tracks whose instrument is not a class are ignored.
        classes: class names.

    Returns:
        Activity from 0 to 1; 0 for a class without a track.
    """
    tracks_of = [[j for j, name in enumerate(instruments) if name == klass] for klass in classes]
    return np.stack([activity[tracks].max(axis=0, initial=0) for tracks in tracks_of])


def instance_labels(
    activity: Float[np.ndarray, "classes frames"],
    starts: Int[np.ndarray, " instances"],
    num_frames: int,
    threshold_db: float,
) -> Bool[np.ndarray, "instances classes"]:
    """Return each instance's labels: the classes that reach the threshold in any of its frames.

    Args:
        activity: result of `class_activity`.
        starts: first frame of each instance. Frames before or after the recording are ignored; an
            instance without frames has no labels.
        num_frames: frames per instance.
        threshold_db: see `is_active`.
    """
    counts = np.cumsum(is_active(activity, threshold_db), axis=1)
    counts = np.pad(counts, ((0, 0), (1, 0)))
    first, stop = np.clip([starts, starts + num_frames], 0, activity.shape[1])
    return (counts[:, stop] > counts[:, first]).T


def is_active(
    activity: Float[np.ndarray, "*shape"], threshold_db: float
) -> Bool[np.ndarray, "*shape"]:
    """Return whether activity reaches a threshold.

    Args:
        activity: values from 0 to 1.
        threshold_db: see `check_threshold`.
    """
    check_threshold(threshold_db)
    return activity >= 10 ** (threshold_db / 20)


def check_threshold(threshold_db: float) -> None:
    """Raise UserError unless a threshold is finite and at most 0 dB (a track's peak)."""
    if not -np.inf < threshold_db <= 0:
        raise UserError(
            f"threshold_db={threshold_db:g}: expected a level in dB below the peak of a track, "
            f"such as {DEFAULT_THRESHOLD_DB:g}"
        )


_frame_rms = jax.jit(frame_rms, static_argnames="frame_length")


def _peaks(blocks: Iterable[np.ndarray], num_samples: int) -> np.ndarray:
    """Return each track's peak, (J,).

    Raises:
        ValueError: if the blocks do not contain num_samples samples, or if a sample is NaN or
            infinite.
    """
    peaks, num_read = np.zeros(1, np.float32), 0
    for block in blocks:
        peaks = np.maximum(peaks, np.abs(block).max(axis=1, initial=0))
        num_read += block.shape[1]
    if num_read != num_samples or not num_read:
        raise ValueError(f"the blocks hold {num_read} samples, not num_samples ({num_samples})")
    if not np.isfinite(peaks).all():
        raise ValueError("the blocks hold NaN or infinite samples")
    return peaks


def _chunks(blocks: Iterable[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    """Regroup blocks (J, n) into chunks of equal length, zero-padding the last one."""
    pending, num_pending = [], 0
    for block in blocks:
        pending.append(block)
        num_pending += block.shape[1]
        if num_pending < num_samples:
            continue
        buffer = np.concatenate(pending, axis=1)
        while buffer.shape[1] >= num_samples:
            yield buffer[:, :num_samples]
            buffer = buffer[:, num_samples:]
        pending, num_pending = [buffer], buffer.shape[1]
    if num_pending:
        buffer = np.concatenate(pending, axis=1)
        yield np.pad(buffer, ((0, 0), (0, num_samples - num_pending)))
