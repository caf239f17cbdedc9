"""Crosstalk reduction on simulated crosstalk: tables 3.3 to 3.6 of Seipel (2018).

The dry tracks of each piece are mixed as in section 3.3.1 (random symmetric matrix, delays by
distance, at most -6, -12 and -18 dB). Crosstalk is reduced by each method, and the results are
compared with the dry tracks: correlation of A^-1 with I - L, BSS-Eval version 3 with 512 taps. The
methods, each with the same settings for all levels and pieces:

- `aligned`: the defaults of `irec_jax.crosstalk.Settings`, which subtract direct sound with its
  phase and reduce the remainder with a soft mask; chosen on the training pieces of `gm_multitrack`;
- `source`: Seipel's method, gradient descent with momentum and subtraction of magnitudes;
- `source_nnls`: Seipel's method with the exact solver;
- `wiener`: a Wiener filter as in KAMIR.
"""

import argparse
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from irec_jax import crosstalk
from irec_jax.crosstalk.wiener import wiener
from irec_jax.data import Piece, Pieces, load_pieces
from irec_jax.data.options import is_rendered
from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json
from irec_jax.metrics import bss
from irec_jax.reports import crosstalk_figures, provenance
from irec_jax.studies import crosstalk_tables, runs
from irec_jax.studies.published.seipel import LEVELS_DB

SEIPEL = crosstalk.Settings(align=False, method="subtraction", solver="momentum")
SETTINGS = {
    "aligned": crosstalk.Settings(),
    "source": SEIPEL,
    "source_nnls": crosstalk.Settings(align=False, method="subtraction"),
}
METHODS = (*SETTINGS, "wiener")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `irec study crosstalk`."""
    add = parser.add_argument
    add("--dataset", default="gm_multitrack", help="gm_multitrack or multitrack (PHENICX-Anechoic)")
    add("--size", default="small", help="size of gm_multitrack: tiny, small or full")
    add("--format", default="multitrack48k", help="multitrack44k or multitrack48k")
    add("--data-dir", help="folder of prepared datasets (default: that of TFDS)")
    add("--manual-dir", help="folder of manually downloaded files")
    add("--split", help="train, test or all (default: test; for multitrack all, as in the paper)")
    add("--min-tracks", type=int, default=9, help="minimum number of tracks (default: 9)")
    add("--max-s", type=float, default=60.0, help="maximum duration of a piece in seconds")
    add("--methods", default=",".join(METHODS), help="methods to compare, separated by commas")
    add(
        "--decay-s",
        type=float,
        default=0.0,
        help="reverberation time of a room in which crosstalk has as much diffuse as direct sound "
        "(default: 0, the free field of the paper)",
    )
    add("--seed", type=int, default=0, help="seed of the mixing matrices")
    add("--workdir", default="runs/study_crosstalk", help="folder of the results and the report")


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study crosstalk` and return its exit code."""
    methods = tuple(dict.fromkeys(arguments.methods.split(",")))
    for method in methods:
        runs.check_choice("methods", method, METHODS)
    if not 0 <= arguments.decay_s <= 20:
        raise UserError(f"--decay-s {arguments.decay_s}: expected 0 to 20 s")
    if not arguments.max_s > 0:
        raise UserError(f"--max-s {arguments.max_s}: expected a positive number of seconds")
    # The four pieces of PHENICX are those of the paper, which does not split them.
    split = arguments.split or ("test" if is_rendered(arguments.dataset) else "all")
    dataset, indices = _load(arguments, split)
    options = {name: getattr(arguments, name) for name in ("max_s", "decay_s", "seed")}
    described = {name: repr(SETTINGS.get(name, name)) for name in methods}
    settings = {"dataset": dataset.full_name, **options, "methods": described}
    study = runs.Study(arguments, settings)
    pieces = _study_pieces(dataset, indices, study.workdir / "pieces", methods=methods, **options)
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
    # The name contains the piece, since the workdir may hold pieces of several splits.
    picture, figures = f"example-{dataset.names[indices[0]].replace('/', '_')}.png", {}
    if not (study.workdir / picture).exists():
        figures[picture] = draw_example(dataset[indices[0]], methods=methods, **options)
    page = crosstalk_tables.markdown_page(report, picture)
    return study.finish(report, page, figures, print_page=True)


def _study_pieces(
    dataset: Pieces, indices: Sequence[int], folder: Path, **options: Any
) -> dict[str, dict]:
    """Return the scores of the pieces at these indices by name; options as for `study_piece`.

    The scores are stored in the folder, one file per piece; pieces with a file are not repeated.
    """
    began, num_done, scores = time.monotonic(), 0, {}
    for num_left, index in zip(reversed(range(len(indices))), indices, strict=True):
        name = dataset.names[index]
        file = folder / f"{name.replace('/', '_')}.json"
        if file.exists():
            scores[name] = read_json(file)
            continue
        piece = dataset[index]
        scores[name] = study_piece(piece, **options)
        write_json(file, scores[name])
        num_done += 1
        piece_s = (time.monotonic() - began) / num_done
        progress = f"{piece_s:.0f} s per piece, {piece_s * num_left:.0f} s left"
        print(f"{name}: {len(piece.tracks)} tracks, {progress}", flush=True)
    return scores


