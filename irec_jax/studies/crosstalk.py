"""Reduction of simulated crosstalk: tables 3.3 to 3.6 of Seipel (2018).

The dry tracks of each piece are mixed as in section 3.3.1, with a random symmetric mixing matrix A,
crosstalk of at most -6, -12 or -18 dB, and delays derived from distances. Each method is scored by
the correlation of A^-1 with I - L, where L holds the estimated crosstalk weights; by BSS-Eval
(version 3, 512 taps) with the dry tracks as references (in a room, the sources as picked up by
their own microphones); and by the log kurtosis ratio of the residual crosstalk in pauses, a measure
of musical noise. Each method uses the same settings for all levels and pieces:

- `aligned`: the default `irec_jax.crosstalk.Settings`, which subtract the direct sound with its
  phase and reduce the remainder with a soft mask; they were chosen on the training pieces of
  `gm_multitrack`;
- `source`: Seipel's method, gradient descent with momentum and subtraction of magnitudes;
- `source_nnls`: Seipel's method with the exact solver;
- `wiener`: a Wiener filter as in KAMIR;
- `aligned_mmse`, `source_mmse`: `aligned` and `source` with Ephraim-Malah suppression;
- `aligned_smooth`, `source_smooth`: `aligned` and `source` with gains averaged over time.

Seipel's solver is also started from random weights; a figure shows how closely the descents
approach the exact minimum (section 3.4).
"""

import argparse
import dataclasses
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from irec_jax import crosstalk, registry
from irec_jax.crosstalk.estimate import momentum_descent
from irec_jax.crosstalk.wiener import wiener
from irec_jax.data import Piece, Pieces, load_pieces
from irec_jax.data.options import is_rendered
from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json
from irec_jax.metrics import bss
from irec_jax.metrics.musical_noise import musical_noise
from irec_jax.reports import crosstalk_figures, provenance
from irec_jax.studies import crosstalk_tables, options, runs
from irec_jax.studies.published.seipel import LEVELS_DB

