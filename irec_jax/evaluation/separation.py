"""Estimates of a separator to the numbers of its report, one track at a time.

Beside what a separator gives stand two systems that need none: `mixture`, doing nothing, and
`ideal`, the ideal ratio mask |T| / (|T| + |R|) of target and remainder, an upper bound for what
scales the mixture's amplitudes.

| score | compares |
|---|---|
| `amplitude_sdr_db` | amplitude spectrograms of the mean of the channels, over the whole track |
| `bss_sdr_db` | waveforms, mean of the channels, up to a filter of 512 taps |
| `si_sdr_db` | waveforms, mean of the channels, up to a gain |
| `mdx_sdr_db` | waveforms, all channels, as they are |
| `bss_sir_db` | target against what has leaked of the remainder, within an estimate |

**Silence.** A track whose target is silent throughout has nothing to be compared with: all its
scores are NaN. It is counted and left out of means. Silent segments of other tracks count: what an
estimate holds there is distortion. A track without remainder has an infinite `bss_sir_db`, a silent
estimate one of -inf in `bss_sdr_db` and `si_sdr_db`: such scores are counted, but only the median
takes them in.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp import stft
from irec_jax.frontends import SpectrogramDb
from irec_jax.metrics import amplitude_sdr, bss, mdx_sdr, significance
from irec_jax.metrics.scale_invariant import si_sdr

#: Score to what it is called in tables.
SCORES = {
    "amplitude_sdr_db": "amplitude SDR",
    "bss_sdr_db": "BSS-Eval SDR",
    "si_sdr_db": "SI-SDR",
    "mdx_sdr_db": "MDX SDR",
    "bss_sir_db": "BSS-Eval SIR",
}
#: Systems that need no separator.
MIXTURE, IDEAL = "mixture", "ideal"
#: STFT frames on the device at a time.
_FRAMES_PER_BLOCK = 256


@dataclasses.dataclass(frozen=True)
class TrackEstimates:
    """A track and what a separator made of it.

    Attributes:
        name: of the track.
        mixture: float (T, C), full scale at 1.
        target: (T, C), what is to stay.
        remainder: (T, C), the other stems.
        waveforms: system ('raw', 'post') to its estimate of the target, (T, C). A system without
            a waveform has no scores of waveforms.
        features: system to its estimate, (bins, frames) in the front end's units, one frame per
            hop, ceil(T / hop) in all. Without them the waveform's amplitudes count, which differ:
            not every spectrogram is that of a signal.
        errata: what is known to be wrong with the track, empty for nothing.
    """

    name: str
    mixture: np.ndarray
    target: np.ndarray
    remainder: np.ndarray
    waveforms: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    errata: str = ""

    def __post_init__(self):
        shape = np.shape(self.mixture)
        if len(shape) != 2 or not all(shape):
            raise ValueError(f"{self.name}: mixture has shape {shape}: must be (T, C)")
        signals = {"target": self.target, "remainder": self.remainder, **self.waveforms}
        for name, signal in signals.items():
            if np.shape(signal) != shape:
                raise ValueError(f"{self.name}: {name} {np.shape(signal)}, mixture {shape}")
        if taken := {MIXTURE, IDEAL} & set(self.systems):
            raise ValueError(f"{self.name}: {', '.join(taken)} is no name for a separator's system")

    @property
    def systems(self) -> list[str]:
        """Systems of the separator, in the order given."""
        return list(dict.fromkeys([*self.features, *self.waveforms]))


@dataclasses.dataclass(frozen=True)
class TrackScores:
    """Scores of one track.

    Attributes:
        name: of the track.
        duration_s: of the track.
        silent: whether its target is, throughout; then all scores are NaN.
        errata: of the track.
        scores: system to score (see `SCORES`) to dB; `mixture` first and `ideal` last.
    """

    name: str
    duration_s: float
    silent: bool
    errata: str
    scores: Mapping[str, Mapping[str, float]]


class Example(NamedTuple):
    """Spectrograms of one excerpt, to be drawn side by side.

    Attributes:
        track: its name.
        levels_db: what it is ('mixture', system, 'target') to dB, (bins, frames).
        start_s: of the excerpt within the track.
        frame_s: from one frame to the next.
        bin_hz: from one bin to the next.
    """

    track: str
    levels_db: Mapping[str, np.ndarray]
    start_s: float
    frame_s: float
    bin_hz: float


def score_track(
    track: TrackEstimates, *, frontend: SpectrogramDb, sample_rate_hz: int
) -> TrackScores:
    """Scores of a separator's estimates of one track, and of `mixture` and `ideal`.

    Args:
        track: with its estimates. Four minutes in stereo take a few seconds on two cores.
        frontend: whose amplitudes are compared; its floor is not applied.
        sample_rate_hz: of the track.

    Raises:
        ValueError: features of another number of bins or frames.
    """
    duration_s, systems = len(track.mixture) / sample_rate_hz, [MIXTURE, *track.systems, IDEAL]
    if not np.any(track.target):
        scores = {system: dict.fromkeys(SCORES, float("nan")) for system in systems}
        return TrackScores(track.name, duration_s, True, track.errata, scores)
    spectral = _amplitude_scores(track, frontend)
    sounding = _waveform_scores(track, frontend)
    lacking = dict.fromkeys([name for name in SCORES if name != "amplitude_sdr_db"], float("nan"))
    scores = {
        system: {"amplitude_sdr_db": spectral[system], **sounding.get(system, lacking)}
        for system in systems
    }
    return TrackScores(track.name, duration_s, False, track.errata, scores)


def summarize(tracks: Sequence[TrackScores]) -> dict:
    """Means, standard deviations and tests over tracks, as plain dicts and lists.

    Args:
        tracks: of `score_track`, all with the same systems.

    Returns:
        dict with ``systems``; ``num_tracks`` and ``num_silent``; ``tracks``, a dict per track as
        `TrackScores`; ``summary[system][score]``: ``mean`` and ``sd`` (n - 1) over the
        ``num_tracks`` finite scores, the ``median`` over all but NaN, and ``num_infinite``;
        ``tests[score]``, where there are both `raw` and `post`: raw against post over the tracks
        where both are finite, ``independent`` (Student's, as published) and ``paired``, each with
        ``difference``, ``interval`` (95 %), ``t``, ``df``, ``p_value`` and ``num_tracks``.

    Raises:
        ValueError: no track, or tracks of different systems.
    """
    if not tracks:
        raise ValueError("no track was scored")
    systems = list(tracks[0].scores)
    if any(list(track.scores) != systems for track in tracks):
        raise ValueError("tracks of different systems")

    def of(system: str, score: str) -> np.ndarray:
        return np.array([track.scores[system][score] for track in tracks], np.float64)

    tests = {}
    if {"raw", "post"} <= set(systems):
        tests = {score: _tests(of("raw", score), of("post", score)) for score in SCORES}
    return {
        "systems": systems,
        "num_tracks": len(tracks),
        "num_silent": sum(track.silent for track in tracks),
        "tracks": [dataclasses.asdict(track) for track in tracks],
        "summary": {
            system: {score: _spread(of(system, score)) for score in SCORES} for system in systems
        },
        "tests": {score: found for score, found in tests.items() if found},
    }


def example(
    track: TrackEstimates,
    *,
    frontend: SpectrogramDb,
    sample_rate_hz: int,
    start_s: float = 0.0,
    duration_s: float = 10.0,
) -> Example:
    """Spectrograms in dB of an excerpt: the mixture, every system's estimate, and the target."""
    hop, length = frontend.hop_length, frontend.frame_length
    first = round(start_s * sample_rate_hz / hop)
    last = first + max(1, round(duration_s * sample_rate_hz / hop))
    samples = slice(first * hop, (last - 1) * hop + length)

    def levels_db(waveform: np.ndarray) -> np.ndarray:
        found = amplitudes(np.asarray(waveform)[samples].mean(-1), frontend)[:, : last - first]
        return 20 * np.log10(np.maximum(found, 10 ** (frontend.floor_db / 20)))

    def of_system(system: str) -> np.ndarray:
        if system not in track.features:
            return levels_db(track.waveforms[system])
        features = np.asarray(track.features[system])[:, first:last]
        return np.asarray(frontend.decibels(features))

    shown = {MIXTURE: levels_db(track.mixture)}
    shown |= {system: of_system(system) for system in track.systems}
    shown["target"] = levels_db(track.target)
    return Example(
        track.name, shown, first * hop / sample_rate_hz, hop / sample_rate_hz,
        sample_rate_hz / length,
    )  # fmt: skip


def amplitudes(waveform: np.ndarray, frontend: SpectrogramDb) -> np.ndarray:
    """The front end's amplitudes of a waveform of any length, without its floor.

    Args:
        waveform: float (T,).
        frontend: whose frames and bins they are.

    Returns:
        float32 (num_bins, ceil(T / hop)).
    """
    hop, length = frontend.hop_length, frontend.frame_length
    num_frames = -(-len(waveform) // hop)
    num = _FRAMES_PER_BLOCK
    found = np.empty((frontend.num_bins, num_frames), np.float32)
    for first in range(0, num_frames, num):
        samples = _cut(waveform[None], first * hop, (num - 1) * hop + length)[0]
        last = min(first + num, num_frames)
        found[:, first:last] = _block_amplitudes(samples, _framing(frontend))[
            : frontend.num_bins, : last - first
        ]
    return found


def ideal_waveform(
    mixture: np.ndarray, target: np.ndarray, remainder: np.ndarray, frontend: SpectrogramDb
) -> np.ndarray:
    """The ideal ratio mask on every channel of a mixture, with the mixture's phase.

    Args:
        mixture, target, remainder: float (T, C).
        frontend: whose frame length, hop and window are used, and all bins. Silence lies before
            and after the track, with frames that reach into it, so that every sample has its
            inverse.

    Returns:
        float32 (T, C).
    """
    signals = np.stack([np.asarray(one, np.float32).T for one in (mixture, target, remainder)])
    hop = frontend.hop_length
    # What lies less than a frame from a block's edge is not the same as within the whole.
    margin = -(-frontend.frame_length // hop) * hop
    step = _FRAMES_PER_BLOCK * hop
    found = np.empty(signals.shape[1:], np.float32)
    for first in range(0, signals.shape[-1], step):
        block = _cut(signals, first - margin, step + 2 * margin)
        masked = np.asarray(_block_ideal(block, _framing(frontend)))
        last = min(first + step, signals.shape[-1])
        found[:, first:last] = masked[:, margin : margin + last - first]
    return found.T


def _amplitude_scores(track: TrackEstimates, frontend: SpectrogramDb) -> dict[str, float]:
    mixture, target, remainder = (
        amplitudes(np.asarray(one, np.float32).mean(-1), frontend)
        for one in (track.mixture, track.target, track.remainder)
    )
    found = {MIXTURE: float(amplitude_sdr(target, mixture))}
    ideal = mixture * _ratio_mask(np, target, remainder)
    found[IDEAL] = float(amplitude_sdr(target, ideal))
    for system in track.systems:
        if system in track.features:
            features = np.asarray(track.features[system])
            if features.shape != target.shape:
                raise ValueError(
                    f"{track.name}: features of {system} {features.shape}, not {target.shape}"
                )
            estimate = np.asarray(frontend.amplitudes(features))
        else:
            estimate = amplitudes(np.asarray(track.waveforms[system]).mean(-1), frontend)
        found[system] = float(amplitude_sdr(target, estimate))
    return found


def _waveform_scores(track: TrackEstimates, frontend: SpectrogramDb) -> dict[str, dict]:
    """Scores by system of those that have a waveform."""
    target, remainder, mixture = (
        np.asarray(one, np.float32) for one in (track.target, track.remainder, track.mixture)
    )
    sources, whole = np.stack([target.mean(-1), remainder.mean(-1)]), mixture.mean(-1)
    references = bss.prepare_references(sources)
    ideal = ideal_waveform(mixture, target, remainder, frontend)
    found = {}
    for system, estimate in {MIXTURE: mixture, **track.waveforms, IDEAL: ideal}.items():
        estimate = np.asarray(estimate, np.float32)
        mono = estimate.mean(-1)
        scored = bss.bss_eval(references, np.stack([mono, whole - mono]))
        found[system] = {
            "bss_sdr_db": float(scored.bss_sdr_db[0]),
            "si_sdr_db": float(si_sdr(sources[0], mono)),
            "mdx_sdr_db": float(mdx_sdr(target, estimate)),
            "bss_sir_db": float(scored.bss_sir_db[0]),
        }
    return found


def _spread(values: np.ndarray) -> dict:
    finite, known = values[np.isfinite(values)], values[~np.isnan(values)]
    nan = float("nan")
    return {
        "mean": float(finite.mean()) if len(finite) else nan,
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else nan,
        "median": float(np.median(known)) if len(known) else nan,
        "num_tracks": len(finite),
        "num_infinite": len(known) - len(finite),
    }


def _tests(first: np.ndarray, second: np.ndarray) -> dict:
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return {}
    found = {
        "independent": significance.independent_t_test(first[both], second[both]),
        "paired": significance.paired_t_test(first[both], second[both]),
    }
    num_tracks = int(both.sum())
    return {
        name: {**one._asdict(), "interval": one.interval.tolist(), "num_tracks": num_tracks}
        for name, one in found.items()
    }


def _framing(frontend: SpectrogramDb) -> tuple[int, int, str]:
    return frontend.frame_length, frontend.hop_length, frontend.window


def _cut(signals: np.ndarray, first: int, num_samples: int) -> np.ndarray:
    """Samples from `first` on of signals (..., T), zeros beyond them: (..., num_samples)."""
    cut = np.zeros((*signals.shape[:-1], num_samples), np.float32)
    low, high = max(first, 0), min(first + num_samples, signals.shape[-1])
    cut[..., low - first : high - first] = signals[..., low:high]
    return cut


@functools.partial(jax.jit, static_argnums=1)
def _block_amplitudes(samples: jax.Array, framing: tuple[int, int, str]) -> jax.Array:
    """Amplitudes (bins, frames) of the frames that lie within samples (T,)."""
    length, hop, window = framing
    options = dict(frame_length=length, hop_length=hop, window=window, padding="none")
    return stft.magnitude(stft.stft(samples, **options)).T


@functools.partial(jax.jit, static_argnums=1)
def _block_ideal(signals: jax.Array, framing: tuple[int, int, str]) -> jax.Array:
    """The masked mixture (C, T) of mixture, target and remainder (3, C, T)."""
    length, hop, window = framing
    options = dict(frame_length=length, hop_length=hop, window=window, padding="center")
    mixture, target, remainder = stft.stft(signals, **options)
    mask = _ratio_mask(jnp, stft.magnitude(target), stft.magnitude(remainder))
    return stft.istft(mixture * mask, num_samples=signals.shape[-1], **options)


def _ratio_mask(numpy, target, remainder):
    """|T| / (|T| + |R|); 0 where both are silent."""
    total = target + remainder
    return target / numpy.where(total > 0, total, 1.0)