def study_piece(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float = 0.0) -> dict:
    """Score all methods on one piece, at all levels of crosstalk.

    Args:
        piece: a piece with dry tracks.
        methods: names among `METHODS`.
        seed: seed of the mixing matrices.
        max_s: maximum duration in seconds, from the start of the piece.
        decay_s: reverberation time of the room in seconds, 0 for the free field; in a room, the
            references are the sources as picked up by their own microphones.

    Returns:
        dict: ``num_tracks``, ``duration_s`` and ``levels``; by level in dB as text, for
        ``mixture`` and every method: ``sdr``, ``sir`` and ``sar`` (means in dB over the tracks
        with finite scores) and ``num_silent`` (silent estimates); for the methods also
        ``sdr_gain``, ``sir_gain``, ``correlation`` and ``correlation_off_diagonal`` (None if
        undefined, as for methods without a demixing matrix).

    Raises:
        UserError: fewer than two tracks are not silent.
    """
    stems, _ = _active_tracks(piece, max_s)
    references, levels = None, {}
    for level_db in LEVELS_DB:
        spots, own, mixing = simulate(piece, stems, level_db, seed=seed, decay_s=decay_s)
        if references is None:  # apart from a gain, they are equal at all levels
            references = bss.prepare_references(own)
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
            }
    duration_s = stems.shape[1] / piece.sample_rate_hz
    return {"num_tracks": len(stems), "duration_s": duration_s, "levels": levels}


def draw_example(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float) -> Figure:
    """Draw A^-1 and its estimates, and a track dry, mixed and reduced, at the first level."""
    stems, names = _active_tracks(piece, max_s)
    spots, own, mixing = simulate(piece, stems, LEVELS_DB[0], seed=seed, decay_s=decay_s)
    # The track with the most crosstalk.
    track = int(np.argmin(np.square(own).sum(1) / np.square(spots).sum(1)))
    inverses = {"A⁻¹": np.linalg.inv(mixing)}
    waveforms = {"dry": own[track], "mixed": spots[track]}
    for method in methods:
        reduced, inverse = _reduce(method, spots, piece.sample_rate_hz)
        waveforms[crosstalk_tables.NAMES[method]] = reduced[track]
        if inverse is not None:
            inverses[crosstalk_tables.NAMES[method]] = inverse
    framing: dict[str, Any] = dict(frame_length=4096, hop_length=2048, window="hamming")
    return crosstalk_figures.example(
        names,
        inverses,
        {
            name: np.asarray(stft.magnitude(stft.stft(waveform, **framing)))
            for name, waveform in waveforms.items()
        },
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
    """Simulate spot microphones.

    Returns:
        Microphone signals (J, T), the share of each microphone's own source (J, T), and the
        mixing matrix (J, J).
    """
    # The key depends on the piece's name, not on which other pieces are studied.
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


def _load(arguments: argparse.Namespace, split: str) -> tuple[Pieces, list[int]]:
    """Return the dataset and the indices of the pieces with enough tracks."""
    # Other folders of tracks have no dry tracks.
    rendered = is_rendered(arguments.dataset)
    options = dict(size=arguments.size) if rendered else dict(layout="phenicx")
    options |= {name: getattr(arguments, name) for name in ("data_dir", "manual_dir", "format")}
    dataset = load_pieces(arguments.dataset, split, **options)
    indices = [i for i, num in enumerate(dataset.num_tracks) if num >= arguments.min_tracks]
    if not indices:
        raise UserError(
            f"--min-tracks {arguments.min_tracks}: no piece of {dataset.full_name} {split} has "
            f"that many; the maximum is {max(dataset.num_tracks)}"
        )
    return dataset, indices


def _reduce(method: str, spots: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return reduced tracks (J, T) and the estimated inverse mixing matrix, None for 'wiener'."""
    if method == "wiener":
        names = ("frame_length", "hop_length", "window")
        framing = {name: getattr(SEIPEL, name) for name in names}
        filtered, _ = wiener(stft.stft(spots, **framing))
        return np.asarray(stft.istft(filtered, num_samples=spots.shape[1], **framing)), None
    reduced, estimate = crosstalk.debleed_array(spots, SETTINGS[method], sample_rate_hz=rate_hz)
    return reduced, estimate.inverse_mixing()


def _mean(values: np.ndarray) -> float | None:
    """Return the mean over finite values: exact estimates have +inf, silent ones no score."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _means(scores: bss.BssScores) -> dict[str, float | None]:
    means = {name: _mean(getattr(scores, f"bss_{name}_db")) for name in ("sdr", "sir", "sar")}
    return {"num_silent": int(np.isneginf(scores.bss_sdr_db).sum()), **means}


def _correlations(mixing: np.ndarray, estimate: np.ndarray | None) -> dict[str, float | None]:
    """Return the correlations of A^-1 with I - L, with and without the diagonal.

    Seipel does not state which one table 3.3 shows.
    """
    inverse, diagonal = np.linalg.inv(mixing), np.eye(len(mixing), dtype=bool)
    masks = {"correlation": diagonal | True, "correlation_off_diagonal": ~diagonal}
    return {
        name: None if estimate is None else _correlation(inverse[mask], estimate[mask])
        for name, mask in masks.items()
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Pearson's correlation; None if an argument is constant, as with only two tracks."""
    return float(np.corrcoef(a, b)[0, 1]) if min(np.ptp(a), np.ptp(b)) > 1e-12 else None
