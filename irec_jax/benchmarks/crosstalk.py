"""Crosstalk of 14 tracks of 3 minutes at 48 kHz: the source's iteration in NumPy, ours, and files.

    python -m irec_jax.benchmarks.crosstalk [--tracks=14] [--seconds=180] [--rounds=3]

Weights: the source (Seipel 2018, equations 3.2-3.6) computes residuals and gradients of every
iteration from the whole spectrograms. That is done here in float32 with BLAS products over all
frames and bins, target by target, for all targets at once, and for all at once in blocks. Single
iterations are timed, and multiplied by as many as ours takes to the same tolerance: the total is
extrapolated. (Blocks that fit the caches are more than what one writes at first.) The sum Theta, by
which the source knows when to stop, is not computed there. Ours is the Gram matrix of the same
spectrograms and all iterations for all targets on it; or the exact minimum (nnls). All take turns
in one process; a ratio above 1 says that NumPy is slower. Before that the same few steps are taken
by NumPy and by ours, and the largest deviation of a weight is printed.

Files: a folder of 24-bit wav files through `irec_jax.systems.debleeder`, reading, analysis,
reduction and writing included. The first run compiles. Its speed is the length of the recording,
of all tracks together, divided by the time.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from irec_jax import audio
from irec_jax import crosstalk as ct
from irec_jax.benchmarks import bss, timing
from irec_jax.crosstalk.estimate import HESSIAN_SCALE, momentum_descent
from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.systems.debleeder import debleed

SAMPLE_RATE_HZ = 48_000
MAX_CROSSTALK = 0.25
#: Seconds of music; recordings repeat them.
MUSIC_S = 15.0
#: Steps after which the weights of NumPy and ours are compared.
NUM_COMPARED_STEPS = 5
_BLOCK_VALUES = 2**15

#: Gradients (J, J) from spectrograms (J, frames * bins) and weights (J, J), not divided by frames.
Gradients = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_spots(num_tracks: int, seconds: float) -> np.ndarray:
    """Melodies in registers of their own, with simulated crosstalk: float32 (num_tracks, T)."""
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    music = bss.make_sources(num_tracks, min(seconds, MUSIC_S))
    dry = np.stack([np.resize(track, num_samples) for track in music])
    mixing = ct.draw_mixing(jax.random.key(0), num_tracks, max_crosstalk=MAX_CROSSTALK)
    spots, _ = ct.simulate(dry, mixing, ct.delays_samples(mixing, SAMPLE_RATE_HZ))
    return np.asarray(spots)


@jax.jit
def magnitudes(track: jax.Array) -> jax.Array:
    """Magnitude spectrogram (frames, 2049) of a track (T,), as the source has it."""
    options = dict(frame_length=4096, hop_length=2048, window="hamming")
    return stft.magnitude(stft.stft(track, **options))


def target_by_target(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """-2 residual X^T, one target after another."""
    return np.stack([one_target(flat, weights, target) for target in range(len(flat))])


def one_target(flat: np.ndarray, weights: np.ndarray, target: int) -> np.ndarray:
    """The row of `target`."""
    residual = flat[target] - weights[target] @ flat
    return -2 * (flat @ residual)


def all_at_once(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `target_by_target`, with two products of matrices."""
    residuals = weights @ flat
    np.subtract(flat, residuals, out=residuals)
    return -2 * (residuals @ flat.T)


