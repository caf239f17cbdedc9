"""Crosstalk made, estimated and reduced: tables 3.3, 3.4, 3.5 and 3.6 of Seipel (2018).

Dry tracks of every piece are mixed as in section 3.3.1 (random symmetric matrix, delays by
distance, at most -6, -12 and -18 dB), reduced by every method, and scored against the dry tracks:
correlation of A^-1 with I - L, BSS-Eval version 3 with 512 taps. Methods, each with one setting for
all levels and pieces:

- `aligned`: the defaults of `irec_jax.crosstalk.Settings`, direct sound taken out with its phase
  and the rest by a soft mask; chosen on the training pieces of `gm_multitrack`;
- `source`: the source's: descent with momentum, subtraction of magnitudes;
- `source_nnls`: the same with the exact solver;
- `wiener`: a Wiener filter in the manner of KAMIR.
"""

import argparse
import time
import zlib
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from irec_jax import crosstalk
from irec_jax.checkpoints.workdir import lock_study
from irec_jax.crosstalk.wiener import wiener
from irec_jax.data import Piece, Pieces, load_pieces
from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.evaluation import provenance
from irec_jax.files import read_json, write_bytes, write_json
from irec_jax.metrics import bss
from irec_jax.reports import crosstalk_figures, figures
from irec_jax.studies import crosstalk_tables
from irec_jax.studies.published.seipel import LEVELS_DB

