"""Griffin-Lim on eight 3-s clips at 44.1 kHz on the CPU, compared with librosa.

    python -m irec_jax.benchmarks.griffin_lim [--clips=8] [--seconds=3] [--iterations=32]
        [--rounds=5]

The implementations are ours under jit, librosa on the full batch, and librosa clip by clip. Each
starts from the magnitudes of melodies (frame length 4,096, hop length 1,050) and random phases, and
runs the same fast Griffin-Lim iterations with momentum 0.99. Below the times, a table lists the
spectral convergence || |X| - S || / || S || in dB for the worst clip, where S contains the given
magnitudes and X is the STFT of the result.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import librosa
import numpy as np

from irec_jax.benchmarks import bss, timing
from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim

OURS = "irec-jax"
SAMPLE_RATE_HZ = 44_100
FRAMING: dict[str, Any] = dict(frame_length=4096, hop_length=1050)
MOMENTUM = 0.99
# librosa 1.0 renames the argument `random_state` to `rng`.
_SEED = "rng" if "rng" in inspect.signature(librosa.griffinlim).parameters else "random_state"


def make_magnitudes(num_clips: int, num_samples: int) -> np.ndarray:
    """Return the STFT magnitudes of melodies: float32 (num_clips, frames, bins)."""
    melodies = bss.make_sources(num_clips, num_samples / SAMPLE_RATE_HZ)
    signals = np.stack([np.resize(melody, num_samples) for melody in melodies]).astype(np.float32)
    return np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)))


def implementations(
    magnitudes: np.ndarray, *, num_samples: int, num_iterations: int
) -> dict[str, Callable[[], np.ndarray | jax.Array]]:
    """Return a dict from implementation name to a function that reconstructs signals (B, T)."""
    on_jax = jax.device_put(magnitudes, jax.devices("cpu")[0])
    transposed = np.ascontiguousarray(magnitudes.swapaxes(-1, -2))

    def run_librosa(magnitudes: np.ndarray) -> np.ndarray:
        lengths = FRAMING["frame_length"], FRAMING["hop_length"]
        framing: dict[str, Any] = dict(zip(("n_fft", "hop_length"), lengths, strict=True))
        options: dict[str, Any] = dict(n_iter=num_iterations, momentum=MOMENTUM, length=num_samples)
        return librosa.griffinlim(magnitudes, **{_SEED: 0}, **framing, **options)

    def run_ours() -> jax.Array:
        options = dict(FRAMING, num_samples=num_samples, momentum=MOMENTUM)
        signals = griffin_lim(on_jax, num_iterations=num_iterations, **options)
        return signals.block_until_ready()

    return {
        OURS: run_ours,
        "librosa, batched": lambda: run_librosa(transposed),
        "librosa, clip by clip": lambda: np.stack([run_librosa(clip) for clip in transposed]),
    }


def convergence_db(signals: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """Return each signal's spectral convergence || |X| - S || / || S || in dB: (B,)."""
    reached = np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)), np.float64)
    error = np.sum(np.square(reached - magnitudes), axis=(-2, -1))
    return 10 * np.log10(error / np.sum(np.square(magnitudes, dtype=np.float64), axis=(-2, -1)))


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "griffin_lim",
        arguments,
        clips=(8, 1, "number of clips in a batch"),
        seconds=(3.0, 0.1, "length of each clip in seconds"),
        iterations=(32, 1, "number of iterations"),
        rounds=(5, 1, timing.ROUNDS),
    )
    num_samples = round(options.seconds * SAMPLE_RATE_HZ)
    magnitudes = make_magnitudes(options.clips, num_samples)
    calls = implementations(magnitudes, num_samples=num_samples, num_iterations=options.iterations)
    counts = f"{options.iterations} iterations, {options.rounds} rounds"
    print(f"{options.clips} x {num_samples} samples, {counts}")
    print(timing.environment(("jax", "jaxlib", "numpy", "librosa")))
    seconds = timing.alternate(calls, num_rounds=options.rounds, num_warm_up=1)
    print(timing.table(seconds, ours=OURS))
    print("spectral convergence of the worst clip:")
    for name, call in calls.items():
        print(f"{name:28} {convergence_db(np.asarray(call()), magnitudes).max():.1f} dB")


if __name__ == "__main__":
    timing.run(main)