def in_blocks(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `all_at_once`, with residuals that stay in the caches."""
    starts = range(0, flat.shape[1], _BLOCK_VALUES)
    return sum(all_at_once(flat[:, i : i + _BLOCK_VALUES], weights) for i in starts)


FORMS: dict[str, Gradients] = {
    "NumPy, target by target": target_by_target,
    "NumPy, all at once": all_at_once,
    "NumPy, in blocks": in_blocks,
}


def descend(
    flat: np.ndarray, num_frames: int, gradients: Gradients, *, num_steps: int
) -> np.ndarray:
    """Weights (J, J) after so many of the source's steps from zero.

    Args:
        flat: magnitudes (J, frames * bins), scaled.
        num_frames: N.
        gradients: one of `FORMS`.
        num_steps: how many.
    """
    weights = np.zeros((len(flat), len(flat)), flat.dtype)
    velocity = np.zeros_like(weights)
    for step in range(num_steps):
        velocity = 0.8 * velocity + gradients(flat, weights) / num_frames
        weights = np.maximum(weights - np.float32(1e-3 * 0.99**step) * velocity, 0)
        np.fill_diagonal(weights, 0)
    return weights


def deviations(spectrograms: np.ndarray, num_steps: int) -> dict[str, float]:
    """Largest deviation of a weight from ours after the same few steps, by form."""
    num_tracks, num_frames, _ = spectrograms.shape
    gram = np.asarray(ct.gram(spectrograms), np.float64)
    expected = ct.estimate(gram, solver="momentum", max_steps=num_steps, tolerance=0.0)
    scale = np.sqrt(HESSIAN_SCALE / (2 * np.linalg.eigvalsh(gram)[-1]))
    flat = (np.float32(scale) * spectrograms).reshape(num_tracks, -1)
    return {
        name: np.abs(descend(flat, num_frames, form, num_steps=num_steps) - expected).max()
        for name, form in FORMS.items()
    }


def compare_weights(spectrograms: np.ndarray, *, num_rounds: int) -> str:
    """Times of all contestants and the ratios: a text of several lines.

    Args:
        spectrograms: magnitudes (J, frames, bins), float32.
        num_rounds: turns of each.
    """
    flat = spectrograms.reshape(len(spectrograms), -1)
    on_device = jax.device_put(spectrograms, jax.devices("cpu")[0])
    gram = np.asarray(ct.gram(on_device), np.float64)
    num_steps = int(momentum_descent(gram).num_steps.max())
    weights = np.float32(0.1) * (1 - np.eye(len(flat), dtype=np.float32))
    calls = {
        "NumPy, one target": lambda: one_target(flat, weights, 0),
        **{name: lambda form=form: form(flat, weights) for name, form in FORMS.items()},
        "ours, Gram matrix": lambda: ct.gram(on_device).block_until_ready(),
        "ours, momentum": lambda: momentum_descent(gram),
        "ours, nnls": lambda: ct.estimate(gram),
    }
    seconds = timing.alternate(calls, num_rounds=num_rounds, num_warm_up=1)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    totals = {name: num_steps * medians[name] for name in FORMS}
    lines = [f"{'contestant':28} {'median':>12} {'least':>12}"]
    for name, median in medians.items():
        what = f" an iteration; x {num_steps} = {totals[name]:.1f} s" if name in FORMS else ""
        lines.append(f"{name:28} {median:10.5f} s {min(seconds[name]):10.5f} s{what}")
    lines.append(f"{num_steps} iterations of momentum; NumPy's totals are extrapolated")
    for solver in ("momentum", "nnls"):
        ours = medians["ours, Gram matrix"] + medians[f"ours, {solver}"]
        ratios = ", ".join(f"{name} {total / ours:.0f} x" for name, total in totals.items())
        lines.append(f"Gram matrix and {solver}: {ours:.4f} s; as long takes {ratios}")
    return "\n".join(lines)


def write_tracks(folder: Path, spots: np.ndarray) -> None:
    """24-bit wav files of the tracks (J, T)."""
    for number, spot in enumerate(spots, 1):
        audio.write(folder / f"track {number:02}.wav", spot, SAMPLE_RATE_HZ, subtype="PCM_24")


def time_files(folder: Path, *, num_rounds: int) -> list[float]:
    """Seconds of recording in a second, of each run."""
    speeds = []
    for number in range(num_rounds):
        out = folder.with_name(f"{folder.name}, run {number}")
        speeds.append(debleed(folder, out, progress=False).speed)
    return speeds


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m irec_jax.benchmarks.crosstalk")
    parser.add_argument("--tracks", type=int, default=14, help="number of tracks")
    parser.add_argument("--seconds", type=float, default=180.0, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; runs on files")
    options = parser.parse_args(arguments)
    for name, value, least in (
        ("tracks", options.tracks, 2),
        ("seconds", options.seconds, 1),
        ("rounds", options.rounds, 1),
    ):
        if not value >= least:
            raise UserError(f"--{name} is {value}: must be {least} or more")

    spots = make_spots(options.tracks, options.seconds)
    print(f"{options.tracks} tracks, {options.seconds:g} s, {SAMPLE_RATE_HZ} Hz")
    print(timing.environment(("jax", "jaxlib", "numpy")))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "tracks")
        folder.mkdir()
        write_tracks(folder, spots)
        speeds = time_files(folder, num_rounds=options.rounds)
    runs = ", ".join(f"{speed:.1f}" for speed in speeds)
    print(f"files to files: {runs} x real time (the first run compiles)", flush=True)

    spectrograms = np.stack([np.asarray(magnitudes(spot)) for spot in spots])
    del spots
    for name, deviation in deviations(spectrograms, NUM_COMPARED_STEPS).items():
        print(
            f"{name}: weights after {NUM_COMPARED_STEPS} steps differ from ours by {deviation:.0e}"
        )
    print(compare_weights(spectrograms, num_rounds=options.rounds))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