SOURCE = crosstalk.Settings(align=False, method="subtraction", solver="momentum")
SETTINGS = {
    "aligned": crosstalk.Settings(),
    "source": SOURCE,
    "source_nnls": crosstalk.Settings(align=False, method="subtraction"),
}
METHODS = (*SETTINGS, "wiener")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `irec study crosstalk`."""
    parser.add_argument(
        "--dataset", default="gm_multitrack", help="gm_multitrack, or multitrack: PHENICX-Anechoic"
    )
    parser.add_argument("--size", default="small", help="of gm_multitrack: tiny, small or full")
    parser.add_argument("--format", default="multitrack48k", help="multitrack44k or multitrack48k")
    parser.add_argument("--data_dir", help="where prepared data lies (default: TFDS's)")
    parser.add_argument("--manual_dir", help="where files that were downloaded by hand lie")
    parser.add_argument(
        "--split", help="train, test or all (default: test; of multitrack all, as the source's)"
    )
    parser.add_argument("--min_tracks", type=int, default=9, help="of a piece (default: 9)")
    parser.add_argument("--max_s", type=float, default=60.0, help="seconds of a piece at most")
    parser.add_argument("--methods", default=",".join(METHODS), help="some of them, with commas")
    parser.add_argument(
        "--decay_s",
        type=float,
        default=0.0,
        help="reverberation time of a room, in which crosstalk has as much diffuse as direct sound "
        "(default: 0, the source's free field)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the mixing matrices")
    parser.add_argument("--workdir", default="runs/study_crosstalk", help="for the report")


def run(arguments: argparse.Namespace) -> int:
    """`irec study crosstalk`."""
    methods = tuple(dict.fromkeys(arguments.methods.split(",")))
    for method in methods:
        if method not in METHODS:
            raise UserError(f"--methods {method}: unknown; known are {', '.join(METHODS)}")
    if not (0 <= arguments.decay_s <= 20 and arguments.max_s > 0):
        raise UserError("--decay_s must lie within 0 and 20 s, and --max_s above 0")
    # PHENICX's four pieces are the source's, which parts them in no way.
    split = arguments.split or ("test" if arguments.dataset == "gm_multitrack" else "all")
    dataset, chosen = _chosen(arguments, split)
    workdir = Path(arguments.workdir)
    settings = {
        "dataset": dataset.full_name,
        "max_s": arguments.max_s,
        "decay_s": arguments.decay_s,
        "seed": arguments.seed,
        "methods": {name: repr(SETTINGS.get(name, name)) for name in methods},
    }
    options = dict(
        methods=methods, seed=arguments.seed, max_s=arguments.max_s, decay_s=arguments.decay_s
    )
    lock_study(workdir, settings)
    start, num_done, results = time.monotonic(), 0, {}
    for place, index in enumerate(chosen):
        name = dataset.names[index]
        file = workdir / "pieces" / f"{_file_name(name)}.json"
        if file.exists():
            results[name] = read_json(file)
            continue
        piece = dataset[index]
        if piece.stems is None:
            raise UserError(f"{name}: has no dry tracks, against which results could be scored")
        results[name] = study_piece(piece, **options)
        write_json(file, results[name])
        num_done += 1
        each_s = (time.monotonic() - start) / num_done
        print(
            f"{name}: {len(piece.tracks)} tracks, {each_s:.0f} s a piece, "
            f"{each_s * (len(chosen) - place - 1):.0f} s left",
            flush=True,
        )
    builder, config = dataset.full_name.split(":")[0].split("/", 1)
    report = {
        "rendered": dataset.rendered,
        "settings": settings,
        "pieces": results,
        "provenance": provenance.collect(
            dataset=builder,
            version=dataset.full_name.split(":")[-1],
            config=config,
            split=split,
            seed=arguments.seed,
            durations_s={"study": time.monotonic() - start},
        ),
    }
    # The same workdir may hold pieces of other splits.
    picture = workdir / f"example-{_file_name(dataset.names[chosen[0]])}.png"
    if not picture.exists():
        figures.save(draw_example(dataset[chosen[0]], **options), picture)
    page = crosstalk_tables.page(report, picture.name)
    write_bytes(workdir / "report.md", page.encode())
    write_json(workdir / "report.json", report)
    print(page)
    print(f"report: {workdir / 'report.md'}")
    return 0


def study_piece(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float = 0.0) -> dict:
    """Scores of all levels and methods on one piece.

    Args:
        piece: with dry tracks.
        methods: names among `METHODS`.
        seed: of the mixing matrices.
        max_s: seconds from its start at most.
        decay_s: reverberation time of the room, 0 for the free field; in a room, the sources are
            scored as they sound in their own microphones.

    Returns:
        ``num_tracks``, ``duration_s`` and ``levels``: by level in dB as text, for ``mixture`` and
        every method ``sdr``, ``sir`` and ``sar`` (mean in dB over the tracks that have one) and
        ``num_silent`` (tracks of which nothing was left); for the methods also ``sdr_gain``,
        ``sir_gain``, ``correlation`` and ``correlation_off_diagonal`` (None where they are not
        defined, as for methods without a demixing matrix).

    Raises:
        UserError: fewer than two tracks are not silent.
    """
    rate_hz = piece.sample_rate_hz
    stems, _ = _sounding(piece, max_s)
    setup = dict(name=piece.name, seed=seed, rate_hz=rate_hz, decay_s=decay_s)
    references, levels = None, {}
    for level_db in LEVELS_DB:
        spots, own, mixing = _simulate(stems, level_db, **setup)
        if references is None:  # but for their gain, they are the same at all levels
            references = bss.prepare_references(own)
        mixture = bss.bss_eval(references, spots)
        levels[str(level_db)] = {"mixture": _means(mixture)}
        for method in methods:
            reduced, inverse = _reduce(method, spots, rate_hz)
            scores = bss.bss_eval(references, reduced)
            levels[str(level_db)][method] = {
                **_means(scores),
                "sdr_gain": _mean(scores.bss_sdr_db - mixture.bss_sdr_db),
                "sir_gain": _mean(scores.bss_sir_db - mixture.bss_sir_db),
                **_correlations(mixing, inverse),
            }
    return {
        "num_tracks": len(stems),
        "duration_s": stems.shape[1] / rate_hz,
        "levels": levels,
    }


def draw_example(piece: Piece, *, methods, seed: int, max_s: float, decay_s: float) -> Figure:
    """One piece at the first level: A^-1 and its estimates, a track dry, mixed and reduced."""
    stems, names = _sounding(piece, max_s)
    rate_hz = piece.sample_rate_hz
    setup = dict(name=piece.name, seed=seed, rate_hz=rate_hz, decay_s=decay_s)
    spots, own, mixing = _simulate(stems, LEVELS_DB[0], **setup)
    # The track that is masked most by the others.
    shown = int(np.argmin(np.square(own).sum(1) / np.square(spots).sum(1)))
    inverses, tracks = {"A⁻¹": np.linalg.inv(mixing)}, {"alone": own[shown], "mixed": spots[shown]}
    for method in methods:
        reduced, inverse = _reduce(method, spots, rate_hz)
        tracks[crosstalk_tables.NAMES[method]] = reduced[shown]
        if inverse is not None:
            inverses[crosstalk_tables.NAMES[method]] = inverse
    spectra = {
        name: np.asarray(
            stft.magnitude(stft.stft(track, frame_length=4096, hop_length=2048, window="hamming"))
        )
        for name, track in tracks.items()
    }
    return crosstalk_figures.example(
        names,
        inverses,
        spectra,
        title=f"{piece.name}: {names[shown]} at {LEVELS_DB[0]} dB",
        sample_rate_hz=rate_hz,
        duration_s=stems.shape[1] / rate_hz,
    )


def _sounding(piece: Piece, max_s: float) -> tuple[np.ndarray, list[str]]:
    """The dry tracks whose players do not rest all through the excerpt, and their names."""
    num_samples = round(min(max_s * piece.sample_rate_hz, piece.stems.shape[1]))
    stems = piece.stems[:, : max(1, num_samples)]
    sounding = np.flatnonzero(np.abs(stems).max(1) > 0)
    if len(sounding) < 2:
        raise UserError(
            f"{piece.name}: fewer than two tracks sound within {max_s} s; raise --max_s"
        )
    return stems[sounding], [piece.tracks[j] for j in sounding]


def _simulate(
    stems: np.ndarray, level_db: int, *, name: str, seed: int, rate_hz: int, decay_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spot microphones and what they hear of their own sources (J, T), and the mixing matrix."""
    # Of the piece's name alone: the same mixtures whichever pieces are studied.
    piece_key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()) >> 1)
    key = jax.random.fold_in(piece_key, -level_db)
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


