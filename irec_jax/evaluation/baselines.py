"""Baselines for recognisers: the most frequent class, and logistic regression on MFCC statistics.

Both return `Predictions`, which are evaluated in the same way as a network's.
"""

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any, cast

import librosa
import numpy as np
import threadpoolctl

from irec_jax.evaluation.recognition import Predictions
from irec_jax.inference.sliding_windows import window_starts

_FRAMING: dict[str, Any] = {"n_fft": 2048, "hop_length": 512}
_WINDOW_S = 3.0  # length of an IRMAS training clip


@dataclasses.dataclass(frozen=True)
class Majority:
    """Baseline that predicts the most frequent training class for every clip.

    In case of a tie, the first class is used.

    Attributes:
        probabilities: (K,), 1 for the most frequent class and 0 for all others.
    """

    probabilities: np.ndarray

    @classmethod
    def fit(cls, labels: np.ndarray) -> "Majority":
        """Fit the baseline to the training labels (N, K)."""
        frequency = (np.asarray(labels) > 0).sum(0)
        return cls(np.eye(len(frequency), dtype=np.float32)[frequency.argmax()])

    def predict(self, like: Predictions) -> Predictions:
        """Return predictions for the clips in ``like``; its own probabilities are ignored."""
        return dataclasses.replace(like, windows=[self.probabilities[None]] * len(like.ids))


def mfcc_statistics(audio: np.ndarray, *, sample_rate_hz: float) -> np.ndarray:
    """Return the MFCC statistics of a clip, one row per 3 s window, with a hop of 1.5 s.

    The clip is peak-normalised, and 20 MFCCs are computed from 128 mel bands in frames of 2048
    samples with a hop of 512. Each window is described by the means and standard deviations of
    the MFCCs and of their first differences over time (librosa's `delta`, 9 frames). Windows are
    placed as in `inference.sliding_windows`: the last one ends with the clip, and a clip shorter
    than 3 s forms a single, shorter window. Each window is analysed separately, so that windows
    in long clips have the same edge effects as 3 s training clips.

    Args:
        audio: mono samples, float (T,).
        sample_rate_hz: sample rate of the audio.

    Returns:
        float64 (windows, 80): the means of the MFCCs and of their differences, followed by their
        standard deviations.
    """
    audio = np.asarray(audio, np.float32)
    audio = audio / max(float(np.abs(audio).max(initial=0.0)), 1e-9)
    audio = np.pad(audio, (0, max(0, _FRAMING["n_fft"] - len(audio))))
    length = int(_WINDOW_S * sample_rate_hz)
    starts = window_starts(len(audio), window_samples=length, hop_samples=length // 2)
    windows = np.stack([audio[start : start + length] for start in starts])
    mfcc = librosa.feature.mfcc(y=windows, sr=sample_rate_hz, n_mfcc=20, **_FRAMING)
    frames = np.concatenate([mfcc, librosa.feature.delta(mfcc, mode="nearest")], axis=1)
    return np.concatenate([frames.mean(-1), frames.std(-1)], axis=1).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class MfccLogistic:
    """Baseline with one logistic regression per class on standardised MFCC statistics.

    Attributes:
        sample_rate_hz: sample rate of the training and test audio.
        mean, scale: (80,), mean and standard deviation over the training windows.
        weights: (80, K); zeros for a class that never or always occurs in training.
        bias: (K,); -inf for a class that never occurs in training, inf for one that always does.
    """

    sample_rate_hz: float
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(
        cls, clips: Iterable[tuple[np.ndarray, np.ndarray]], *, sample_rate_hz: float
    ) -> "MfccLogistic":
        """Fit the regressions to training clips.

        Args:
            clips: pairs of mono audio (T,) and labels (K,), consumed one by one; each 3 s window
                is given the labels of its clip.
            sample_rate_hz: sample rate of the audio.

        Raises:
            ValueError: there are no clips.
        """
        import sklearn.preprocessing  # slow to import, and not needed for training

        features, targets = [], []
        with _one_blas_thread():
            for audio, labels in clips:
                features.append(mfcc_statistics(audio, sample_rate_hz=sample_rate_hz))
                targets.append(np.tile(np.asarray(labels) > 0, (len(features[-1]), 1)))
            if not features:
                raise ValueError("clips: expected at least one training clip for the MFCC baseline")
            # scikit-learn has no type annotations.
            scaler = cast(Any, sklearn.preprocessing.StandardScaler()).fit(np.concatenate(features))
            standardised = scaler.transform(np.concatenate(features))
            columns = [_fit_class(standardised, target) for target in np.concatenate(targets).T]
        weights, bias = zip(*columns, strict=True)
        return cls(
            sample_rate_hz, scaler.mean_, scaler.scale_, np.stack(weights, 1), np.array(bias)
        )

    def probabilities(self, audio: np.ndarray) -> np.ndarray:
        """Return the class probabilities of each 3 s window of mono audio (T,): (windows, K)."""
        features = mfcc_statistics(audio, sample_rate_hz=self.sample_rate_hz)
        logits = (features - self.mean) / self.scale @ self.weights + self.bias
        return (0.5 * (1 + np.tanh(logits / 2))).astype(np.float32)  # sigmoid without overflow

    def predict(self, clips: Iterable[np.ndarray], like: Predictions) -> Predictions:
        """Return predictions for clips of mono audio (T,), in the order of ``like``.

        Ids, songs and labels are taken from ``like``; its own probabilities are ignored.
        """
        with _one_blas_thread():
            return dataclasses.replace(like, windows=[self.probabilities(audio) for audio in clips])


def _one_blas_thread() -> threadpoolctl.threadpool_limits:
    """Restrict BLAS to one thread.

    With such small matrices, several threads take up to fifteen times as long on a busy machine.
    """
    return threadpoolctl.threadpool_limits(1, user_api="blas")


def _fit_class(features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a regression of one class against all others; return its weights (80,) and its bias."""
    if target.all() or not target.any():
        return np.zeros(features.shape[1]), float("inf") if target.all() else float("-inf")
    import sklearn.exceptions
    import sklearn.linear_model

    regression = cast(Any, sklearn.linear_model.LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        # The regression converges slowly for linearly separable classes, which occur in tiny
        # datasets. The penalty keeps the weights finite, so the warning is not needed.
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        regression.fit(features, target)
    return regression.coef_[0], float(regression.intercept_[0])