SEIPEL = crosstalk.Settings(align=False, method="subtraction", solver="momentum")
SETTINGS = {
    "aligned": crosstalk.Settings(),
    "source": SEIPEL,
    "source_nnls": crosstalk.Settings(align=False, method="subtraction"),
    "aligned_mmse": crosstalk.Settings(method="mmse"),
    "source_mmse": dataclasses.replace(SEIPEL, method="mmse"),
    "aligned_smooth": crosstalk.Settings(smoothing_s=0.1),
    "source_smooth": dataclasses.replace(SEIPEL, smoothing_s=0.1),
}
METHODS = options.CROSSTALK_METHODS
_TRANSFORM: dict[str, Any] = dict(
    frame_length=SEIPEL.frame_length, hop_length=SEIPEL.hop_length, window=SEIPEL.window
)
# A frame counts as silent if its power, relative to the loudest frame, is below this value.
_SILENCE = 1e-6
#: Number of random starts of Seipel's solver, and the numbers of steps shown in the figure.
NUM_RESTARTS = 10
RESTART_STEPS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study crosstalk` and return its exit code."""
    methods = tuple(registry.split_names(arguments.methods, "--methods"))
    for method in methods:
        runs.check_choice("methods", method, METHODS)
    if not 0 <= arguments.decay_s <= 20:
        raise UserError(f"--decay-s {arguments.decay_s}: expected 0 to 20 s")
    if not arguments.max_s > 0:
        raise UserError(f"--max-s {arguments.max_s}: expected a positive number of seconds")
    rendered = is_rendered(arguments.dataset)
    # The paper uses the four PHENICX pieces without splitting them.
    split = arguments.split or ("test" if rendered else "all")
    sums_players = arguments.sum_players
    if sums_players is None:
        sums_players = not rendered and arguments.layout == "phenicx"
    dataset, indices = _load(arguments, split, sums_players=sums_players)
    options = {name: getattr(arguments, name) for name in ("max_s", "decay_s", "seed")}
    described = {name: repr(SETTINGS.get(name, name)) for name in methods}
    settings = {"dataset": dataset.full_name, **options, "methods": described}
    if sums_players:
        settings["sum_players"] = True
    study = runs.Study(arguments, settings)

    def read(index: int) -> Piece:
        return sum_players(dataset[index]) if sums_players else dataset[index]

    names = {index: dataset.names[index] for index in indices}
    pieces = _study_pieces(names, read, study.workdir / "pieces", methods=methods, **options)
    if not pieces:
        raise UserError(
            f"{dataset.full_name}: has no dry tracks to compare with; choose another --dataset"
        )
    first = dataset.names.index(next(iter(pieces)))
    name, version = dataset.full_name.split(":")
    builder, config = name.split("/", 1)
    report = {
        "rendered": dataset.rendered,
        "settings": settings,
        "pieces": pieces,
        "provenance": provenance.collect(
            dataset=builder,
            version=version,
            config=config,
            split=split,
            seed=arguments.seed,
            durations_s={"study": time.monotonic() - study.began},
        ),
    }
    # The file names include the piece name, because the workdir may cover several splits.
    stem = dataset.names[first].replace("/", "_")
    picture, restarts = f"example-{stem}.png", f"restarts-{stem}.png"
    figures, drawn = {}, {name: (study.workdir / name).exists() for name in (picture, restarts)}
    if not all(drawn.values()):
        example = read(first)
        if not drawn[picture]:
            figures[picture] = draw_example(example, methods=methods, **options)
        if not drawn[restarts]:
            figures[restarts] = draw_restarts(example, **options)
    page = crosstalk_tables.markdown_page(report, picture, restarts)
    return study.finish(report, page, figures, print_page=True)


def _study_pieces(
    names: Mapping[int, str], read: Callable[[int], Piece], folder: Path, **options: Any
) -> dict[str, dict]:
    """Return the scores of pieces by name.

    The scores are cached in the folder, one file per piece. Pieces without dry tracks are skipped.

    Args:
        names: names of the pieces by index.
        read: function that returns the piece with an index.
        folder: folder for the scores.
        options: passed to `study_piece`.
    """
    began, num_done, scores = time.monotonic(), 0, {}
    for num_left, (index, name) in zip(reversed(range(len(names))), names.items(), strict=True):
        file = folder / f"{name.replace('/', '_')}.json"
        if file.exists():
            scores[name] = read_json(file)
            continue
        piece = read(index)
        if piece.stems is None:
            print(f"{name}: skipped, because its tracks are not dry", flush=True)
            continue
        scores[name] = study_piece(piece, **options)
        write_json(file, scores[name])
        num_done += 1
        piece_s = (time.monotonic() - began) / num_done
        progress = f"{piece_s:.0f} s per piece, {piece_s * num_left:.0f} s left"
        print(f"{name}: {len(piece.tracks)} tracks, {progress}", flush=True)
    return scores


def study_piece(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float = 0.0) -> dict:
    """Score all methods on one piece at all crosstalk levels.

    Args:
        piece: a piece with dry tracks.
        methods: method names from `METHODS`.
        seed: seed for the mixing matrices.
        max_s: maximum duration in seconds, from the start of the piece.
        decay_s: reverberation time of the room in seconds, 0 for a free field. In a room, the
            references are the sources as picked up by their own microphones.

    Returns:
        dict: ``num_tracks``; ``duration_s``; ``levels``, the scores by level (in dB, as text) and
        then by method or ``mixture``; and ``restarts``, the result of `_compare_restarts` at the
        first level. The scores are ``sdr``, ``sir`` and ``sar`` (means in dB over the tracks with
        finite values) and ``num_silent`` (number of silent estimates). Methods also have
        ``sdr_gain``, ``sir_gain``, ``correlation`` and ``correlation_off_diagonal`` (None if
        undefined, as for methods without a demixing matrix), and ``log_kurtosis_ratio`` and
        ``attenuation`` in dB, measured in pauses (see `metrics.musical_noise`).

    Raises:
        UserError: fewer than two tracks are audible.
    """
    stems, _ = _active_tracks(piece, max_s)
    references, levels, restarts, pauses = None, {}, {}, []
    for level_db in LEVELS_DB:
        spots, own, mixing = simulate(piece, stems, level_db, seed=seed, decay_s=decay_s)
        if references is None:  # the same at all levels, apart from a gain
            references = bss.prepare_references(own)
            pauses = [_is_silent(track) for track in own]
            restarts = _compare_restarts(spots, seed=seed)
        mixture = bss.bss_eval(references, spots)
        by_method = levels[str(level_db)] = {"mixture": _means(mixture)}
        for method in methods:
            reduced, inverse = _reduce(method, spots, piece.sample_rate_hz)
            scores = bss.bss_eval(references, reduced)
            by_method[method] = {
                **_means(scores),
                "sdr_gain": _mean(scores.bss_sdr_db - mixture.bss_sdr_db),
                "sir_gain": _mean(scores.bss_sir_db - mixture.bss_sir_db),
                **_correlations(mixing, inverse),
                **_musical_noise(spots, reduced, pauses),
            }
    duration_s = stems.shape[1] / piece.sample_rate_hz
    sizes = {"num_tracks": len(stems), "duration_s": duration_s}
    return {**sizes, "levels": levels, "restarts": restarts}


def descend_from_random_weights(
    gram: np.ndarray, *, seed: int, max_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Run Seipel's solver from zero weights and from weights drawn uniformly between 0 and 1.

    Args:
        gram: Gram matrix (J, J).
        seed: seed for the random weights.
        max_steps: maximum number of steps.

    Returns:
        The final weights of all runs (1 + `NUM_RESTARTS`, J, J), and the relative excess of the
        cost Theta over the exact minimum, for every run and target (1 + `NUM_RESTARTS`, J).
    """
    rng = np.random.default_rng(seed)
    initial = rng.random((1 + NUM_RESTARTS, *gram.shape)) * (1 - np.eye(len(gram)))
    initial[0] = 0
    grams = np.broadcast_to(gram, initial.shape)
    weights = momentum_descent(grams, initial=initial, max_steps=max_steps).weights
    # The lower bound avoids a division by zero for tracks that the other tracks explain exactly.
    minimum = np.maximum(crosstalk.cost(gram, crosstalk.estimate(gram)), 1e-12 * np.diag(gram))
    return weights, crosstalk.cost(grams, weights) / minimum - 1


def _compare_restarts(spots: np.ndarray, *, seed: int) -> dict[str, float]:
    """Compare the results of descents from zero and random weights with the exact minimum.

    Returns:
        dict: ``cost_excess``, the maximum relative excess of the cost Theta over runs and targets,
        and ``weight_difference``, the maximum absolute difference in any weight.
    """
    gram = _gram(spots)
    weights, excess = descend_from_random_weights(gram, seed=seed, max_steps=RESTART_STEPS[-1])
    differences = np.abs(weights - crosstalk.estimate(gram))
    return {"cost_excess": float(excess.max()), "weight_difference": float(differences.max())}


def draw_restarts(piece: Piece, *, seed: int, max_s: float, decay_s: float) -> Figure:
    """Draw descents from zero and random weights at the first crosstalk level (section 3.4)."""
    stems, _ = _active_tracks(piece, max_s)
    spots, _, _ = simulate(piece, stems, LEVELS_DB[0], seed=seed, decay_s=decay_s)
    gram = _gram(spots)
    runs = [descend_from_random_weights(gram, seed=seed, max_steps=n) for n in RESTART_STEPS]
    off_diagonal = ~np.eye(len(gram), dtype=bool)
    return crosstalk_figures.restarts(
        RESTART_STEPS,
        np.stack([excess.max(-1) for _, excess in runs], axis=1),
        crosstalk.estimate(gram)[off_diagonal],
        runs[-1][0][:, off_diagonal],
        title=f"{piece.name} at {LEVELS_DB[0]} dB: descents from zero and random weights",
    )


def draw_example(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float) -> Figure:
    """Draw A^-1, its estimates, and a track (dry, mixed, reduced) at the first crosstalk level."""
    stems, names = _active_tracks(piece, max_s)
    spots, own, mixing = simulate(piece, stems, LEVELS_DB[0], seed=seed, decay_s=decay_s)
    # The track with the most crosstalk.
    track = int(np.argmin(np.square(own).sum(1) / np.square(spots).sum(1)))
    inverses = {"A⁻¹": np.linalg.inv(mixing)}
    waveforms = {"dry": own[track], "mixed": spots[track]}
    for method in methods:
        reduced, inverse = _reduce(method, spots, piece.sample_rate_hz)
        waveforms[crosstalk_tables.NAMES[method]] = reduced[track]
        if inverse is not None and not crosstalk_tables.repeats_estimate(method, methods):
            inverses[crosstalk_tables.NAMES[method]] = inverse
    return crosstalk_figures.example(
        names,
        inverses,
        {name: np.asarray(_magnitudes(waveform)) for name, waveform in waveforms.items()},
        title=f"{piece.name}: {names[track]} at {LEVELS_DB[0]} dB",
        sample_rate_hz=piece.sample_rate_hz,
        duration_s=stems.shape[1] / piece.sample_rate_hz,
    )


def _active_tracks(piece: Piece, max_s: float) -> tuple[np.ndarray, list[str]]:
    """Return the dry tracks (J, T) that are not silent throughout the excerpt, and their names."""
    if piece.stems is None:
        raise UserError(
            f"{piece.name}: has no dry tracks to compare with; choose another --dataset"
        )
    num_samples = round(min(max_s * piece.sample_rate_hz, piece.stems.shape[1]))
    stems = piece.stems[:, : max(1, num_samples)]
    active = np.flatnonzero(np.abs(stems).max(1) > 0)
    if len(active) < 2:
        raise UserError(
            f"{piece.name}: fewer than two tracks are active in the first {max_s} s; raise --max-s"
        )
    return stems[active], [piece.tracks[j] for j in active]


def simulate(
    piece: Piece, stems: np.ndarray, level_db: int, *, seed: int, decay_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate the spot-microphone signals of a piece.

    Returns:
        Microphone signals (J, T), the contribution of each microphone's own source (J, T), and the
        mixing matrix (J, J).
    """
    # The key is derived from the piece name, so it does not depend on the selection of pieces.
    piece_key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(piece.name.encode()) >> 1)
    key, rate_hz = jax.random.fold_in(piece_key, -level_db), piece.sample_rate_hz
    mixing = crosstalk.draw_mixing(key, len(stems), max_crosstalk=10 ** (level_db / 20))
    delays = crosstalk.delays_samples(mixing, rate_hz)
    if decay_s:
        spots, own = crosstalk.simulate_room(
            piece_key, stems, mixing, delays, decay_s=decay_s, sample_rate_hz=rate_hz
        )
    else:
        spots, gain = crosstalk.simulate(stems, mixing, delays)
        own = gain * stems
    return np.asarray(spots), np.asarray(own), np.asarray(mixing, np.float64)


def sum_players(piece: Piece) -> Piece:
    """Return a piece with one dry track per instrument, the sum of the tracks of its players."""
    names = tuple(dict.fromkeys(piece.instruments))
    stems = piece.stems
    if stems is not None:
        players = np.array(piece.instruments)
        stems = np.stack([stems[players == name].sum(axis=0) for name in names])
    return dataclasses.replace(
        piece, tracks=names, instruments=names, stems=stems, spots=None, mixing=None
    )


def _load(
    arguments: argparse.Namespace, split: str, *, sums_players: bool
) -> tuple[Pieces, list[int]]:
    """Return the dataset and the indices of the pieces with enough tracks."""
    rendered = is_rendered(arguments.dataset)
    options = {
        name: getattr(arguments, name) for name in (("size",) if rendered else ("layout", "path"))
    }
    options |= {name: getattr(arguments, name) for name in ("data_dir", "manual_dir", "format")}
    dataset = load_pieces(arguments.dataset, split, **options)
    num_tracks = dataset.num_tracks
    if sums_players:
        num_tracks = [len(set(instruments)) for instruments in dataset.instruments]
    least = arguments.min_tracks
    if least is None:
        least = 9 if rendered else 2
    indices = [i for i, num in enumerate(num_tracks) if num >= least]
    if not indices:
        raise UserError(
            f"--min-tracks {least}: no piece of {dataset.full_name} {split} has that many; choose "
            f"at most {max(num_tracks)}"
        )
    return dataset, indices


def _reduce(method: str, spots: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the reduced tracks (J, T) and the estimate of A^-1 (J, J; None for 'wiener')."""
    if method == "wiener":
        filtered, _ = wiener(stft.stft(spots, **_TRANSFORM))
        return np.asarray(stft.istft(filtered, num_samples=spots.shape[1], **_TRANSFORM)), None
    reduced, estimate = crosstalk.debleed_array(spots, SETTINGS[method], sample_rate_hz=rate_hz)
    return reduced, estimate.inverse_mixing()


def _magnitudes(signals: np.ndarray) -> jax.Array:
    return stft.magnitude(stft.stft(signals, **_TRANSFORM))


def _powers(signals: np.ndarray) -> np.ndarray:
    return np.square(np.asarray(_magnitudes(signals)))


def _gram(signals: np.ndarray) -> np.ndarray:
    return np.asarray(crosstalk.gram(_magnitudes(signals)), np.float64)


def _is_silent(source: np.ndarray) -> np.ndarray:
    """Return a mask (N,) of the frames where a source (T,) is silent."""
    energies = _powers(source).sum(-1)
    return energies < _SILENCE * energies.max()


def _musical_noise(
    spots: np.ndarray, reduced: np.ndarray, pauses: Sequence[np.ndarray]
) -> dict[str, float | None]:
    """Return the mean log kurtosis ratio and attenuation of the crosstalk in pauses."""
    residues = [
        musical_noise(_powers(spot), _powers(track), pause)
        for spot, track, pause in zip(spots, reduced, pauses, strict=True)
    ]
    ratios, attenuations_db = np.transpose(residues)
    return {"log_kurtosis_ratio": _mean(ratios), "attenuation": _mean(attenuations_db)}


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of the finite values; None if there are none.

    Exact estimates score +inf; silent estimates have no finite score.
    """
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _means(scores: bss.BssScores) -> dict[str, float | None]:
    means = {name: _mean(getattr(scores, f"bss_{name}_db")) for name in ("sdr", "sir", "sar")}
    return {"num_silent": int(np.isneginf(scores.bss_sdr_db).sum()), **means}


def _correlations(mixing: np.ndarray, estimate: np.ndarray | None) -> dict[str, float | None]:
    """Return the correlations of A^-1 with I - L, with and without the diagonal.

    Seipel does not state which of these correlations table 3.3 shows.
    """
    inverse, diagonal = np.linalg.inv(mixing), np.eye(len(mixing), dtype=bool)
    masks = {"correlation": diagonal | True, "correlation_off_diagonal": ~diagonal}
    return {
        name: None if estimate is None else _correlation(inverse[mask], estimate[mask])
        for name, mask in masks.items()
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the Pearson correlation; None if an argument is constant, as with only two tracks."""
    return float(np.corrcoef(a, b)[0, 1]) if min(np.ptp(a), np.ptp(b)) > 1e-12 else None
