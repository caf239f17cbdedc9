"""Log-mel spectrograms of 64 clips of 3 s at 22.05 kHz, on the CPU, against what people use today.

    python -m irec_jax.benchmarks.frontends [--rounds=15]

All contestants run in one process, taking turns, on the same waveforms: our `log_mel` front end
under jit, librosa on the whole batch and clip by clip, torch.stft with a product by the mel
filterbank, and nnAudio. Frame length 1,024, hop 512, 128 mel bands, magnitudes, natural
logarithm, librosa's 1 + floor(T / hop) centred frames. They compute the same thing: the largest
deviation of each from librosa in float64 is printed too.
"""

import argparse
import sys
from collections.abc import Callable

import jax
import librosa
import numpy as np

from irec_jax.benchmarks import timing
from irec_jax.errors import UserError
from irec_jax.frontends import LogMel

OURS = "irec-jax"
FRONTEND = LogMel(drop_last=False)


def make_waveforms(num_clips: int, seconds: float) -> np.ndarray:
    """Noise divided by its peak: float32 (num_clips, T)."""
    num_samples = round(seconds * FRONTEND.sample_rate_hz)
    noise = np.random.default_rng(0).standard_normal((num_clips, num_samples))
    return (noise / np.abs(noise).max()).astype(np.float32)


def librosa_log_mel(waveforms: np.ndarray) -> np.ndarray:
    """What librosa computes: (..., num_mels, frames) for waveforms (..., T)."""
    bands = librosa.feature.melspectrogram(
        y=waveforms,
        sr=FRONTEND.sample_rate_hz,
        n_fft=FRONTEND.frame_length,
        hop_length=FRONTEND.hop_length,
        n_mels=FRONTEND.num_mels,
        power=FRONTEND.power,
    )
    return np.log(bands + FRONTEND.offset)


def contestants(waveforms: np.ndarray) -> dict[str, Callable[[], object]]:
    """Functions that compute log-mel of (B, T) and return when it is there, by name.

    Results are (B, num_mels, frames), ours (B, frames, num_mels).

    Raises:
        UserError: torch or nnAudio is not installed.
    """
    try:
        import torch
        from nnAudio.features import MelSpectrogram
    except ImportError as error:
        raise UserError(f"{error}: install the peers with pip install 'irec-jax[peers]'") from error

    torch.set_num_threads(timing.num_cores())
    settings = dict(n_fft=FRONTEND.frame_length, hop_length=FRONTEND.hop_length)
    on_torch = torch.from_numpy(waveforms)
    window = torch.hann_window(FRONTEND.frame_length)
    filterbank = torch.from_numpy(
        librosa.filters.mel(
            sr=FRONTEND.sample_rate_hz, n_fft=FRONTEND.frame_length, n_mels=FRONTEND.num_mels
        )
    )
    nnaudio = MelSpectrogram(
        sr=FRONTEND.sample_rate_hz,
        n_mels=FRONTEND.num_mels,
        power=FRONTEND.power,
        pad_mode="constant",
        verbose=False,
        **settings,
    )

    @torch.inference_mode()
    def run_torch() -> object:
        spectrum = torch.stft(
            on_torch, **settings, window=window, pad_mode="constant", return_complex=True
        )
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
    """Largest deviation of each contestant from librosa in float64, relative to its maximum."""
    expected = librosa_log_mel(waveforms.astype(np.float64))
    found = {}
    for name, call in calls.items():
        result = np.asarray(call())
        result = result if result.shape == expected.shape else result.swapaxes(-1, -2)
        found[name] = np.abs(result - expected).max() / np.abs(expected).max()
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.frontends")
    parser.add_argument("--rounds", type=int, default=15, help="turns of every contestant")
    num_rounds = parser.parse_args(arguments).rounds
    if num_rounds < 1:
        raise UserError(f"--rounds is {num_rounds}: must be 1 or more")

    waveforms = make_waveforms(64, 3.0)
    calls = contestants(waveforms)
    print(f"log-mel of {waveforms.shape[0]} x {waveforms.shape[1]} samples, {num_rounds} rounds")
    print(timing.environment(("jax", "jaxlib", "numpy", "librosa", "torch", "nnaudio")))
    print(timing.table(timing.alternate(calls, num_rounds=num_rounds), ours=OURS))
    print("largest deviation from librosa in float64, relative to its maximum:")
    for name, deviation in deviations(calls, waveforms).items():
        print(f"{name:28} {deviation:.1e}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
