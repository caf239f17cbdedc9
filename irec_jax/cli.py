"""`irec`: trained systems applied to audio files, crosstalk reduced, and datasets prepared."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from irec_jax import audio
from irec_jax.commands import leave, run_command
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.studies import STUDIES

_SUSPICIOUS_DB = 20.0
#: Options of datasets of clips.
_CLIP_OPTIONS = ("format", "size", "soundfont", "path")
HOW_TO_TRAIN = (
    "recognize needs --workdir DIR, the folder of a trained system; train one with: "
    "python -m irec_jax.main --config=configs/han.py --workdir=DIR"
)


def parser() -> argparse.ArgumentParser:
    """The command line of all commands."""
    command = argparse.ArgumentParser(prog="irec", description=__doc__, allow_abbrev=False)
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_recognize(commands)
    _add_debleed(commands)
    _add_build(commands)
    _add_gallery(commands)
    _add_study(commands)
    return command


def _add_recognize(commands) -> None:
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
    plot = _plot_path(arguments.plot)
    files = list({os.path.realpath(file): file for file in audio.find(arguments.files)}.values())
    # Late, so that a mistyped argument is answered at once.
    from irec_jax import systems

    system = systems.load_recogniser(arguments.workdir)
    system.levels(arguments.threshold)
    for place in filter(None, (arguments.json, plot)):
        _check_place(Path(place))
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
        name = _shorten(_one_line(file), width)
        print(f"{name:<{width}}  {_clock(found.duration_s):>8}  {_told(found)}")
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


def _check_place(path: Path) -> None:
    """UserError where a file cannot be written: before hours of work, not after."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no ordinary file; name another one")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written, {existing} is no folder that takes files")


def _plot_path(text: str | None, option: str = "--plot") -> Path | None:
    if text is None:
        return None
    path = Path(text)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"{option} {text}: a name that ends with .png, .pdf or .svg, please")
    return path


def _plot_beside(plot: Path, file: Path, files: Sequence[Path]) -> Path:
    """A name of its own for each file's plot."""
    same = [other for other in files if other.stem == file.stem]
    number = f"-{same.index(file) + 1}" if len(same) > 1 else ""
    return plot.with_name(f"{plot.stem}-{file.stem}{number}{plot.suffix}")


def _draw(found, path: Path) -> None:
    from irec_jax.evaluation import plots

    figure = plots.instruments_over_time(
        found.times_s,
        found.activity,
        list(found.scores),
        threshold=min(found.thresholds.values()),
        labels=found.labels,
    )
    plots.save(figure, path)


def _one_line(file: Path) -> str:
    return str(file).replace("\n", "\\n")


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _add_debleed(commands) -> None:
    debleed = commands.add_parser(
        "debleed",
        allow_abbrev=False,
        help="the tracks of a recording without crosstalk",
        description="Takes the sound of the other instruments out of every track of a recording. "
        "Every audio file of the folder but mix.* is the track of a microphone; all have one "
        "length and sample rate. Tracks of the same names, length and coding appear in --out when "
        "all are done (mp3, ogg, m4a ... become 24-bit wav, 8 bits become 16). Prints what was "
        "found: direct sound, its delays, and weights of what is left.",
    )
    debleed.add_argument("folder", metavar="FOLDER", help="of the tracks, one file each")
    debleed.add_argument("--out", required=True, metavar="FOLDER", help="for the tracks, another")
    debleed.add_argument("--overwrite", action="store_true", help="replace tracks in --out")
    debleed.add_argument(
        "--report",
        action="store_true",
        help="draw all this, and spectrograms, in --out/debleed.png",
    )
    debleed.add_argument(
        "--strength",
        type=float,
        help="beyond direct sound, 1 takes away what is estimated (default), 2 twice as much",
    )
    debleed.add_argument("--method", help="mask (default), or subtraction, the source's")
    debleed.add_argument("--solver", help="nnls (default), the exact one, or momentum")
    debleed.add_argument(
        "--floor",
        type=float,
        metavar="DB",
        help="beyond direct sound, lower nothing by more than this, such as -40",
    )
    debleed.add_argument(
        "--no-align", action="store_true", help="leave the step out that uses delays and phases"
    )
    debleed.add_argument(
        "--band_edges_hz", type=_numbers, metavar="HZ,HZ", help="weights of their own for bands"
    )
    debleed.add_argument("--frame_length", type=int, help="of the spectra, in samples (4096)")
    debleed.add_argument("--hop_length", type=int, help="at most half a frame (2048)")
    debleed.set_defaults(run=debleed_tracks)


