"""Evaluation of a separator's estimates, one track at a time.

Two systems that need no separator are scored for comparison: `mixture`, the mixture itself, and
`ideal`, the mixture multiplied by the ideal ratio mask |T| / (|T| + |R|), where T and R are the
spectrograms of the target and the remainder. `ideal` serves as an upper bound for systems that
scale the mixture's amplitudes.

| score | compares |
|---|---|
| `amplitude_sdr_db` | amplitude spectrograms of the mono mixdown, over the entire track |
| `bss_sdr_db` | mono waveforms, up to a filter of 512 taps |
| `si_sdr_db` | mono waveforms, up to a gain |
| `mdx_sdr_db` | waveforms of all channels, sample by sample |
| `bss_sir_db` | mono waveforms: target in the estimate against leakage from the remainder |

**Silence.** If the target of a track is silent throughout, there is no reference to compare with,
and all scores are NaN. Such tracks are counted but excluded from the means. In other tracks, silent
segments are scored as well, and any sound that an estimate contains there counts as distortion. The
`bss_sir_db` of a track without a remainder is +inf, and the `bss_sdr_db` and `si_sdr_db` of a
silent estimate are -inf. Infinite scores are counted, and are included in the median but not in the
mean.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax.dsp import stft
from irec_jax.frontends import SpectrogramDb
from irec_jax.metrics import amplitude_sdr, bss, mdx_sdr, significance
from irec_jax.metrics.scale_invariant import si_sdr

#: Scores and their names in tables.
SCORES = {
    "amplitude_sdr_db": "amplitude SDR",
    "bss_sdr_db": "BSS-Eval SDR",
    "si_sdr_db": "SI-SDR",
    "mdx_sdr_db": "MDX SDR",
    "bss_sir_db": "BSS-Eval SIR",
}
#: Systems that need no separator; see the module docstring.
MIXTURE, IDEAL = "mixture", "ideal"
#: STFT frames per call on the device.
_FRAMES_PER_BLOCK = 256


@dataclasses.dataclass(frozen=True)
class TrackEstimates:
    """Track with a separator's estimates of its target.

    Attributes:
        name: name of the track.
        mixture: float (T, C), full scale at 1.
        target: (T, C), the sum of the stems to keep, which is the reference.
        remainder: (T, C), the sum of the other stems.
        waveforms: estimated target (T, C) by system ('raw', 'post'). The waveform scores of systems
            without a waveform are NaN.
        features: estimated target by system, (bins, ceil(T / hop)) in the front end's units. For a
            system without features, the amplitudes of its waveform are scored instead.
            Features and waveform amplitudes are not equivalent, because not every array of
            amplitudes is the spectrogram of a signal.
        errata: known errors in the track; empty if there are none.
        window_samples: length of the adjacent windows for which the features were computed
            separately, with zero padding at the end of each window; a multiple of the hop. The
            reference is split in the same way. None if the features were computed for the entire
            track.
    """

    name: str
    mixture: np.ndarray
    target: np.ndarray
    remainder: np.ndarray
    waveforms: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    errata: str = ""
    window_samples: int | None = None

    def __post_init__(self):
        shape = np.shape(self.mixture)
        if len(shape) != 2 or not all(shape):
            raise ValueError(f"{self.name}: mixture has shape {shape}; expected (T, C)")
        signals = {"target": self.target, "remainder": self.remainder, **self.waveforms}
        for name, signal in signals.items():
            if (own := np.shape(signal)) != shape:
                raise ValueError(
                    f"{self.name}: {name} has shape {own}; expected {shape}, as for the mixture"
                )
        if reserved := {MIXTURE, IDEAL} & set(self.systems):
            raise ValueError(f"{self.name}: the system name {', '.join(reserved)} is reserved")

    @property
    def systems(self) -> list[str]:
        """Names of the systems that have estimates, in the order given."""
        return list(dict.fromkeys([*self.features, *self.waveforms]))


@dataclasses.dataclass(frozen=True)
class TrackScores:
    """Scores of one track.

    Attributes:
        name: name of the track.
        duration_s: duration of the track.
        silent: whether the target is silent throughout, in which case all scores are NaN.
        errata: known errors in the track.
        scores: for each system, the scores in dB by name (see `SCORES`); `mixture` comes first and
            `ideal` last.
        post_variants: amplitude SDR in dB of each postprocessing variant; NaN if the target is
            silent.
    """

    name: str
    duration_s: float
    silent: bool
    errata: str
    scores: Mapping[str, Mapping[str, float]]
    post_variants: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Example(NamedTuple):
    """Spectrograms of an excerpt from a track.

    Attributes:
        track: name of the track.
        levels_db: spectrograms in dB, (bins, frames), by name: 'mixture', each system and 'target'.
        start_s: start of the excerpt within the track.
        frame_s: time between consecutive frames.
        bin_hz: spacing of the bins.
    """

    track: str
    levels_db: Mapping[str, np.ndarray]
    start_s: float
    frame_s: float
    bin_hz: float


def score_track(
    track: TrackEstimates,
    *,
    frontend: SpectrogramDb,
    sample_rate_hz: int,
    post_variants: Mapping[str, Callable[[np.ndarray], np.ndarray]] = types.MappingProxyType({}),
) -> TrackScores:
    """Score the estimates of one track, along with `mixture` and `ideal`.

    Four minutes of stereo audio take a few seconds on two cores.

    Args:
        track: the track with its estimates.
        frontend: front end that defines the amplitude spectrograms; its floor is not applied.
        sample_rate_hz: sample rate of the track.
        post_variants: postprocessing functions by name; each is applied to the `raw` features, and
            the result is scored.

    Raises:
        ValueError: features have the wrong number of bins or frames.
    """
    duration_s, systems = len(track.mixture) / sample_rate_hz, [MIXTURE, *track.systems, IDEAL]
    if not np.any(track.target):
        scores = {system: dict.fromkeys(SCORES, float("nan")) for system in systems}
        variants = dict.fromkeys(post_variants, float("nan"))
        return TrackScores(track.name, duration_s, True, track.errata, scores, variants)
    amplitude_scores, variants = _amplitude_scores(track, frontend, post_variants)
    waveform_scores = _waveform_scores(track, frontend)
    scores = {}
    for system in systems:
        scores[system] = dict.fromkeys(SCORES, float("nan")) | waveform_scores.get(system, {})
        scores[system]["amplitude_sdr_db"] = amplitude_scores[system]
    return TrackScores(track.name, duration_s, False, track.errata, scores, variants)


def summarize(tracks: Sequence[TrackScores]) -> dict:
    """Compute means, standard deviations and t-tests over tracks, as plain dicts and lists.

    Args:
        tracks: results of `score_track`, all with the same systems.

    Returns:
        dict:

        - ``systems``: names of the systems.
        - ``num_tracks``, ``num_silent``: number of tracks, and of those with a silent target.
        - ``tracks``: one dict per track with the fields of `TrackScores`.
        - ``summary[system][score]``: ``mean`` and ``sd`` (n - 1) of the ``num_tracks`` finite
          scores, ``median`` of all scores except NaN, and ``num_infinite``.
        - ``tests[score]``, if there are both `raw` and `post`: two t-tests of `raw` against `post`
          on the tracks for which both scores are finite, ``independent`` (Student's, as in
          Ligtenberg 2022) and ``paired``. Each has ``difference``, ``interval`` (95 %), ``t``,
          ``df``, ``p_value`` and ``num_tracks``.
        - ``post_variants``: for each postprocessing variant, the same summary of its amplitude SDR
          and a ``paired`` test against `raw`.

    Raises:
        ValueError: there are no tracks, or the tracks have different systems.
    """
    if not tracks:
        raise ValueError("tracks: expected at least one")
    systems = list(tracks[0].scores)
    if any(list(track.scores) != systems for track in tracks):
        raise ValueError("tracks: expected the same systems for every track")

    def values(system: str, score: str) -> np.ndarray:
        return np.array([track.scores[system][score] for track in tracks], np.float64)

    tests = {}
    if {"raw", "post"} <= set(systems):
        tests = {score: _t_tests(values("raw", score), values("post", score)) for score in SCORES}
    return {
        "systems": systems,
        "num_tracks": len(tracks),
        "num_silent": sum(track.silent for track in tracks),
        "tracks": [dataclasses.asdict(track) for track in tracks],
        "summary": {
            system: {score: _spread(values(system, score)) for score in SCORES}
            for system in systems
        },
        "tests": {score: results for score, results in tests.items() if results},
        "post_variants": {
            name: _summarize_variant(
                values("raw", "amplitude_sdr_db"),
                np.array([track.post_variants[name] for track in tracks], np.float64),
            )
            for name in tracks[0].post_variants
        },
    }


def example(
    track: TrackEstimates,
    *,
    frontend: SpectrogramDb,
    sample_rate_hz: int,
    start_s: float = 0.0,
    duration_s: float = 10.0,
) -> Example:
    """Return an excerpt's dB spectrograms: the mixture, each estimate and the target."""
    hop, length = frontend.hop_length, frontend.frame_length
    first = round(start_s * sample_rate_hz / hop)
    last = first + max(1, round(duration_s * sample_rate_hz / hop))
    samples = slice(first * hop, (last - 1) * hop + length)

    def levels_db(waveform: np.ndarray) -> np.ndarray:
        spectrogram = amplitudes(np.asarray(waveform)[samples].mean(-1), frontend)
        floor = 10 ** (frontend.floor_db / 20)
        return 20 * np.log10(np.maximum(spectrogram[:, : last - first], floor))

    def estimate_db(system: str) -> np.ndarray:
        if system not in track.features:
            return levels_db(track.waveforms[system])
        features = np.asarray(track.features[system])[:, first:last]
        return np.asarray(frontend.decibels(features))

    spectrograms = {MIXTURE: levels_db(track.mixture)}
    spectrograms |= {system: estimate_db(system) for system in track.systems}
    spectrograms["target"] = levels_db(track.target)
    start_s, frame_s = first * hop / sample_rate_hz, hop / sample_rate_hz
    return Example(track.name, spectrograms, start_s, frame_s, sample_rate_hz / length)


