"""Crosstalk reduction in 14 three-minute tracks at 48 kHz, compared with Seipel's method.

    python -m irec_jax.benchmarks.crosstalk [--tracks=14] [--seconds=180] [--rounds=3]

**Weights.** In every iteration, Seipel (2018, equations 3.2-3.6) computes residuals and gradients
from the complete spectrograms. The NumPy implementations do this in float32, with BLAS products
over all frames and bins, and are therefore faster than a straightforward implementation. They
process the targets one by one, all together, or all together in blocks that fit into the caches.
Only one iteration is timed; the total is extrapolated to the number of iterations that our
implementation needs to reach its tolerance. Seipel's stopping criterion Theta is not computed.
Our implementation computes the Gram matrix of the same spectrograms once and uses it to run all
iterations for all targets (momentum) or to find the exact minimum (nnls). All implementations run
in alternation in one process.

The benchmark first prints how far NumPy's weights deviate from ours after a few identical steps. A
table then lists the median and minimum times of each implementation. The last lines show our total
time and the ratio of NumPy's total time to ours.

**Files.** `irec_jax.systems.debleeder` is timed on a folder of 24-bit WAV files, including reading,
analysis, reduction and writing. The first run also includes compilation. The speed is the duration
of the recording divided by the processing time for all tracks.
"""

import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from irec_jax import audio
from irec_jax import crosstalk as ct
from irec_jax.benchmarks import bss, timing
from irec_jax.crosstalk.estimate import HESSIAN_SCALE, momentum_descent
from irec_jax.dsp import stft
from irec_jax.systems.debleeder import debleed

SAMPLE_RATE_HZ = 48_000
MAX_CROSSTALK = 0.25
#: Duration of the generated music in seconds; longer recordings repeat the music.
MUSIC_S = 15.0
#: Number of steps after which NumPy's weights are compared with ours.
NUM_COMPARED_STEPS = 5
_BLOCK_VALUES = 2**15

#: Function that maps spectrograms (J, frames * bins) and weights (J, J) to gradients (J, J), which
#: are summed over all frames.
Gradients = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_spots(num_tracks: int, seconds: float) -> np.ndarray:
    """Return spot microphone signals with simulated crosstalk: float32 (num_tracks, T)."""
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    music = bss.make_sources(num_tracks, min(seconds, MUSIC_S))
    dry = np.stack([np.resize(track, num_samples) for track in music])
    mixing = ct.draw_mixing(jax.random.key(0), num_tracks, max_crosstalk=MAX_CROSSTALK)
    spots, _ = ct.simulate(dry, mixing, ct.delays_samples(mixing, SAMPLE_RATE_HZ))
    return np.asarray(spots)


@jax.jit
def magnitudes(track: jax.Array) -> jax.Array:
    """Return the magnitude spectrogram (frames, 2049) of a track (T,), with Seipel's settings."""
    options: dict[str, Any] = dict(frame_length=4096, hop_length=2048, window="hamming")
    return stft.magnitude(stft.stft(track, **options))


