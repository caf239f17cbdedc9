"""`irec recognize`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from irec_jax import audio
from irec_jax.cli.words import check_place, clock, one_line, plot_path, shorten
from irec_jax.errors import UserError
from irec_jax.files import write_json

HOW_TO_TRAIN = (
    "recognize needs --workdir DIR, the folder of a trained system; train one with: "
    "python -m irec_jax.main --config=configs/han.py --workdir=DIR"
)


def add_recognize(commands) -> None:
    recognize = commands.add_parser(
        "recognize",
        allow_abbrev=False,
        help="the instruments in audio files",
        description="Prints the instruments of every file: wav, flac, ogg, mp3, m4a of any "
        "rate, channels and length. Folders are searched for audio files.",
    )
    recognize.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    recognize.add_argument("--workdir", metavar="DIR", help="of a trained system")
    recognize.add_argument("--json", metavar="OUT", help="write labels and scores over time here")
    recognize.add_argument(
        "--plot", metavar="OUT.png", help="draw who plays when; of several files OUT-NAME.png each"
    )
    recognize.add_argument(
        "--threshold",
        default="fixed",
        help="fixed (default), validation, validation_per_class, or a number from 0 to 1",
    )
    recognize.set_defaults(run=recognize_files)


def recognize_files(arguments: argparse.Namespace) -> int:
    """`irec recognize`: one bad file is reported and the others are still done."""
    if not arguments.workdir:
        raise UserError(HOW_TO_TRAIN)
    plot = plot_path(arguments.plot)
    files = list({os.path.realpath(file): file for file in audio.find(arguments.files)}.values())
    # Late, so that a mistyped argument is answered at once.
    from irec_jax import systems

    system = systems.load_recogniser(arguments.workdir)
    system.class_thresholds(arguments.threshold)
    for place in filter(None, (arguments.json, plot)):
        check_place(Path(place))
    records, num_bad = [], 0
    width = min(48, max(len(str(file)) for file in files))
    for file in files:
        try:
            found = system.recognize(file, threshold=arguments.threshold)
        except UserError as error:
            num_bad += 1
            records.append({"file": str(file), "error": str(error)})
            print(f"error: {error}", file=sys.stderr)
            continue
        if plot is not None:
            _draw(found, plot if len(files) == 1 else _plot_beside(plot, file, files))
        records.append(found.to_dict())
        name = shorten(one_line(file), width)
        print(f"{name:<{width}}  {clock(found.duration_s):>8}  {_told(found)}")
    if arguments.json:
        content = {"workdir": str(arguments.workdir), "aggregation": system.aggregation}
        write_json(Path(arguments.json), content | {"files": records})
    if num_bad:
        print(f"{num_bad} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if num_bad == len(files) else 0


def _told(found) -> str:
    """`voice 1.00, piano 0.71 (then organ 0.31)`, with the names of IRMAS spelled out."""
    from irec_jax.labels import IRMAS_NAMES

    if found.note:
        return f"({found.note})"
    ranked = sorted(found.scores, key=found.scores.get, reverse=True)

    def shown(name: str) -> str:
        return f"{IRMAS_NAMES.get(name, name)} {found.scores[name]:.2f}"

    on = ", ".join(shown(name) for name in ranked if name in found.labels)
    next_one = next((shown(name) for name in ranked if name not in found.labels), "")
    return f"{on or 'none above the threshold'}" + (f"  (then {next_one})" if next_one else "")


def _plot_beside(plot: Path, file: Path, files: Sequence[Path]) -> Path:
    """A name of its own for each file's plot."""
    same = [other for other in files if other.stem == file.stem]
    number = f"-{same.index(file) + 1}" if len(same) > 1 else ""
    return plot.with_name(f"{plot.stem}-{file.stem}{number}{plot.suffix}")


def _draw(found, path: Path) -> None:
    from irec_jax.reports import figures, timeline

    figure = timeline.instruments_over_time(
        found.times_s,
        found.activity,
        list(found.scores),
        threshold=min(found.thresholds.values()),
        labels=found.labels,
    )
    figures.save(figure, path)