def amplitudes(
    waveform: np.ndarray, frontend: SpectrogramDb, window_samples: int | None = None
) -> np.ndarray:
    """Return the amplitude spectrogram of a waveform of any length, without the front end's floor.

    Args:
        waveform: float (T,).
        frontend: front end that defines frames and bins.
        window_samples: see `TrackEstimates`.

    Returns:
        float32 (num_bins, ceil(T / hop)).
    """
    hop, length = frontend.hop_length, frontend.frame_length
    num_frames = -(-len(waveform) // hop)
    if window_samples:
        windows = [
            amplitudes(_segment(waveform, first, window_samples), frontend)
            for first in range(0, len(waveform), window_samples)
        ]
        return np.concatenate(windows, axis=1)[:, :num_frames]
    spectrogram = np.empty((frontend.num_bins, num_frames), np.float32)
    for first in range(0, num_frames, _FRAMES_PER_BLOCK):
        samples = _segment(waveform, first * hop, (_FRAMES_PER_BLOCK - 1) * hop + length)
        last = min(first + _FRAMES_PER_BLOCK, num_frames)
        block = _block_amplitudes(samples, frontend)
        spectrogram[:, first:last] = block[: frontend.num_bins, : last - first]
    return spectrogram


def ideal_estimate(
    mixture: np.ndarray, target: np.ndarray, remainder: np.ndarray, frontend: SpectrogramDb
) -> np.ndarray:
    """Apply the ideal ratio mask to every channel of a mixture, keeping the mixture's phase.

    Args:
        mixture, target, remainder: float (T, C).
        frontend: front end whose frame length, hop length and window are used; the mask covers all
            bins. The track is padded with silence at both ends so that every sample can be
            reconstructed.

    Returns:
        float32 (T, C).
    """
    signals = np.stack([mixture, target, remainder], dtype=np.float32).swapaxes(1, 2)
    hop = frontend.hop_length
    # Results within one frame of a block's edge differ from the results for the entire track and
    # are discarded.
    margin = -(-frontend.frame_length // hop) * hop
    step = _FRAMES_PER_BLOCK * hop
    estimate = np.empty(signals.shape[1:], np.float32)
    for first in range(0, signals.shape[-1], step):
        block = _segment(signals, first - margin, step + 2 * margin)
        masked = np.asarray(_block_ideal(block, frontend))
        last = min(first + step, signals.shape[-1])
        estimate[:, first:last] = masked[:, margin : margin + last - first]
    return estimate.T


def _amplitude_scores(
    track: TrackEstimates, frontend: SpectrogramDb, post_variants: Mapping[str, Callable]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the amplitude SDR in dB of every system and every postprocessing variant."""
    mixture, target, remainder = (
        amplitudes(np.asarray(signal, np.float32).mean(-1), frontend, track.window_samples)
        for signal in (track.mixture, track.target, track.remainder)
    )

    def score(estimate: np.ndarray) -> float:
        return float(amplitude_sdr(target, estimate))

    def score_features(features: np.ndarray) -> float:
        return score(np.asarray(frontend.amplitudes(features)))

    ideal = mixture * _ratio_mask(np, target, remainder)
    scores = {MIXTURE: score(mixture), IDEAL: score(ideal)}
    for system in track.systems:
        if system not in track.features:
            waveform = np.asarray(track.waveforms[system]).mean(-1)
            scores[system] = score(amplitudes(waveform, frontend, track.window_samples))
            continue
        features = np.asarray(track.features[system])
        if features.shape != target.shape:
            raise ValueError(
                f"{track.name}: features of {system} have shape {features.shape}; expected "
                f"{target.shape}"
            )
        scores[system] = score_features(features)
    variants = {
        name: score_features(change(np.asarray(track.features["raw"])))
        for name, change in post_variants.items()
    }
    return scores, variants


def _waveform_scores(track: TrackEstimates, frontend: SpectrogramDb) -> dict[str, dict]:
    """Return the waveform scores in dB of every system that has a waveform."""
    target, remainder, mixture = (
        np.asarray(signal, np.float32) for signal in (track.target, track.remainder, track.mixture)
    )
    mono_target, mono_mixture = target.mean(-1), mixture.mean(-1)
    references = bss.prepare_references(np.stack([mono_target, remainder.mean(-1)]))
    ideal = ideal_estimate(mixture, target, remainder, frontend)
    scores = {}
    for system, estimate in {MIXTURE: mixture, **track.waveforms, IDEAL: ideal}.items():
        estimate = np.asarray(estimate, np.float32)
        mono = estimate.mean(-1)
        bss_scores = bss.bss_eval(references, np.stack([mono, mono_mixture - mono]))
        scores[system] = {
            "bss_sdr_db": float(bss_scores.bss_sdr_db[0]),
            "si_sdr_db": float(si_sdr(mono_target, mono)),
            "mdx_sdr_db": float(mdx_sdr(target, estimate)),
            "bss_sir_db": float(bss_scores.bss_sir_db[0]),
        }
    return scores


def _spread(values: np.ndarray) -> dict:
    """Return the mean, standard deviation and median of scores (N,); see `summarize`."""
    finite, known = values[np.isfinite(values)], values[~np.isnan(values)]
    nan = float("nan")
    return {
        "mean": float(finite.mean()) if len(finite) else nan,
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else nan,
        "median": float(np.median(known)) if len(known) else nan,
        "num_tracks": len(finite),
        "num_infinite": len(known) - len(finite),
    }


def _summarize_variant(raw: np.ndarray, variant: np.ndarray) -> dict:
    """Summarise the scores of a variant, with a paired test against `raw` if it is defined."""
    tests = _t_tests(variant, raw)
    return _spread(variant) | {key: tests[key] for key in ("paired",) if key in tests}


def _t_tests(first: np.ndarray, second: np.ndarray) -> dict:
    """Compare two systems with t-tests over the tracks; see `summarize`."""
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return {}
    tests = {
        "independent": significance.independent_t_test(first[both], second[both]),
        "paired": significance.paired_t_test(first[both], second[both]),
    }
    num_tracks = int(both.sum())
    return {
        name: {**test._asdict(), "interval": test.interval.tolist(), "num_tracks": num_tracks}
        for name, test in tests.items()
    }


def _segment(signals: np.ndarray, first: int, num_samples: int) -> np.ndarray:
    """Return `num_samples` samples of signals (..., T), starting at `first` and zero-padded."""
    segment = np.zeros((*signals.shape[:-1], num_samples), np.float32)
    low, high = max(first, 0), min(first + num_samples, signals.shape[-1])
    segment[..., low - first : high - first] = signals[..., low:high]
    return segment


@functools.partial(jax.jit, static_argnums=1)
def _block_amplitudes(samples: jax.Array, frontend: SpectrogramDb) -> jax.Array:
    """Return the amplitudes (bins, frames) of all complete frames in a signal (T,)."""
    framing = dict(frontend.framing, padding="none")
    return stft.magnitude(stft.stft(samples, **framing)).T


@functools.partial(jax.jit, static_argnums=1)
def _block_ideal(signals: jax.Array, frontend: SpectrogramDb) -> jax.Array:
    """Return the masked mixture (C, T), given the mixture, target and remainder (3, C, T)."""
    framing = dict(frontend.framing, padding="center")
    mixture, target, remainder = stft.stft(signals, **framing)
    mask = _ratio_mask(jnp, stft.magnitude(target), stft.magnitude(remainder))
    return stft.istft(mixture * mask, num_samples=signals.shape[-1], **framing)


def _ratio_mask(numpy, target, remainder):
    """Return the mask |T| / (|T| + |R|), which is 0 where target and remainder are silent."""
    total = target + remainder
    return target / numpy.where(total > 0, total, 1.0)
