"""BSS-Eval (v3, sources, 512 taps) on nine 30-s sources at 44.1 kHz, compared with mir_eval.

    python -m irec_jax.benchmarks.bss [--sources=9] [--seconds=30] [--rounds=5]

The sources are melodies with noisy onsets, decaying partials and a noise floor. The estimates are
filtered sources with crosstalk and noise at levels that differ between sources. mir_eval runs once,
which takes one or two minutes. Our implementation is compiled in a warm-up call and then runs
several times, both from scratch and with prepared references. Below the times, a table lists
mir_eval's lowest and highest scores and our maximum deviation from its scores.
"""

import time
import warnings

import numpy as np

from irec_jax.benchmarks import timing
from irec_jax.errors import UserError
from irec_jax.metrics import bss
from irec_jax.metrics.ratios import LIMIT_DB
from irec_jax.text import plural

OURS = "irec-jax"
REUSED = "irec-jax, prepared references"
PEER = "mir_eval, once"
SAMPLE_RATE_HZ = 44100


def make_sources(num_sources: int, seconds: float) -> np.ndarray:
    """Return melodies in different registers as float32 (num_sources, T), with peaks below 1."""
    rng = np.random.default_rng(0)
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    sources = 1e-4 * rng.standard_normal((num_sources, num_samples))
    for source, octave in zip(sources, np.linspace(0, 4, num_sources), strict=True):
        start = int(rng.integers(SAMPLE_RATE_HZ // 2))
        while start < num_samples:
            length = int(rng.integers(SAMPLE_RATE_HZ // 8, SAMPLE_RATE_HZ))
            pitch_hz = 55 * 2 ** (octave + rng.choice([0, 2, 3, 5, 7, 8, 10]) / 12)
            note = make_note(rng, pitch_hz, min(length, num_samples - start))
            source[start : start + len(note)] += rng.uniform(0.2, 1) * note
            start += length
    sources[:, -441:] *= np.linspace(1, 0, 441)  # prevents clicks at the end after filtering
    return (0.9 * sources / np.abs(sources).max(-1, keepdims=True)).astype(np.float32)


def make_note(rng: np.random.Generator, pitch_hz: float, num_samples: int) -> np.ndarray:
    """Synthesise a noise burst and partials up to 18 kHz; high partials are softer and shorter."""
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    note = 0.3 * rng.standard_normal(num_samples) * np.exp(-80 * time_s)
    for partial in range(1, min(20, int(18000 / pitch_hz)) + 1):
        phase = 2 * np.pi * (partial * pitch_hz * time_s + rng.uniform())
        note += np.sin(phase) / partial * np.exp(-(1 + partial) * time_s)
    return note


def make_estimates(sources: np.ndarray) -> np.ndarray:
    """Return filtered sources with crosstalk and noise at -10 to -80 dB as float32 (J, T)."""
    rng = np.random.default_rng(1)
    levels = 10 ** (-np.linspace(10, 80, len(sources))[:, None] / 20)
    filtered = np.stack([np.convolve(source, [0.8, 0.3, -0.1])[:-2] for source in sources])
    crosstalk = (rng.uniform(size=(len(sources),) * 2) * (1 - np.eye(len(sources)))) @ sources
    noise = sources.std() * rng.standard_normal(sources.shape)
    return (filtered + levels * (crosstalk + 0.3 * noise)).astype(np.float32)


def mir_eval_scores(sources: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Return mir_eval's SDR, SIR and SAR in dB (3, J); requires a mir_eval version before 0.9."""
    separation = timing.import_peer("mir_eval.separation")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "mir_eval.separation", FutureWarning)  # removed in 0.9
        return np.stack(separation.bss_eval_sources(sources, estimates, False)[:3])


def deviation_db(scores: np.ndarray, expected: np.ndarray) -> float:
    """Return the maximum deviation from expected scores below `LIMIT_DB`.

    At higher expected scores, rounding dominates.
    """
    scores, expected = np.asarray(scores), np.asarray(expected)
    below = expected < LIMIT_DB
    return float(np.abs(scores[below] - expected[below]).max(initial=0.0))


def main(arguments: list[str]) -> None:
    options = timing.parse_options(
        "bss",
        arguments,
        sources=(9, 1, "number of sources"),
        seconds=(30.0, 0.1, "length of each source in seconds"),
        rounds=(5, 1, "number of rounds for our implementation"),
    )
    if options.seconds > 600:
        raise UserError(f"--seconds={options.seconds}: expected 600 or less")

    sources = make_sources(options.sources, options.seconds)
    estimates = make_estimates(sources)
    prepared = bss.prepare_references(sources)
    calls = {
        OURS: lambda: bss.bss_eval_sources(sources, estimates),
        REUSED: lambda: bss.bss_eval(prepared, estimates),
    }
    seconds = timing.alternate(calls, num_rounds=options.rounds, num_warm_up=1)
    start = time.perf_counter()
    expected = mir_eval_scores(sources, estimates)
    seconds[PEER] = [time.perf_counter() - start]

    size = f"{len(sources)} x {sources.shape[1]} samples"
    print(f"BSS-Eval of {size}, {plural(options.rounds, 'round')}")
    print(timing.environment(("jax", "jaxlib", "numpy", "scipy", "mir_eval")))
    print(timing.table(seconds, ours=OURS))
    print("score in dB: mir_eval's minimum and maximum, our maximum deviation from mir_eval")
    scores = bss.bss_eval_sources(sources, estimates)
    for name, ours, theirs in zip(("SDR", "SIR", "SAR"), scores, expected, strict=True):
        deviation = deviation_db(ours, theirs)
        print(f"{name} {theirs.min():8.2f} {theirs.max():8.2f} {deviation:10.1e}")


if __name__ == "__main__":
    timing.run(main)