def debleed_tracks(arguments: argparse.Namespace) -> int:
    """`irec debleed`."""
    names = ("strength", "method", "solver", "band_edges_hz", "frame_length", "hop_length")
    settings = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }
    if arguments.floor is not None:
        if not arguments.floor <= 0:
            raise UserError(f"--floor {arguments.floor:g}: decibels, 0 or less, please: -40")
        settings["floor"] = 10 ** (arguments.floor / 20)
    if arguments.no_align:
        settings["align"] = False
    options = dict(overwrite=arguments.overwrite, report=arguments.report)
    try:
        # Late, so that a mistyped argument is answered at once.
        from irec_jax import debleeding

        done = debleeding.debleed(arguments.folder, arguments.out, **options, **settings)
    except KeyboardInterrupt:
        print("interrupted; run it again, from the start", file=sys.stderr)
        return 130
    print(debleeding.tables(done.names, done.crosstalk, done.settings, done.sample_rate_hz))
    print()
    width = min(48, max(len(path.name) for path in done.paths))
    for path, loss_db, num_clipped in zip(
        done.paths, done.losses_db, done.num_clipped, strict=True
    ):
        clipped = f"  ({num_clipped} samples clipped)" if num_clipped else ""
        name = _shorten(_one_line(path.name), width)
        print(f"{name:<{width}}  {-loss_db:+6.1f} dB{clipped}")
    if max(done.losses_db) > _SUSPICIOUS_DB:
        print(
            "a track that loses so much may be a copy of another one, or its pair: "
            "put the two channels of a stereo pair into one file"
        )
    for what, listed in (
        ("left aside", done.left_aside),
        ("better coding than before", done.converted),
    ):
        if listed:
            print(f"{what}: {', '.join(listed)}")
    print(
        f"{len(done.paths)} tracks of {_clock(done.duration_s)} in {_one_line(arguments.out)} "
        f"({done.speed:.1f} x real time)" + (f", report in {done.report}" if done.report else "")
    )
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas, please") from None


def _add_build(commands) -> None:
    import data_builders

    build = commands.add_parser(
        "build",
        allow_abbrev=False,
        help="prepare a dataset",
        description="Prepares a dataset: renders it, or reads files that were downloaded.",
    )
    build.add_argument("name", help=f"one of {', '.join(sorted(data_builders.NAMES))}")
    build.add_argument("--data_dir", help="where prepared data goes (default: TFDS's)")
    build.add_argument("--manual_dir", help="where files downloaded by hand lie")
    for option, meaning in data_builders.OPTIONS.items():
        build.add_argument(f"--{option}", help=meaning)
    build.set_defaults(run=build_dataset)


def build_dataset(arguments: argparse.Namespace) -> int:
    """`irec build`."""
    import data_builders

    options = {
        option: getattr(arguments, option)
        for option in ("data_dir", "manual_dir", *data_builders.OPTIONS)
        if getattr(arguments, option) is not None
    }
    builder = data_builders.prepare(arguments.name, **options)
    print(f"ready in {builder.data_dir}")
    return 0


def _add_gallery(commands) -> None:
    import data_builders

    gallery = commands.add_parser(
        "gallery",
        allow_abbrev=False,
        help="pictures of the sounds of every class",
        description="Draws training clips of every class of a dataset as a network that eats "
        "pictures sees them: stacked images and recurrence plots (Goel), or log-mel spectrograms.",
    )
    gallery.add_argument("--dataset", default="gm_irmas", help="of clips (gm_irmas)")
    gallery.add_argument(
        "--image", default="stacked", help="stacked (default), recurrence or log_mel"
    )
    gallery.add_argument("--classes", default="", metavar="A,B", help="only these, in this order")
    gallery.add_argument("--num_per_class", type=int, default=4, help="clips of each class (4)")
    gallery.add_argument("--seed", type=int, default=0, help="another number draws other clips (0)")
    gallery.add_argument(
        "--out",
        default=".",
        metavar="FOLDER_OR_FILE.png",
        help="gallery-DATASET-IMAGE.png in a folder (default: here), or a file; .pdf and .svg too",
    )
    gallery.add_argument("--data_dir", help="where prepared data lies (default: TFDS's)")
    gallery.add_argument("--manual_dir", help="where files downloaded by hand lie")
    for option in _CLIP_OPTIONS:
        gallery.add_argument(f"--{option}", help=data_builders.OPTIONS[option])
    gallery.set_defaults(run=draw_gallery)


def draw_gallery(arguments: argparse.Namespace) -> int:
    """`irec gallery`."""
    path = Path(arguments.out)
    if path.is_dir() or not path.suffix:
        path = path / f"gallery-{arguments.dataset}-{arguments.image}.png"
    _plot_path(str(path), "--out")
    _check_place(path)
    settings = {
        option: getattr(arguments, option)
        for option in _CLIP_OPTIONS
        if getattr(arguments, option) is not None
    }
    places = dict(dir=arguments.data_dir or "", manual_dir=arguments.manual_dir or "")
    # Late, so that a mistyped argument is answered at once.
    from irec_jax.evaluation import gallery, plots

    figure = gallery.draw(
        dict(name=arguments.dataset) | places | settings,
        image=arguments.image,
        classes=[name.strip() for name in arguments.classes.split(",") if name.strip()],
        num_per_class=arguments.num_per_class,
        seed=arguments.seed,
    )
    plots.save(figure, path)
    print(f"gallery in {_one_line(path)}")
    return 0


def _add_study(commands) -> None:
    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="the tables of a paper",
        description="Makes the tables and figures of a paper, ours beside the reported ones.",
    )
    study.add_argument("name", choices=sorted(STUDIES), help="then its options; see NAME --help")
    study.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    study.set_defaults(run=make_study)


def make_study(arguments: argparse.Namespace) -> int:
    """`irec study NAME`: every study has options of its own."""
    # Late: a study imports all that it studies.
    module = importlib.import_module(STUDIES[arguments.name])
    options = argparse.ArgumentParser(
        prog=f"irec study {arguments.name}",
        description=module.__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    module.add_arguments(options)
    return module.run(options.parse_args(arguments.options))


def _main() -> int:
    arguments = parser().parse_args()
    return arguments.run(arguments)


def main() -> None:
    """Entry point of `irec`."""
    leave(run_command(_main))


if __name__ == "__main__":
    main()
