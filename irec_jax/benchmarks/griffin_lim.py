"""Griffin-Lim of 8 excerpts of 3 s at 44.1 kHz, on the CPU, against librosa.

    python -m irec_jax.benchmarks.griffin_lim [--clips=8] [--seconds=3] [--iterations=32]
        [--rounds=5]

Both get magnitudes of melodies, frame length 4,096 and hop 1,050, draw angles and do the same fast
Griffin-Lim iterations with momentum 0.99, all in one process, taking turns: ours under jit, librosa
on the whole batch and clip by clip. What they reach is printed too: the spectral convergence,
|| |X| - S || / || S || in dB, of the worst clip.
"""

import argparse
import sys
from collections.abc import Callable

import jax
import librosa
import numpy as np

from irec_jax.benchmarks import bss, timing
from irec_jax.dsp import stft
from irec_jax.dsp.griffin_lim import griffin_lim
from irec_jax.errors import UserError

OURS = "irec-jax"
SAMPLE_RATE_HZ = 44_100
FRAMING = dict(frame_length=4096, hop_length=1050)
MOMENTUM = 0.99


def make_magnitudes(num_clips: int, num_samples: int) -> np.ndarray:
    """Magnitudes (num_clips, frames, bins), float32, of melodies of so many samples."""
    music = bss.make_sources(num_clips, num_samples / SAMPLE_RATE_HZ)
    signals = np.stack([np.resize(melody, num_samples) for melody in music]).astype(np.float32)
    return np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)))


def contestants(
    magnitudes: np.ndarray, *, num_samples: int, num_iterations: int
) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that make signals (B, T) of magnitudes (B, frames, bins), by name."""
    on_jax = jax.device_put(magnitudes, jax.devices("cpu")[0])
    transposed = np.ascontiguousarray(magnitudes.swapaxes(-1, -2))

    def by_librosa(magnitudes: np.ndarray) -> np.ndarray:
        return librosa.griffinlim(
            magnitudes,
            n_iter=num_iterations,
            n_fft=FRAMING["frame_length"],
            hop_length=FRAMING["hop_length"],
            momentum=MOMENTUM,
            length=num_samples,
            random_state=0,
        )

    def ours() -> jax.Array:
        options = dict(FRAMING, num_samples=num_samples, momentum=MOMENTUM)
        signals = griffin_lim(on_jax, num_iterations=num_iterations, **options)
        return signals.block_until_ready()

    return {
        OURS: ours,
        "librosa, batched": lambda: by_librosa(transposed),
        "librosa, clip by clip": lambda: np.stack([by_librosa(one) for one in transposed]),
    }


def convergence_db(signals: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """|| |X| - S || / || S || in dB of every signal (B, T), float64 (B,)."""
    found = np.asarray(stft.magnitude(stft.stft(signals, **FRAMING)), np.float64)
    error = np.sum(np.square(found - magnitudes), axis=(-2, -1))
    return 10 * np.log10(error / np.sum(np.square(magnitudes, dtype=np.float64), axis=(-2, -1)))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.griffin_lim")
    parser.add_argument("--clips", type=int, default=8, help="excerpts at a time")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of an excerpt")
    parser.add_argument("--iterations", type=int, default=32, help="of the algorithm")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contestant")
    options = parser.parse_args(arguments)
    for name, least in (("clips", 1), ("seconds", 0.1), ("iterations", 1), ("rounds", 1)):
        if not getattr(options, name) >= least:
            raise UserError(f"--{name} is {getattr(options, name)}: must be {least} or more")

    num_samples = round(options.seconds * SAMPLE_RATE_HZ)
    magnitudes = make_magnitudes(options.clips, num_samples)
    calls = contestants(magnitudes, num_samples=num_samples, num_iterations=options.iterations)
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
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
