"""Log-mel spectrograms of 64 three-second clips on the CPU, compared with other libraries.

    python -m irec_jax.benchmarks.frontends [--rounds=15]

The implementations are our `log_mel` front end under jit, librosa (batched and clip by clip),
torch.stft followed by the mel filterbank, and nnAudio. All of them use a sample rate of 22.05 kHz,
a frame length of 1,024, a hop length of 512, 128 mel bands, magnitudes, the natural logarithm and
librosa's 1 + floor(T / hop) centred frames. Below the times, a table lists the maximum deviation of
each implementation from librosa in float64.
"""

from collections.abc import Callable
from typing import Any

import jax
import librosa
import numpy as np

from irec_jax.benchmarks import timing
from irec_jax.frontends import LogMel

OURS = "irec-jax"
FRONTEND = LogMel(drop_last=False)
FRAMING: dict[str, Any] = dict(n_fft=FRONTEND.frame_length, hop_length=FRONTEND.hop_length)
MEL: dict[str, Any] = dict(sr=FRONTEND.sample_rate_hz, n_mels=FRONTEND.num_mels)


def make_waveforms(num_clips: int, seconds: float) -> np.ndarray:
    """Return peak-normalised noise: float32 (num_clips, T)."""
    num_samples = round(seconds * FRONTEND.sample_rate_hz)
    noise = np.random.default_rng(0).standard_normal((num_clips, num_samples))
    return (noise / np.abs(noise).max()).astype(np.float32)


def librosa_log_mel(waveforms: np.ndarray) -> np.ndarray:
    """Return librosa's log-mel spectrograms (..., num_mels, frames) of waveforms (..., T)."""
    bands = librosa.feature.melspectrogram(y=waveforms, power=FRONTEND.power, **FRAMING, **MEL)
    return np.log(bands + FRONTEND.offset)


def implementations(waveforms: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return a dict from implementation name to a function that computes log-mel spectrograms.

    All functions use the given waveforms (B, T). Our function returns (B, frames, num_mels); the
    others return (B, num_mels, frames).
    """
    torch = timing.import_peer("torch")
    features = timing.import_peer("nnAudio.features")
    torch.set_num_threads(timing.num_cores())
    on_torch = torch.from_numpy(waveforms)
    window = torch.hann_window(FRONTEND.frame_length)
    filterbank = torch.from_numpy(librosa.filters.mel(n_fft=FRONTEND.frame_length, **MEL))
    options = dict(power=FRONTEND.power, pad_mode="constant", verbose=False)
    nnaudio = features.MelSpectrogram(**FRAMING, **MEL, **options)

    @torch.inference_mode()
    def run_torch() -> object:
        options = dict(window=window, pad_mode="constant", return_complex=True)
        spectrum = torch.stft(on_torch, **FRAMING, **options)
        return torch.log(filterbank @ spectrum.abs() + FRONTEND.offset)

    @torch.inference_mode()
    def run_nnaudio() -> object:
        return torch.log(nnaudio(on_torch) + FRONTEND.offset)

    ours = jax.jit(FRONTEND)
    on_jax = jax.device_put(waveforms, jax.devices("cpu")[0])
    return {
        OURS: lambda: ours(on_jax).block_until_ready(),
        "torch.stft": run_torch,
        "librosa, batched": lambda: librosa_log_mel(waveforms),
        "librosa, clip by clip": lambda: np.stack([librosa_log_mel(w) for w in waveforms]),
        "nnAudio": run_nnaudio,
    }


def deviations(calls: dict[str, Callable[[], object]], waveforms: np.ndarray) -> dict[str, float]:
    """Return each implementation's maximum deviation from librosa in float64.

    Deviations are relative to librosa's largest absolute value.
    """
    expected = librosa_log_mel(waveforms.astype(np.float64))
    relative = {}
    for name, call in calls.items():
        spectrograms = np.asarray(call())
        if spectrograms.shape != expected.shape:
            spectrograms = spectrograms.swapaxes(-1, -2)
        relative[name] = np.abs(spectrograms - expected).max() / np.abs(expected).max()
    return relative


def main(arguments: list[str]) -> None:
    options = timing.parse_options("frontends", arguments, rounds=(15, 1, timing.ROUNDS))
    num_rounds, waveforms = options.rounds, make_waveforms(64, 3.0)
    calls = implementations(waveforms)
    print(f"log-mel of {waveforms.shape[0]} x {waveforms.shape[1]} samples, {num_rounds} rounds")
    print(timing.environment(("jax", "jaxlib", "numpy", "librosa", "torch", "nnaudio")))
    print(timing.table(timing.alternate(calls, num_rounds=num_rounds), ours=OURS))
    print("maximum deviation from librosa in float64, relative to librosa's maximum:")
    for name, deviation in deviations(calls, waveforms).items():
        print(f"{name:28} {deviation:.1e}")


if __name__ == "__main__":
    timing.run(main)
