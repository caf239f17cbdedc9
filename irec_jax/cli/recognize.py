"""`irec recognize`: recognise the instruments in audio files."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from irec_jax import audio
from irec_jax.cli import CommandParser
from irec_jax.cli.output import check_writable, figure_path
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.text import printable, to_unicode

HOW_TO_TRAIN = (
    "--workdir: missing; name the folder of a trained system, or train one with: "
    "python -m irec_jax.main --config=configs/han.py --workdir=DIR"
)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec recognize",
        description="Recognise the instruments in audio files: wav, flac, ogg, mp3, m4a of any "
        "rate, channels and length. Folders are searched for audio files.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--workdir", metavar="DIR", help="workdir of a trained recogniser")
    parser.add_argument(
        "--json", metavar="OUT", help="write labels and scores over time to this file"
    )
    parser.add_argument(
        "--plot",
        metavar="OUT.png",
        help="draw the activity of the instruments over time; OUT-NAME.png for each of several "
        "files",
    )
    parser.add_argument(
        "--threshold",
        default="fixed",
        help="fixed (default), validation, validation_per_class, or a number from 0 to 1",
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec recognize`: report unreadable files, and recognise the others."""
    arguments = _parser().parse_args(words)
    if not arguments.workdir:
        raise UserError(HOW_TO_TRAIN)
    plot = figure_path(arguments.plot) if arguments.plot is not None else None
    files = list({os.path.realpath(file): file for file in audio.find(arguments.files)}.values())
    # Imported late, so that a mistyped argument is reported at once.
    from irec_jax.systems.recogniser import load_recogniser
    from irec_jax.text import clock, shorten

    recogniser = load_recogniser(arguments.workdir)
    recogniser.class_thresholds(arguments.threshold)
    for path in filter(None, (arguments.json, plot)):
        check_writable(Path(path))
    records, num_failed = [], 0
    width = min(48, max(len(printable(file)) for file in files))
    for file in files:
        try:
            result = recogniser.recognize(file, threshold=arguments.threshold)
        except UserError as error:
            num_failed += 1
            records.append({"file": to_unicode(str(file)), "error": str(error)})
            print(f"error: {error}", file=sys.stderr)
            continue
        if plot is not None:
            _draw(result, plot if len(files) == 1 else _plot_path(plot, file, files))
        records.append(result.to_dict())
        name = shorten(printable(file), width)
        print(f"{name:<{width}}  {clock(result.duration_s):>8}  {_summary(result)}")
    if arguments.json:
        content = {
            "workdir": to_unicode(str(arguments.workdir)),
            "aggregation": recogniser.aggregation,
        }
        write_json(Path(arguments.json), content | {"files": records})
    if num_failed:
        print(f"{num_failed} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if num_failed == len(files) else 0


def _summary(result) -> str:
    """Return `voice 1.00, piano 0.71  (then organ 0.31)` and any note; IRMAS codes written out."""
    from irec_jax.labels import IRMAS_NAMES

    note = f"({result.note})" if result.note else ""
    if note and not result.labels:
        return note
    ranked = sorted(result.scores, key=result.scores.get, reverse=True)
    texts = {name: f"{IRMAS_NAMES.get(name, name)} {result.scores[name]:.2f}" for name in ranked}
    labels = ", ".join(texts[name] for name in ranked if name in result.labels)
    runner_up = next((texts[name] for name in ranked if name not in result.labels), "")
    then = f"(then {runner_up})" if runner_up else ""
    return "  ".join(filter(None, [labels or "none above the threshold", then, note]))


def _plot_path(plot: Path, file: Path, files: Sequence[Path]) -> Path:
    """Return a unique name for the plot of each file."""
    same = [other for other in files if other.stem == file.stem]
    number = f"-{same.index(file) + 1}" if len(same) > 1 else ""
    return plot.with_name(f"{plot.stem}-{file.stem}{number}{plot.suffix}")


def _draw(result, path: Path) -> None:
    from irec_jax.reports import figures, timeline

    figure = timeline.instruments_over_time(
        result.times_s,
        result.activity,
        list(result.scores),
        threshold=min(result.thresholds.values()),
        labels=result.labels,
    )
    figures.save(figure, path)
