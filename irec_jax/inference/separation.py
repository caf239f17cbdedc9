"""Separation of recordings of any length with a model for fixed-size spectrograms.

Windows start on the frame grid of the spectrogram, several hops apart, so that each frame i of the
recording, which starts at sample i * hop_length, is in at least one window. The first window starts
with the recording and the last one ends with it, because models rarely see silence next to music in
training. The estimates of a frame (features in dB) are averaged with weights that decrease towards
the edges of a window. If a frame extends beyond a window, some of its samples are missing there,
and the estimate from this window counts only if no other window contains the frame. (Nothing is
missing at the end of a recording, because only zeros follow.) Signals are synthesised from
overlapping segments of frames, which are longer than a window, and then cross-faded.

Everything is a generator: blocks of audio go in, blocks of the estimate come out, and memory holds
only a few windows, regardless of the length of the recording. Neither the result nor the sizes of
the output blocks depend on how the audio was divided into blocks. Each channel is processed as a
separate example.

The start of the recording is padded with one frame of zeros, rounded up to whole hops, and the
padding is removed from the result. Without it, the first samples, where the analysis windows are
nearly 0, would be undetermined. Frames that start in the padding are attenuated like the first
frame of the recording.
"""

import functools
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Shaped

from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim
from irec_jax.dsp.window_functions import get_window
from irec_jax.errors import UserError
from irec_jax.frontends import Gate, SpectrogramDb
from irec_jax.inference import overlap
from irec_jax.inference.overlap import Predict

#: Choices for the phase of an estimate.
PHASES = ("mixture", "griffin-lim")

_MIN_WINDOW_SUM = 1e-3  # as in irec_jax.dsp.stft


class SpectrogramSegment(NamedTuple):
    """Consecutive frames of a recording and the features estimated for them.

    Segments overlap. The new part of a segment starts at frame f = ceil(frame_length / hop_length)
    and at sample f * hop_length; it has `num_new_frames` frames and `num_new_samples` samples. The
    new parts of all segments, concatenated, form the recording.

    Attributes:
        mixture: the (frames - 1) * hop_length + frame_length samples that the frames cover.
        features: the estimate, in the units of the front end.
        num_new_samples: number of new samples.
        num_new_frames: number of new frames, ceil(num_new_samples / hop_length).
    """

    mixture: Float32[np.ndarray, "channels samples"]
    features: Float32[np.ndarray, "channels bins frames"]
    num_new_samples: int
    num_new_frames: int


def separate_blocks(
    blocks: Iterable[Shaped[np.ndarray, "..."]],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
    post: Gate | None = None,
    phase: str = "mixture",
    num_iterations: int = 32,
    momentum: float = 0.99,
) -> Iterator[Float32[np.ndarray, "_samples channels"]]:
    """Yield the target of a recording in blocks: `resynthesise(estimate_segments(...))`.

    The arguments are passed to these two functions. To synthesise several signals from the same
    estimates, for example with and without `post`, call the functions separately, with
    `itertools.tee` in between.

    Yields:
        Blocks with the same total number of samples as the mixture.
    """
    segments = estimate_segments(
        blocks,
        predict,
        frontend,
        window_samples=window_samples,
        hop_frames=hop_frames,
        batch_size=batch_size,
    )
    return resynthesise(
        segments,
        frontend,
        post=post,
        phase=phase,
        num_iterations=num_iterations,
        momentum=momentum,
    )


def estimate_features(
    audio: Float[np.ndarray, " samples *channels"],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
) -> Float32[np.ndarray, "*channels bins frames"]:
    """Return the averaged features of a recording.

    Args:
        audio: the recording; the channel axis is optional for mono.
        predict, frontend, window_samples, hop_frames, batch_size: see `estimate_segments`.

    Returns:
        Features for ceil(samples / hop_length) frames.
    """
    segments = estimate_segments(
        [audio if audio.ndim == 2 else audio[:, None]],
        predict,
        frontend,
        window_samples=window_samples,
        hop_frames=hop_frames,
        batch_size=batch_size,
    )
    first = _num_frames_before(frontend)
    parts = [s.features[..., first : first + s.num_new_frames] for s in segments]
    features = np.concatenate(parts, axis=-1)
    return features if audio.ndim == 2 else features[0]


