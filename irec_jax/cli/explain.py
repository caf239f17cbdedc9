"""`irec explain`: draw what a recogniser responds to in audio files."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from irec_jax import registry
from irec_jax.cli import CommandParser
from irec_jax.cli.console import user_errors
from irec_jax.errors import UserError
from irec_jax.files import check_writable, expand_home, unique_names
from irec_jax.progress import FileProgress
from irec_jax.text import plural, printable


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec explain",
        description="Draw what a recogniser responds to in audio files. For each file, one or two "
        "pictures are written to FOLDER. NAME-classes.png shows which parts of the spectrogram "
        "are evidence for and against each recognised instrument (gradient x input). "
        "NAME-deconvolution.png, only for the network of Han et al. (2017), shows what the two "
        "most active units of each block respond to in a 3 s segment. Unreadable files are "
        "reported and skipped; the exit code is 1 if all files fail. Folders are searched for "
        "audio files.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="workdir of a trained recogniser, or a folder written by irec export (default: the "
        "recogniser that comes with irec-jax)",
    )
    parser.add_argument("--model", metavar="NAME", help="a recogniser that comes with irec-jax")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the pictures")
    parser.add_argument(
        "--classes",
        metavar="NAME,...",
        help="explain these classes, even if they are not recognised (default: up to four "
        "recognised classes, or the strongest class if none is recognised)",
    )
    parser.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="deconvolve the 3 s segment around this time (default: where the first class is "
        "strongest)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures in FOLDER")
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec explain`; unreadable files are reported and skipped."""
    arguments = _parser().parse_args(words)
    for option in ("workdir", "model", "out"):
        if getattr(arguments, option) == "":
            raise UserError(f"--{option}: empty name; omit the option, or pass a name")
    # Imported here, so that argument errors are reported immediately.
    from irec_jax import audio
    from irec_jax.systems import explainer, explainer_files

    names = arguments.classes
    classes = [] if names is None else registry.split_names(names, "--classes")
    out = expand_home(arguments.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; choose a folder for the pictures")
    paths = map(expand_home, arguments.files)
    files = list({os.path.realpath(file): file for file in audio.find(paths)}.values())
    file_names = unique_names([file.stem for file in files])
    for name in file_names:
        check_writable(out / f"{name}{explainer_files.PICTURES['class activation']}")
    system = explainer.load_explainer(arguments.workdir, model=arguments.model)
    options: dict[str, Any] = dict(
        classes=system.class_names(classes), at_s=arguments.at, overwrite=arguments.overwrite
    )
    num_failed, width = 0, min(48, max(len(printable(file)) for file in files))
    with FileProgress(files) as progress:
        for i, (file, name) in enumerate(zip(files, file_names, strict=True)):
            line = error = ""
            try:
                with user_errors(printable(file)):
                    result = explainer_files.explain_file(
                        file, system, out, name,
                        inputs=files, progress=progress.start(i), **options,
                    )  # fmt: skip
                    line = _line(result, printable(file), width)
            except UserError as reason:
                num_failed += 1
                error = f"error: {reason}"
            with progress.hidden():
                if line:
                    print(line, flush=True)
                if error:
                    print(error, file=sys.stderr)
    if num_failed < len(files) and not system.can_deconvolve:
        print("no deconvolution: requires the network in configs/han.py", file=sys.stderr)
    if num_failed:
        print(f"{num_failed} of {plural(len(files), 'file')} failed", file=sys.stderr)
    return 1 if num_failed == len(files) else 0


def _line(result, name: str, width: int) -> str:
    """Return a file's name and duration, the explained classes and the pictures."""
    from irec_jax.text import class_names, clock, shorten

    explanation = result.explanation
    classes = ", ".join(class_names(explanation.class_activation))
    pictures = " and ".join(printable(path) for path in result.pictures)
    note = f" ({explanation.recognized.note})" if explanation.recognized.note else ""
    duration = clock(explanation.duration_s)
    return f"{shorten(name, width):<{width}}  {duration:>8}  {classes} in {pictures}{note}"