def _chosen(arguments: argparse.Namespace, split: str) -> tuple[Pieces, list[int]]:
    if arguments.dataset == "gm_multitrack":
        options = dict(size=arguments.size)
    else:
        options = dict(layout="phenicx")  # of a user's folder nobody knows the dry tracks
    dataset = load_pieces(
        arguments.dataset,
        split,
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
        format=arguments.format,
        **options,
    )
    chosen = [i for i, num in enumerate(dataset.num_tracks) if num >= arguments.min_tracks]
    if not chosen:
        raise UserError(
            f"--min_tracks {arguments.min_tracks}: no piece of {dataset.full_name} "
            f"{split} has so many; the largest has {max(dataset.num_tracks)}"
        )
    return dataset, chosen


def _file_name(piece: str) -> str:
    return piece.replace("/", "_")


def _reduce(method: str, spots: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Reduced tracks (J, T), and the estimate of the inverse mixing matrix, if there is one."""
    if method == "wiener":
        return _wiener(spots), None
    reduced, found = crosstalk.debleed_array(spots, SETTINGS[method], sample_rate_hz=rate_hz)
    return reduced, found.inverse_mixing()


def _wiener(spots: np.ndarray) -> np.ndarray:
    options = dict(
        frame_length=SOURCE.frame_length, hop_length=SOURCE.hop_length, window=SOURCE.window
    )
    reduced, _ = wiener(stft.stft(spots, **options))
    return np.asarray(stft.istft(reduced, num_samples=spots.shape[1], **options))


def _mean(values: np.ndarray) -> float | None:
    """Over the tracks for which there is a value: what is exact is +inf, silence has none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _means(scores: bss.BssScores) -> dict[str, float | None]:
    return {
        "num_silent": int(np.isneginf(scores.bss_sdr_db).sum()),
        "sdr": _mean(scores.bss_sdr_db),
        "sir": _mean(scores.bss_sir_db),
        "sar": _mean(scores.bss_sar_db),
    }


def _correlations(mixing: np.ndarray, found: np.ndarray | None) -> dict[str, float | None]:
    """Of A^-1 with I - L, over all elements and without the diagonal: the source says not which."""
    if found is None:
        return {"correlation": None, "correlation_off_diagonal": None}
    inverse = np.linalg.inv(mixing)
    off = ~np.eye(len(mixing), dtype=bool)
    return {
        "correlation": _correlation(inverse.ravel(), found.ravel()),
        "correlation_off_diagonal": _correlation(inverse[off], found[off]),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """None where one of them is constant: with two tracks only, or where nothing was found."""
    return float(np.corrcoef(a, b)[0, 1]) if min(np.ptp(a), np.ptp(b)) > 1e-12 else None
