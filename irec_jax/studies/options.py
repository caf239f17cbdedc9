"""Command-line options for the studies.

This module imports only what the help texts need, so that `irec study --help` is fast.
"""

import argparse
import ast
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from irec_jax import job_array
from irec_jax.studies import STUDIES

#: Datasets with labelled clips, and datasets with multitrack pieces. The first one in each tuple is
#: rendered and is the default.
CLIPS = ("gm_irmas", "irmas")
MULTITRACK = ("gm_multitrack",)
#: Splits that `irec study goel` supports.
GOEL_SPLITS = ("song", "window", "official")
#: Methods that `irec study crosstalk` compares.
CROSSTALK_METHODS = (
    *("aligned", "source", "source_nnls", "wiener"),
    *("aligned_mmse", "source_mmse", "aligned_smooth", "source_smooth"),
)


def description(name: str) -> str:
    """Return the first line of a study module's docstring, without importing the module."""
    spec = importlib.util.find_spec(STUDIES[name])
    assert spec is not None and spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return str(docstring).splitlines()[0]


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of the study called `name`, a key of `STUDIES`, to its parser."""
    _ADD[name](parser)


def _add_shared(
    parser: argparse.ArgumentParser,
    *,
    workdir: str,
    rows: str = "",
    datasets: Sequence[str] = CLIPS,
) -> None:
    """Add the options shared by the studies that train and evaluate models.

    `--rows`, `--task` and `--collect` are added only if `rows`, an example value for `--rows`, is
    given. The first dataset is rendered and is the default.
    """
    add = parser.add_argument
    first, *others = datasets
    add("--dataset", default=first, help=" or ".join([f"{first} (rendered)", *others]))
    add("--size", default="small", help=f"size of {first}, such as tiny, small or full")
    add("--data-dir", default="", help="folder with prepared datasets (default: the TFDS folder)")
    add("--manual-dir", default="", help="folder with manually downloaded files")
    if rows:
        add("--rows", help=f"run only rows whose names contain an item from a list such as {rows}")
        job_array.add_options(parser, "runs")
    add("--seed", type=int, default=0, help="seed for splits, parameters and batches")
    add("--quick", action="store_true", help="run only part of the study, with brief training")
    add("--debug", action="store_true", help="run everything on tiny data; scores are meaningless")
    add("--workdir", default=workdir, help=f"folder for runs and reports (default: {workdir})")


def _add_ablation(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser, workdir="runs/study_ablation", rows="mix,pitch")
    parser.add_argument(
        "--repeats", type=int, default=1, help="number of runs per row, with consecutive seeds"
    )


def _add_crosstalk(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dataset", default="gm_multitrack", help="gm_multitrack or multitrack (PHENICX-Anechoic)")
    add("--size", default="small", help="size of gm_multitrack: tiny, small or full")
    add("--layout", default="phenicx", help="layout of the multitrack dataset (default: phenicx)")
    add("--path", help="folder with the multitrack files (only for layouts other than phenicx)")
    add("--format", default="multitrack48k", help="multitrack44k or multitrack48k")
    add("--data-dir", help="folder with prepared datasets (default: the TFDS folder)")
    add("--manual-dir", help="folder with manually downloaded files")
    add("--split", help="train, test or all (default: test; all for multitrack, as in the paper)")
    add(
        "--sum-players",
        action=argparse.BooleanOptionalAction,
        help="sum the tracks of each instrument, so that a piece has one track per instrument, as "
        "in the paper (default: only for phenicx, which has one track per player)",
    )
    add(
        "--min-tracks",
        type=int,
        help="skip pieces with fewer tracks (default: 9, or 2 for multitrack)",
    )
    add(
        "--max-s",
        type=float,
        default=60.0,
        help="use at most this many seconds of each piece (default: 60)",
    )
    add(
        "--methods",
        default=",".join(CROSSTALK_METHODS),
        help="comma-separated list of methods to compare (default: all)",
    )
    add(
        "--decay-s",
        type=float,
        default=0.0,
        help="reverberation time in seconds of a room where crosstalk contains equal amounts of "
        "diffuse and direct sound (default: 0, a free field as in the paper)",
    )
    add("--seed", type=int, default=0, help="seed for the mixing matrices")
    add("--workdir", default="runs/study_crosstalk", help="folder for results and reports")


def _add_goel(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser, workdir="runs/study_goel", rows="lstm,b3")
    parser.add_argument(
        "--split",
        default=",".join(GOEL_SPLITS),
        help="comma-separated list of splits: song, window, official (default: all)",
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="number of runs per row, with consecutive seeds"
    )


def _add_han(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser, workdir="runs/study_han", rows="relu,window")
    parser.add_argument(
        "--repeats", type=int, default=3, help="seeds per network (default: 3, as in the paper)"
    )


def _add_seipel(parser: argparse.ArgumentParser) -> None:
    _add_shared(
        parser, workdir="runs/study_seipel", rows="context,instances-3", datasets=MULTITRACK
    )
    parser.add_argument(
        "--decay-s",
        type=float,
        default=0.8,
        help="reverberation time in seconds of the simulated room; labels are measured in this "
        "room and in a free field (default: 0.8)",
    )


def _add_separation(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser, workdir="runs/study_separation")
    add = parser.add_argument
    add("--stems", default="gm_musdb", help="separator data: gm_musdb (rendered) or musdb18")
    add("--stems-path", default="", help="folder with the musdb18 tracks")
    add(
        "--stems-split",
        default="official",
        help="official, or validation to test on the validation tracks if there are no test tracks",
    )
    add("--separator", default="", metavar="DIR", help="use the trained separator in this workdir")
    add(
        "--output",
        default="attenuation",
        help="separator output: attenuation, direct or mask; or paper for Ligtenberg's own "
        "training and evaluation, with direct output (375 epochs without --quick)",
    )
    add(
        "--listen",
        default="features",
        help="classifier input: separated spectrograms (features) or resynthesised audio (audio)",
    )
    add(
        "--no-ablations",
        action="store_true",
        help="do not train the separators for figure 4.1 and the other ablations",
    )


def _add_vazonis(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser, workdir="runs/study_vazonis", rows="fft,lstm_1e-2")


_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "ablation": _add_ablation,
    "crosstalk": _add_crosstalk,
    "goel": _add_goel,
    "han": _add_han,
    "seipel": _add_seipel,
    "separation": _add_separation,
    "vazonis": _add_vazonis,
}
