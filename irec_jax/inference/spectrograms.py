"""Separation of recordings of any length by a model of spectrograms of fixed size.

Windows begin on the grid of the spectrogram's frames, several hops apart, so that frame i of the
recording, which begins at sample i * hop_length, is in one or several of them. The first one begins
with the recording and the last one ends with it: silence beside music is something that a model has
hardly heard in training. Their estimates of a frame, features in dB, are averaged, with weights
that fall towards the edges of a window. A frame that reaches beyond its window lacks sound there
and counts only where no other window has it. (At the end of a recording, which zeros follow, it
lacks nothing.) Signals are made of stretches of frames that are longer than a window and overlap,
and are cross-faded.

Everything is a generator: blocks of audio come in and blocks of the estimate go out, and memory
holds a few windows, whatever the length of the recording. Neither the result nor the blocks that go
out depend on how the audio was cut into blocks. Channels are examples of their own.

Before a recording come as many zeros as a frame has samples, in whole hops, and are cut off again:
else its first samples, where windows are nearly 0, were not determined. The frames that begin in
these zeros are attenuated as the first one of the recording is.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim
from irec_jax.dsp.window_functions import get_window
from irec_jax.errors import UserError
from irec_jax.frontends import SpectrogramDb
from irec_jax.inference import overlap
from irec_jax.inference.overlap import Predict

#: Where the phase of an estimate comes from.
PHASES = ("mixture", "griffin-lim")

_MIN_WINDOW_SUM = 1e-3  # as in irec_jax.dsp.stft


class Stretch(NamedTuple):
    """Some frames of a recording and what was estimated of them.

    Stretches overlap. New in each are, from index f = ceil(frame_length / hop_length) on,
    `num_new_frames` frames, and from index f * hop_length on, `num_new` samples; those of all
    stretches, one after another, make up the recording.

    Attributes:
        mixture: float32 (C, (N - 1) * hop_length + frame_length), the sound of N frames.
        features: float32 (C, num_bins, N), the estimate, in the front end's units.
        num_new: samples.
        num_new_frames: frames, ceil(num_new / hop_length).
    """

    mixture: np.ndarray
    features: np.ndarray
    num_new: int
    num_new_frames: int


def separate_blocks(
    blocks: Iterable[np.ndarray],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
    post_db: float | None = None,
    phase: str = "mixture",
    num_iterations: int = 32,
    momentum: float = 0.99,
) -> Iterator[np.ndarray]:
    """The target of a recording that comes in blocks: `resynthesise` of `stretches`, which see.

    To get several signals from the same estimates (with and without `post_db`), call these two,
    with `itertools.tee` in between.

    Yields:
        float32 (m, C), as many samples in all as came in.
    """
    estimated = stretches(
        blocks,
        predict,
        frontend,
        window_samples=window_samples,
        hop_frames=hop_frames,
        batch_size=batch_size,
    )
    return resynthesise(
        estimated,
        frontend,
        post_db=post_db,
        phase=phase,
        num_iterations=num_iterations,
        momentum=momentum,
    )


def estimate_features(
    audio: np.ndarray,
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
) -> np.ndarray:
    """The model's averaged features of a whole recording; arguments as for `stretches`.

    Args:
        audio: float32 (T, C), or (T,) for a single channel.

    Returns:
        float32 (C, num_bins, ceil(T / hop_length)), without C for (T,).
    """
    estimated = stretches(
        [audio if audio.ndim == 2 else audio[:, None]],
        predict,
        frontend,
        window_samples=window_samples,
        hop_frames=hop_frames,
        batch_size=batch_size,
    )
    first = _num_before(frontend)
    parts = [s.features[..., first : first + s.num_new_frames] for s in estimated]
    features = np.concatenate(parts, axis=-1)
    return features if audio.ndim == 2 else features[0]


def post(features, frontend: SpectrogramDb, post_db: float | None):
    """Features whose values below `post_db` dB have become the floor; None leaves them as they are.

    Args:
        features: any shape, NumPy or JAX.
        frontend: tells scale and floor.
        post_db: absolute, on the scale of the front end.
    """
    if post_db is None:
        return features
    array = jnp if isinstance(features, jax.Array) else np
    floor = np.float32(frontend.floor_db / frontend.scale_db)
    return array.where(features < np.float32(post_db / frontend.scale_db), floor, features)


def stretches(
    blocks: Iterable[np.ndarray],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    hop_frames: int,
    batch_size: int,
) -> Iterator[Stretch]:
    """What a model estimates of a recording.

    Args:
        blocks: float32 (n, C) at the model's sample rate, of any lengths n and one C.
        predict: windows, float32 (B, window_samples), to the features (B, num_bins, num_frames) of
            the target; B is always `batch_size`, and zeros fill the last batch. May return an array
            that is still being computed. Must treat windows independently.
        frontend: the model's.
        window_samples: length of a window, the one the model was trained with.
        hop_frames: distance of windows in frames, at most those of a window. There are no seams
            where windows share as many frames as reach beyond a window's end, 3 with the defaults.
        batch_size: windows at a time.

    Yields:
        Stretches of one size, in order.

    Raises:
        UserError: a window that is too long for the front end.
        ValueError: a size out of range, or blocks of another shape.
    """
    frontend.output_shape(window_samples)
    num_frames = frontend.num_real_frames(window_samples)
    if not 1 <= hop_frames <= num_frames:
        raise ValueError(
            f"hop_frames is {hop_frames}: must be 1..{num_frames}, the frames of a window"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: must be 1 or more")
    hop, length, num_before = frontend.hop_length, frontend.frame_length, _num_before(frontend)
    num_new = _num_new(num_frames, num_before)
    num_all = num_new + 2 * num_before

    for_windows, for_stretches = itertools.tee(overlap.channels_first(blocks))
    windows = overlap.windows(for_windows, window_samples, hop, hop_frames)
    sounds = overlap.cut(
        overlap.after_zeros(for_stretches, num_before * hop),
        length=(num_all - 1) * hop + length,
        step=num_new * hop,
        shared=num_before * hop,
    )
    predicted = overlap.predicted(windows, predict, window_samples, batch_size, num_frames)
    frames = overlap.averaged(predicted, frontend, window_samples)
    pieces = overlap.cut(
        overlap.after_zeros(frames, num_before), length=num_all, step=num_new, shared=num_before
    )
    floor = np.float32(frontend.floor_db / frontend.scale_db)
    is_first = True
    for (sound, num_samples), (features, _) in zip(sounds, pieces, strict=False):
        num_valid = min(num_all, frontend.num_real_frames(num_samples))
        # What a model hears in the zeros beyond the end is not wanted.
        features = np.where(np.arange(num_all) < num_valid, features, floor)
        if is_first:
            features[..., :num_before] = _before(sound, features, frontend)
        new = min(num_new * hop, num_samples - num_before * hop)
        yield Stretch(sound, features, new, frontend.num_real_frames(new))
        is_first = False


def _before(sound: np.ndarray, features: np.ndarray, frontend: SpectrogramDb) -> np.ndarray:
    """Features of the frames that begin before the recording (C, num_bins, num_before): those of
    the mixture, attenuated as its first frame.

    Args:
        sound: (C, n), from num_before hops before the recording on.
        features: (C, num_bins, N), of the estimate, of the same frames.
    """
    num = _num_before(frontend)
    sound = sound[:, : num * frontend.hop_length + frontend.frame_length]
    spectrum = stft.stft(jnp.asarray(sound), **frontend.framing | {"padding": "none"})
    amplitudes = stft.magnitude(spectrum[..., : frontend.num_bins]).swapaxes(-1, -2)
    mixture = np.asarray(frontend.from_amplitudes(amplitudes))
    change = features[..., num : num + 1] - mixture[..., num:]
    return np.maximum(mixture[..., :num] + change, frontend.floor_db / frontend.scale_db)


def resynthesise(
    estimated: Iterable[Stretch],
    frontend: SpectrogramDb,
    *,
    post_db: float | None = None,
    phase: str = "mixture",
    num_iterations: int = 32,
    momentum: float = 0.99,
) -> Iterator[np.ndarray]:
    """Signals of estimated features. Bins that the front end leaves out stay empty.

    Args:
        estimated: from `stretches`.
        frontend: that of the estimates.
        post_db: what lies below it becomes the floor (see `post`); None: nothing.
        phase: 'mixture', that of the mixture's STFT; or 'griffin-lim', which begins with it.
        num_iterations, momentum: of `dsp.griffin_lim`; mean nothing with the mixture's phase.

    Yields:
        float32 (m, C), as many samples in all as the recording has.

    Raises:
        UserError: the hop is too long for the windows to determine every sample.
        ValueError: an unknown phase.
    """
    if phase not in PHASES:
        raise ValueError(f"phase is {phase!r}: must be one of {', '.join(map(repr, PHASES))}")
    _check_invertible(frontend)
    num_iterations = num_iterations if phase == "griffin-lim" else 0
    num_fade = _num_before(frontend) * frontend.hop_length
    fade = (np.arange(num_fade, dtype=np.float32) + 0.5) / num_fade
    tail = None
    for mixture, features, num_new, _ in estimated:
        signal = _resynthesise(
            mixture,
            features,
            frontend=frontend,
            post_db=post_db,
            num_iterations=num_iterations,
            momentum=momentum,
        )
        signal = np.array(signal)[:, num_fade:]
        if tail is not None:
            signal[:, :num_fade] = fade * signal[:, :num_fade] + (1 - fade) * tail
        tail = signal[:, num_new : num_new + num_fade]
        if num_new:
            yield signal[:, :num_new].T


@functools.partial(jax.jit, static_argnames=("frontend", "post_db", "num_iterations", "momentum"))
def _resynthesise(mixture, features, *, frontend, post_db, num_iterations, momentum):
    """Signals (C, n)."""
    framing = frontend.framing | {"padding": "none"}
    spectrum = stft.stft(mixture, **framing)
    amplitudes = frontend.amplitudes(post(features, frontend, post_db))
    return griffin_lim(
        frontend.to_stft(amplitudes),
        num_samples=mixture.shape[-1],
        num_iterations=num_iterations,
        momentum=momentum,
        initial_phase=spectrum,
        **framing,
    )


def _num_before(frontend: SpectrogramDb) -> int:
    """Frames that begin before the recording, in the zeros there: whole hops in a frame."""
    return -(-frontend.frame_length // frontend.hop_length)


def _num_new(num_frames: int, num_before: int) -> int:
    """Frames from one stretch to the next: those of a window, and enough for the cross-fade."""
    return max(num_frames, 2 * num_before)


def _check_invertible(frontend: SpectrogramDb) -> None:
    """Raises UserError where some samples are hardly in any frame."""
    squares = np.square(get_window(frontend.window, frontend.frame_length))
    num_added = _num_before(frontend) * frontend.hop_length - len(squares)
    sums = np.pad(squares, (0, num_added)).reshape(-1, frontend.hop_length).sum(0)
    if sums.min() < _MIN_WINDOW_SUM * sums.max():
        raise UserError(
            f"frontend.hop_length={frontend.hop_length} is too long for windows "
            f"{frontend.window!r} of frame_length={frontend.frame_length}: samples between them "
            "cannot be restored; take half of it or less"
        )
