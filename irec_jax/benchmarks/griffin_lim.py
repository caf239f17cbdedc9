"""Griffin-Lim on 8 clips of 3 s at 44.1 kHz on the CPU, compared with librosa.

    python -m irec_jax.benchmarks.griffin_lim [--clips=8] [--seconds=3] [--iterations=32]
        [--rounds=5]

Each gets the magnitudes of melodies (frame length 4,096, hop length 1,050), draws random phases and
runs the same fast Griffin-Lim iterations with momentum 0.99. They take turns in one process: ours
under jit, librosa on the batch and clip by clip. The first table has the median and minimum time,
and the median relative to ours (above 1, ours is faster); the second the spectral convergence
|| |X| - S || / || S || of the worst clip in dB.
"""

import argparse
from collections.abc import Callable

import jax
import librosa
import numpy as np

from irec_jax.benchmarks import bss, timing
from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim

OURS = "irec-jax"
SAMPLE_RATE_HZ = 44_100
FRAMING = dict(frame_length=4096, hop_length=1050)
MOMENTUM = 0.99


def make_magnitudes(num_clips: int, num_samples: int) -> np.ndarray:
    """Return magnitudes of melodies of ``num_samples``: float32 (num_clips, frames, bins)."""
    melodies = bss.make_sources(num_clips, num_samples / SAMPLE_RATE_HZ)
    signals = np.stack([np.resize(melody, num_samples) for melody in melodies]).astype(np.float32)
    return np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)))


def implementations(
    magnitudes: np.ndarray, *, num_samples: int, num_iterations: int
) -> dict[str, Callable[[], np.ndarray]]:
    """Return name -> call that reconstructs signals (B, T) from magnitudes (B, frames, bins)."""
    on_jax = jax.device_put(magnitudes, jax.devices("cpu")[0])
    transposed = np.ascontiguousarray(magnitudes.swapaxes(-1, -2))

    def run_librosa(magnitudes: np.ndarray) -> np.ndarray:
        return librosa.griffinlim(
            magnitudes,
            n_iter=num_iterations,
            n_fft=FRAMING["frame_length"],
            hop_length=FRAMING["hop_length"],
            momentum=MOMENTUM,
            length=num_samples,
            random_state=0,
        )

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
    """Return || |X| - S || / || S || in dB for each signal (B, T): float64 (B,)."""
    reached = np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)), np.float64)
    error = np.sum(np.square(reached - magnitudes), axis=(-2, -1))
    return 10 * np.log10(error / np.sum(np.square(magnitudes, dtype=np.float64), axis=(-2, -1)))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.griffin_lim")
    parser.add_argument("--clips", type=int, default=8, help="number of clips in a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a clip")
    parser.add_argument("--iterations", type=int, default=32, help="number of iterations")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each implementation")
    options = parser.parse_args(arguments)
    timing.check_minimum(options, clips=1, seconds=0.1, iterations=1, rounds=1)

    num_samples = round(options.seconds * SAMPLE_RATE_HZ)
    magnitudes = make_magnitudes(options.clips, num_samples)
    calls = implementations(magnitudes, num_samples=num_samples, num_iterations=options.iterations)
    print(
        f"{options.clips} x {num_samples} samples, {options.iterations} iterations, "
        f"{options.rounds} rounds"
    )
    print(timing.environment(("jax", "jaxlib", "numpy", "librosa")))
    seconds = timing.alternate(calls, num_rounds=options.rounds, num_warm_up=1)
    print(timing.table(seconds, ours=OURS))
    print("spectral convergence of the worst clip:")
    for name, call in calls.items():
        print(f"{name:28} {convergence_db(np.asarray(call()), magnitudes).max():.1f} dB")


if __name__ == "__main__":
    timing.run(main)
