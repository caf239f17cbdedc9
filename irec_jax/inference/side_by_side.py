"""Separation of complete recordings in adjacent windows, as in Ligtenberg (2022).

Each window is estimated and synthesised separately, and the results are concatenated: no frame is
estimated twice, and the last frames of a window, which extend beyond it, are padded with zeros.
`inference.separation` is the alternative without seams.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.frontends import SpectrogramDb
from irec_jax.inference.overlap import Predict
from irec_jax.inference.separation import PHASES

#: Window layouts for evaluation, implemented in `inference.separation` and in this module.
WINDOWS = ("overlapping", "side_by_side")


def split_windows(
    audio: Float[np.ndarray, "samples channels"], window_samples: int
) -> Float32[np.ndarray, "channels windows {window_samples}"]:
    """Divide a recording into windows, the last one zero-padded."""
    num_windows = -(-len(audio) // window_samples)
    padded = np.pad(audio, ((0, num_windows * window_samples - len(audio)), (0, 0)))
    return padded.T.reshape(audio.shape[1], num_windows, window_samples).astype(np.float32)


def check_window(frontend: SpectrogramDb, window_samples: int) -> None:
    """Raise UserError unless adjacent windows have the same frames as the complete recording."""
    if window_samples % frontend.hop_length:
        raise UserError(
            f"evaluation.windows=side_by_side: the {window_samples} samples of data.window_s are "
            f"not a multiple of frontend.hop_length={frontend.hop_length}; change one of them, or "
            "use overlapping windows"
        )


def estimate_joined(
    audio: Float[np.ndarray, "samples channels"],
    predict: Predict,
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    batch_size: int,
) -> Float32[np.ndarray, "channels bins frames"]:
    """Return the features that a model estimates for a recording, window by window.

    Args:
        audio: the recording.
        predict, batch_size: see `separation.estimate_segments`.
        frontend: the model's front end.
        window_samples: length of a window, a multiple of the hop.

    Returns:
        Features for ceil(samples / hop_length) frames.

    Raises:
        UserError: if the length of a window is not a multiple of the hop.
    """
    check_window(frontend, window_samples)
    num_window_frames = frontend.num_real_frames(window_samples)
    windows = split_windows(audio, window_samples)
    rows, estimates = windows.reshape(-1, window_samples), []
    for first in range(0, len(rows), batch_size):
        batch = np.zeros((batch_size, window_samples), np.float32)
        part = rows[first : first + batch_size]
        batch[: len(part)] = part
        estimates.append(np.asarray(predict(batch), np.float32)[: len(part)])
    features = np.concatenate(estimates)[..., :num_window_frames]
    features = features.reshape(*windows.shape[:2], frontend.num_bins, num_window_frames)
    joined = features.swapaxes(1, 2).reshape(len(windows), frontend.num_bins, -1)
    return joined[..., : frontend.num_real_frames(len(audio))]


def resynthesise_joined(
    audio: Float[np.ndarray, "samples channels"],
    features: Float[np.ndarray, "channels bins frames"],
    frontend: SpectrogramDb,
    *,
    window_samples: int,
    phase: str = "mixture",
    num_iterations: int = 32,
) -> Float32[np.ndarray, "samples channels"]:
    """Synthesise signals from estimated features, window by window.

    Args:
        audio: the mixture.
        features: the estimate, from `estimate_joined`.
        frontend: front end of the estimate.
        window_samples: length of a window.
        phase: 'mixture', the phase of the mixture's STFT; or 'griffin-lim', starting from random
            phases.
        num_iterations: number of Griffin-Lim iterations.

    Raises:
        ValueError: if the phase is unknown.
    """
    if phase not in PHASES:
        raise ValueError(f"phase={phase!r}: expected one of {', '.join(map(repr, PHASES))}")
    windows = split_windows(audio, window_samples).swapaxes(0, 1)
    num_frames = frontend.num_real_frames(window_samples)
    floor = frontend.floor_db / frontend.scale_db
    signals = []
    for number, mixture in enumerate(windows):
        part = features[..., number * num_frames : (number + 1) * num_frames]
        missing = frontend.num_frames - part.shape[-1]
        padded = np.pad(part, ((0, 0), (0, 0), (0, missing)), constant_values=floor)
        signal = _synthesise(
            mixture,
            padded.astype(np.float32),
            frontend=frontend,
            keep_phase=phase == "mixture",
            num_iterations=num_iterations,
        )
        signals.append(np.asarray(signal))
    return np.concatenate(signals, axis=-1).T[: len(audio)]


@functools.partial(jax.jit, static_argnames=("frontend", "keep_phase", "num_iterations"))
def _synthesise(
    mixture: Array,
    features: Array,
    *,
    frontend: SpectrogramDb,
    keep_phase: bool,
    num_iterations: int,
) -> Array:
    """Synthesise signals (C, window_samples) from padded features."""
    phase = None
    if keep_phase:
        spectrum = stft.stft(mixture, **frontend.framing)[..., : frontend.num_bins]
        missing = frontend.num_frames - spectrum.shape[-2]
        phase = jnp.pad(spectrum.swapaxes(-1, -2), ((0, 0), (0, 0), (0, missing)))
    return frontend.inverse(
        features, num_samples=mixture.shape[-1], phase=phase, num_iterations=num_iterations
    )
