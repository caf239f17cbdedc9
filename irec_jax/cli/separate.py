"""`irec separate`: separate music into target stems and the remainder."""

import sys
from collections.abc import Sequence
from pathlib import Path

from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments, user_errors
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.text import plural, printable

HOW_TO_TRAIN = (
    "--workdir: missing; specify the folder of a trained separator, or train one with: "
    "python -m irec_jax.main --config=configs/ligtenberg_unet.py --workdir=DIR"
)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec separate",
        description="Separate music: wav, flac, ogg, mp3, m4a or mp4 of any sample rate, number "
        "of channels and length. Folders are searched for audio files. For each file, "
        "spectrograms.png and two 24-bit wav files with the rate, channels and length of the input "
        "are written to FOLDER/NAME/: the stems that the system keeps (such as vocals_other.wav) "
        "and remainder.wav, which add up to the input. Unreadable files are reported and skipped; "
        "the exit code is 1 if all files fail.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--workdir", metavar="DIR", help="workdir of a trained separator")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the stems")
    parser.add_argument(
        "--post",
        action="store_true",
        help="remove faint values from the spectrogram of the stems (more than 60 dB below the "
        "maximum of each segment, unless the system was trained with another post_db)",
    )
    parser.add_argument(
        "--phase",
        default="mixture",
        help="mixture (default) keeps the phase of the input; griffin-lim estimates the phase as "
        "in Ligtenberg (2022), which is slower and leaves the phase difference in the remainder",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="N",
        help="how often each second is computed, 1 (default) to 16. A value of 4 takes almost "
        "three times as long as 1; on recorded music it was no better than 1 (0.0 dB) with a small "
        "network, and 0.1 dB better than 2 with the default one",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files in FOLDER/NAME/")
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec separate`; unreadable files are reported and skipped."""
    arguments = _parser().parse_args(words)
    if not arguments.workdir:
        raise UserError(HOW_TO_TRAIN)
    if not arguments.out:
        raise UserError("--out: empty name; specify a folder for the stems")
    # Imported here, so that argument errors are reported immediately.
    from irec_jax import registry
    from irec_jax.systems import separator, separator_files
    from irec_jax.text import clock, shorten

    if arguments.phase not in separator.PHASES:
        raise registry.unknown("--phase", arguments.phase, separator.PHASES)
    if arguments.overlap is not None:
        with named_arguments({"overlap": "--overlap"}):
            separator.check_overlap(arguments.overlap)
    out = expand_home(arguments.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; choose a folder for the stems")
    files = separator_files.find_mixtures(map(expand_home, arguments.files), out)
    system = separator.load_separator(arguments.workdir)
    options = {name: getattr(arguments, name) for name in ("post", "phase", "overlap", "overwrite")}
    num_failed = 0
    width = min(48, max(len(printable(file)) for file in files))
    for file, name in zip(files, separator_files.folder_names(files), strict=True):
        try:
            with user_errors(printable(file)):
                result = separator_files.separate_file(
                    file, system, out / name, inputs=files, **options
                )
        except UserError as error:
            num_failed += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        label = shorten(printable(file), width)
        print(f"{label:<{width}}  {clock(result.duration_s):>8}  {_summary(result, out / name)}")
    if num_failed:
        print(
            f"{num_failed} of {plural(len(files), 'file')} could not be separated", file=sys.stderr
        )
    return 1 if num_failed == len(files) else 0


def _summary(result, folder: Path) -> str:
    """Return the stem folder, the speed, and notes on silence and clipping."""
    notes = [f"{result.speed:.1f} x real time"]
    if result.silent:
        notes.append("silent")
    clipped = [
        f"{plural(num, 'sample')} of {stem}" for stem, num in result.num_clipped.items() if num
    ]
    if clipped:
        notes.append(f"{' and '.join(clipped)} clipped: reduce the level of the input")
    return f"in {printable(folder)} ({', '.join(notes)})"
