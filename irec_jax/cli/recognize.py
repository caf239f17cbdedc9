"""`irec recognize`: recognise the instruments in audio files."""

import argparse
import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irec_jax import audio
from irec_jax.checkpoints import pretrained
from irec_jax.cli import CommandParser
from irec_jax.cli.console import command, encodable, has_colour, user_errors
from irec_jax.cli.output import FIGURES, ResultFile, check_outputs, output_path
from irec_jax.errors import UserError
from irec_jax.files import expand_home, unique_names, write_text
from irec_jax.progress import FileProgress
from irec_jax.text import plural, printable, to_unicode


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec recognize",
        description="Recognise the instruments in audio files: wav, flac, ogg, mp3 or m4a of any "
        "sample rate, number of channels and length. Folders are searched for audio files.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        action="append",
        default=[],
        help="workdir of a trained recogniser, or a folder written by irec export (default: the "
        "recogniser that comes with irec-jax); may be repeated: the probabilities of systems with "
        "the same classes are averaged, and the results of other systems are merged",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        default=[],
        help="a recogniser that comes with irec-jax; can be combined with --workdir",
    )
    parser.add_argument(
        "--json",
        metavar="OUT.json",
        help="write labels and scores over time to this file as soon as they are computed; with "
        "OUT.jsonl, one line per file",
    )
    parser.add_argument(
        "--plot",
        metavar="OUT.png",
        help="draw the instruments' activity over time; with several files, one "
        "OUT-NAME.png per file",
    )
    parser.add_argument(
        "--segments",
        metavar="OUT.csv",
        help="write the times at which each instrument plays (instrument,start_s,end_s), or with "
        "OUT.txt a label track for Audacity; with several files, one OUT-NAME.csv per file",
    )
    parser.add_argument(
        "--html",
        metavar="OUT.html",
        help="write a self-contained page for all files, with players, timelines, scores and "
        "segments",
    )
    parser.add_argument(
        "--html-audio",
        choices=("embed", "link", "none"),
        default="embed",
        help="embed (default): include a compressed copy of the audio in the page; link: play the "
        "original files; none: no audio",
    )
    parser.add_argument(
        "--timeline",
        action=argparse.BooleanOptionalAction,
        help="print when each instrument plays, below each file's line (default: only on a "
        "terminal)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing output files")
    parser.add_argument(
        "--threshold",
        default="fixed",
        help="score threshold: fixed (default), validation, validation_per_class, or a number from "
        "0 to 1",
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec recognize`; unreadable files are reported and skipped."""
    arguments = _parser().parse_args(words)
    if "" in arguments.workdir:
        raise UserError("--workdir: empty name; specify the folder of a trained recogniser")
    folders = pretrained.resolve(arguments.workdir, arguments.model)
    json_path = output_path(arguments.json, "--json", (".json", ".jsonl"))
    plot = output_path(arguments.plot, "--plot", FIGURES)
    paths = map(expand_home, arguments.files)
    files = list({os.path.realpath(file): file for file in audio.find(paths)}.values())
    plots = _paths_by_file(plot, files) if plot else [None] * len(files)
    html_path = output_path(arguments.html, "--html", (".html", ".htm"))
    table = output_path(arguments.segments, "--segments", (".csv", ".txt"))
    tables = _paths_by_file(table, files) if table else [None] * len(files)
    names = ("system.json", "config.json", "checksums.json")
    inputs = [*files, *(folder / name for folder in folders.values() for name in names)]
    outputs = [path for path in (json_path, html_path, *plots, *tables) if path]
    check_outputs(outputs, inputs, overwrite=arguments.overwrite)
    # Imported here, so that argument errors are reported immediately.
    from irec_jax.systems.ensemble import Ensemble
    from irec_jax.systems.recogniser import load_recogniser

    recogniser = load_recogniser(arguments.workdir, model=arguments.model)
    recogniser.class_thresholds(arguments.threshold)
    if isinstance(recogniser, Ensemble):
        systems = recogniser.systems
    else:
        systems = {next(iter(folders)): recogniser}
    described = [
        {"workdir" if name in arguments.workdir else "model": to_unicode(name)}
        | {"aggregation": system.aggregation}
        for name, system in systems.items()
    ]
    header: dict[str, Any] = {"systems": described} if len(described) > 1 else described[0]
    show_timeline = sys.stdout.isatty() if arguments.timeline is None else arguments.timeline
    written = " and ".join(printable(path) for path in (json_path, html_path) if path)
    holds = "hold" if json_path and html_path else "holds"
    again = f"{written} {holds} the results so far" if written else ""
    with command("irec recognize", again), contextlib.ExitStack() as stack:
        results = page = None
        if json_path:
            results = stack.enter_context(ResultFile(json_path, header))
        if html_path:
            page = stack.enter_context(_page(html_path, files, systems, arguments))
        outputs = _Outputs(plots, tables, results, page, show_timeline)
        num_failed = _recognize(recogniser, files, outputs, arguments.threshold)
    if num_failed:
        print(f"{num_failed} of {plural(len(files), 'file')} failed", file=sys.stderr)
    return 1 if num_failed == len(files) else 0


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """Requested outputs: a plot and a table per file, JSON, a page, and printed timelines."""

    plots: Sequence[Path | None]
    tables: Sequence[Path | None]
    results: ResultFile | None
    page: Any
    show_timeline: bool


def _recognize(recogniser, files: Sequence[Path], outputs: _Outputs, threshold: str) -> int:
    """Recognise the instruments in files and write the outputs; return the number of failures."""
    num_failed, width = 0, min(48, max(len(printable(file)) for file in files))
    paths = zip(files, outputs.plots, outputs.tables, strict=True)
    with FileProgress(files) as progress:
        for i, (file, plot, table) in enumerate(paths):
            result = preview = None
            record: dict[str, Any] = {"file": to_unicode(str(file))}
            try:
                with user_errors(printable(file)):
                    result = recogniser.recognize(
                        file, threshold=threshold, progress=progress.start(i)
                    )
                    record = result.to_dict()
                    if outputs.page:
                        preview = outputs.page.preview(file, result)
                    if plot:
                        _draw(result, plot)
                    if table:
                        _write_segments(result, table)
            except UserError as error:
                num_failed += 1
                record["error"] = str(error)
            if outputs.results:
                outputs.results.add(record)
            if outputs.page:
                outputs.page.add(file, result, preview, record.get("error", ""))
            with progress.hidden():
                if result:
                    print(_line(result, printable(file), width))
                    if outputs.show_timeline:
                        print(_timeline(result), end="")
                    sys.stdout.flush()
                    for remark in outputs.page.take_remarks() if outputs.page else ():
                        print(remark, file=sys.stderr)
                if "error" in record:
                    print(f"error: {record['error']}", file=sys.stderr)
    return num_failed


def _page(
    path: Path, files: Sequence[Path], systems: Mapping[str, Any], arguments: argparse.Namespace
):
    from irec_jax.cli.recognized_page import PageFile
    from irec_jax.reports.recognized_page import System

    shown = [
        System(
            name=system.name,
            dataset=system.dataset,
            workdir=to_unicode(
                name if name in arguments.workdir else f"irec_jax/pretrained/{name}"
            ),
            aggregation=system.aggregation,
        )
        for name, system in systems.items()
    ]
    return PageFile(path, files, shown, arguments.threshold, arguments.html_audio)


def _timeline(result) -> str:
    from irec_jax.reports import text_timeline

    characters = text_timeline.BLOCKS
    if not encodable(characters, sys.stdout):
        characters = text_timeline.ASCII
    width = shutil.get_terminal_size().columns
    return text_timeline.timeline(
        result, width, characters=characters, colour=has_colour(sys.stdout)
    )


def _line(result, name: str, width: int) -> str:
    """Return a file's name, duration and instruments in columns."""
    from irec_jax.text import clock, shorten

    return f"{shorten(name, width):<{width}}  {clock(result.duration_s):>8}  {_summary(result)}"


def _summary(result) -> str:
    """Return instruments, scores and notes, as in `voice 1.00, piano 0.71  (then organ 0.31)`."""
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


def _paths_by_file(path: Path, files: Sequence[Path]) -> list[Path]:
    """Return an output path per file; if there are several files, add their names to `path`."""
    if len(files) == 1:
        return [path]
    # Shortened to stay within file system limits.
    stems = [os.fsencode(file.stem)[:150].decode(errors="ignore") for file in files]
    names = unique_names(stems)
    return [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names]


def _write_segments(result, path: Path) -> None:
    from irec_jax.inference import segments

    if path.suffix.lower() == ".txt":
        text = segments.to_audacity(result.segments)
    else:
        text = segments.to_csv(result.segments, name="instrument", systems=result.systems)
    write_text(path, text)


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