def estimate_segments(
    blocks: Iterable[Shaped[np.ndarray, "..."]],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
) -> Iterator[SpectrogramSegment]:
    """Yield the features that a model estimates for a recording, in overlapping segments.

    Args:
        blocks: float arrays (samples, channels) of any length, at the model's sample rate.
        predict: maps a batch of `batch_size` windows to the features of the target; the last batch
            is padded with zeros. It may return an array that is still being computed, and must
            treat windows independently.
        frontend: the front end of the model.
        window_samples: length of the windows on which the model was trained.
        hop_frames: distance between windows in frames, at most the length of a window. There are no
            seams if neighbouring windows share the frames that extend beyond the end of a window (3
            frames with the default settings).
        batch_size: windows per batch.

    Yields:
        Segments of equal size, in order.

    Raises:
        UserError: if the window is too long for the front end.
        ValueError: if a size is out of range, or blocks have an unexpected shape.
    """
    frontend.output_shape(window_samples)
    num_frames = frontend.num_real_frames(window_samples)
    if not 1 <= hop_frames <= num_frames:
        raise ValueError(
            f"hop_frames={hop_frames}: expected 1..{num_frames}, the number of frames in a window"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    hop, length = frontend.hop_length, frontend.frame_length
    num_before = _num_frames_before(frontend)
    num_new_frames = _num_new_frames(num_frames, num_before)
    num_segment_frames = num_new_frames + 2 * num_before

    for_windows, for_segments = itertools.tee(overlap.channels_first(blocks))
    windows = overlap.frame_aligned_windows(for_windows, window_samples, hop, hop_frames)
    mixtures = overlap.overlapping_segments(
        overlap.prepend_zeros(for_segments, num_before * hop),
        length=(num_segment_frames - 1) * hop + length,
        step=num_new_frames * hop,
        overlap=num_before * hop,
    )
    predictions = overlap.predict_windows(windows, predict, window_samples, batch_size, num_frames)
    frames = overlap.average_overlaps(predictions, frontend, window_samples)
    estimates = overlap.overlapping_segments(
        overlap.prepend_zeros(frames, num_before),
        length=num_segment_frames,
        step=num_new_frames,
        overlap=num_before,
    )
    floor = np.float32(frontend.floor_db / frontend.scale_db)
    is_first = True
    for (mixture, num_samples), (features, _) in zip(mixtures, estimates, strict=False):
        num_valid = min(num_segment_frames, frontend.num_real_frames(num_samples))
        # Estimates for the zeros beyond the end of the recording are discarded.
        features = np.where(np.arange(num_segment_frames) < num_valid, features, floor)
        if is_first:
            features[..., :num_before] = _features_before(mixture, features, frontend)
        num_new = min(num_new_frames * hop, num_samples - num_before * hop)
        yield SpectrogramSegment(mixture, features, num_new, frontend.num_real_frames(num_new))
        is_first = False


def _features_before(
    mixture: np.ndarray, features: np.ndarray, frontend: SpectrogramDb
) -> np.ndarray:
    """Return features (C, num_bins, num_before) of the frames that start before the recording.

    These are features of the mixture, attenuated like the first frame of the recording.

    Args:
        mixture: (C, n), starting num_before hops before the recording.
        features: (C, num_bins, N), the estimate for the same frames.
    """
    num = _num_frames_before(frontend)
    mixture = mixture[:, : num * frontend.hop_length + frontend.frame_length]
    spectrum = stft.stft(jnp.asarray(mixture), **dict(frontend.framing, padding="none"))
    amplitudes = stft.magnitude(spectrum[..., : frontend.num_bins]).swapaxes(-1, -2)
    mixture_features = np.asarray(frontend.from_amplitudes(amplitudes))
    change = features[..., num : num + 1] - mixture_features[..., num:]
    floor = frontend.floor_db / frontend.scale_db
    return np.maximum(mixture_features[..., :num] + change, floor)


def resynthesise(
    segments: Iterable[SpectrogramSegment],
    frontend: SpectrogramDb,
    *,
    post: Gate | None = None,
    phase: str = "mixture",
    num_iterations: int = 32,
    momentum: float = 0.99,
) -> Iterator[Float32[np.ndarray, "_samples channels"]]:
    """Synthesise signals from estimated features and yield them in blocks.

    Frequency bins that the front end drops are set to 0.

    Args:
        segments: result of `estimate_segments`.
        frontend: front end of the estimates.
        post: gate that replaces soft features, or None. If its reference is 'track', all segments
            are estimated and stored in a temporary file before the first block is yielded.
        phase: 'mixture', the phase of the mixture's STFT; or 'griffin-lim', which starts from it.
        num_iterations, momentum: as for `dsp.griffin_lim`; unused with the mixture's phase.

    Yields:
        Blocks with the same total number of samples as the recording.

    Raises:
        UserError: if the hop is too long for the analysis windows to determine every sample.
        ValueError: if the phase is unknown.
    """
    if phase not in PHASES:
        raise ValueError(f"phase={phase!r}: expected one of {', '.join(map(repr, PHASES))}")
    _check_invertible(frontend)
    num_iterations = num_iterations if phase == "griffin-lim" else 0
    num_fade = _num_frames_before(frontend) * frontend.hop_length
    fade = (np.arange(num_fade, dtype=np.float32) + 0.5) / num_fade
    tail, maximum = None, None
    if post is not None and post.reference == "track":
        segments, maximum = _keep_segments(segments)
    for mixture, features, num_new, _ in segments:
        signal = _resynthesise_segment(
            mixture,
            features,
            maximum,
            frontend=frontend,
            post=post,
            num_iterations=num_iterations,
            momentum=momentum,
        )
        signal = np.array(signal)[:, num_fade:]
        if tail is not None:
            signal[:, :num_fade] = fade * signal[:, :num_fade] + (1 - fade) * tail
        tail = signal[:, num_new : num_new + num_fade]
        if num_new:
            yield signal[:, :num_new].T


def _keep_segments(
    segments: Iterable[SpectrogramSegment],
) -> tuple[Iterator[SpectrogramSegment], np.ndarray]:
    """Store the segments in a temporary file; return them and the maximum of each channel."""
    file, sizes, maximum = tempfile.TemporaryFile(), [], np.float32(-np.inf)  # noqa: SIM115
    for mixture, features, *num_new in segments:
        np.save(file, mixture)
        np.save(file, features)
        sizes.append(num_new)
        maximum = np.maximum(maximum, features.max(axis=(-2, -1), keepdims=True))

    def kept() -> Iterator[SpectrogramSegment]:
        with file:
            file.seek(0)
            for num_new in sizes:
                yield SpectrogramSegment(np.load(file), np.load(file), *num_new)

    return kept(), np.asarray(maximum)


@functools.partial(jax.jit, static_argnames=("frontend", "post", "num_iterations", "momentum"))
def _resynthesise_segment(
    mixture, features, maximum, *, frontend: SpectrogramDb, post, num_iterations, momentum
):
    """Return the signal (C, n) of a segment."""
    framing = dict(frontend.framing, padding="none")
    spectrum = stft.stft(mixture, **framing)
    if post is not None:
        features = post(features, frontend, maximum=maximum)
    amplitudes = frontend.amplitudes(features)
    return griffin_lim(
        frontend.to_stft(amplitudes),
        num_samples=mixture.shape[-1],
        num_iterations=num_iterations,
        momentum=momentum,
        initial_phase=spectrum,
        **framing,
    )


def _num_frames_before(frontend: SpectrogramDb) -> int:
    """Return the number of frames that start in the zero padding before the recording."""
    return -(-frontend.frame_length // frontend.hop_length)


def _num_new_frames(num_window_frames: int, num_before: int) -> int:
    """Return the distance between segments in frames: one window, but at least two cross-fades."""
    return max(num_window_frames, 2 * num_before)


def _check_invertible(frontend: SpectrogramDb) -> None:
    """Raise UserError if some samples have almost no weight in any frame."""
    squares = np.square(get_window(frontend.window, frontend.frame_length))
    num_added = _num_frames_before(frontend) * frontend.hop_length - len(squares)
    sums = np.pad(squares, (0, num_added)).reshape(-1, frontend.hop_length).sum(0)
    if sums.min() < _MIN_WINDOW_SUM * sums.max():
        raise UserError(
            f"frontend.hop_length={frontend.hop_length} is too long for "
            f"{frontend.window!r} windows of frame_length={frontend.frame_length}: samples between "
            "them cannot be restored; use at most half the frame length"
        )