def target_by_target(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the gradients -2 R X^T, with residuals R = X - W X, computed target by target."""
    return np.stack([single_target(flat, weights, target) for target in range(len(flat))])


def single_target(flat: np.ndarray, weights: np.ndarray, target: int) -> np.ndarray:
    """Return the gradient for one target, which is one row of the `target_by_target` result."""
    return -2 * (flat @ (flat[target] - weights[target] @ flat))


def all_at_once(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the same gradients as `target_by_target`, computed with two matrix products."""
    residuals = weights @ flat
    np.subtract(flat, residuals, out=residuals)
    return -2 * (residuals @ flat.T)


def in_blocks(flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the same gradients as `target_by_target`, computed block by block.

    The blocks are small enough for the residuals to stay in the caches.
    """
    starts = range(0, flat.shape[1], _BLOCK_VALUES)
    blocks = (all_at_once(flat[:, i : i + _BLOCK_VALUES], weights) for i in starts)
    return functools.reduce(np.add, blocks)


NUMPY_VARIANTS: dict[str, Gradients] = {
    "NumPy, target by target": target_by_target,
    "NumPy, all at once": all_at_once,
    "NumPy, in blocks": in_blocks,
}


def descend(
    flat: np.ndarray, num_frames: int, gradients: Gradients, *, num_steps: int
) -> np.ndarray:
    """Return the weights (J, J) after `num_steps` of Seipel's steps, starting from zero.

    Args:
        flat: scaled magnitudes (J, frames * bins).
        num_frames: number of frames, by which the gradients are divided.
        gradients: one of `NUMPY_VARIANTS`.
        num_steps: number of steps.
    """
    weights = np.zeros((len(flat), len(flat)), flat.dtype)
    velocity = np.zeros_like(weights)
    for step in range(num_steps):
        velocity = 0.8 * velocity + gradients(flat, weights) / num_frames
        weights = np.maximum(weights - np.float32(1e-3 * 0.99**step) * velocity, 0)
        np.fill_diagonal(weights, 0)
    return weights


def deviations(spectrograms: np.ndarray, num_steps: int) -> dict[str, float]:
    """Return the maximum deviation of each variant's weights from ours after `num_steps` steps."""
    num_tracks, num_frames, _ = spectrograms.shape
    gram = np.asarray(ct.gram(spectrograms), np.float64)
    expected = ct.estimate(gram, solver="momentum", max_steps=num_steps, tolerance=0.0)
    scale = np.sqrt(HESSIAN_SCALE / (2 * np.linalg.eigvalsh(gram)[-1]))
    flat = (np.float32(scale) * spectrograms).reshape(num_tracks, -1)
    return {
        name: np.abs(descend(flat, num_frames, gradients, num_steps=num_steps) - expected).max()
        for name, gradients in NUMPY_VARIANTS.items()
    }


def compare_weights(spectrograms: np.ndarray, *, num_rounds: int) -> str:
    """Time all implementations on float32 magnitudes (J, frames, bins); return a table as text."""
    flat = spectrograms.reshape(len(spectrograms), -1)
    on_device = jax.device_put(spectrograms, jax.devices("cpu")[0])
    gram = np.asarray(ct.gram(on_device), np.float64)
    num_steps = int(momentum_descent(gram).num_steps.max())
    weights = np.float32(0.1) * (1 - np.eye(len(flat), dtype=np.float32))
    calls = {
        "NumPy, one target": lambda: single_target(flat, weights, 0),
        **{name: lambda form=form: form(flat, weights) for name, form in NUMPY_VARIANTS.items()},
        "ours, Gram matrix": lambda: ct.gram(on_device).block_until_ready(),
        "ours, momentum": lambda: momentum_descent(gram),
        "ours, nnls": lambda: ct.estimate(gram),
    }
    seconds = timing.alternate(calls, num_rounds=num_rounds, num_warm_up=1)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    totals = {name: num_steps * medians[name] for name in NUMPY_VARIANTS}
    lines = [f"{'implementation':28} {'median':>12} {'minimum':>12}"]
    for name, median in medians.items():
        total = f" per iteration; x {num_steps} = {totals[name]:.1f} s" if name in totals else ""
        lines.append(f"{name:28} {median:10.5f} s {min(seconds[name]):10.5f} s{total}")
    lines.append(f"{num_steps} momentum iterations; NumPy's totals are extrapolated")
    for solver in ("momentum", "nnls"):
        ours = medians["ours, Gram matrix"] + medians[f"ours, {solver}"]
        ratios = ", ".join(f"{name} {total / ours:.0f} x" for name, total in totals.items())
        lines.append(f"Gram matrix and {solver}: {ours:.4f} s; relative to this: {ratios}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "crosstalk",
        arguments,
        tracks=(14, 2, "number of tracks"),
        seconds=(180.0, 1, "length of the recording in seconds"),
        rounds=(3, 1, "number of rounds per implementation, and number of runs on files"),
    )

    spots = make_spots(options.tracks, options.seconds)
    print(f"{options.tracks} tracks, {options.seconds:g} s, {SAMPLE_RATE_HZ} Hz")
    print(timing.environment(("jax", "jaxlib", "numpy")))
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "tracks")
        folder.mkdir()
        for number, spot in enumerate(spots, 1):
            audio.write(folder / f"track {number:02}.wav", spot, SAMPLE_RATE_HZ, subtype="PCM_24")
        outs = [Path(parent, f"run {number}") for number in range(options.rounds)]
        speeds = [debleed(folder, out, progress=False).speed for out in outs]
    runs = ", ".join(f"{speed:.1f}" for speed in speeds)
    print(f"processing files: {runs} x real time (the first run includes compilation)", flush=True)

    spectrograms = np.stack([np.asarray(magnitudes(spot)) for spot in spots])
    del spots
    for name, deviation in deviations(spectrograms, NUM_COMPARED_STEPS).items():
        steps = f"{NUM_COMPARED_STEPS} steps"
        print(f"{name}: weights after {steps} differ from ours by {deviation:.0e}")
    print(compare_weights(spectrograms, num_rounds=options.rounds))


if __name__ == "__main__":
    timing.run(main)
