"""`irec separate`."""

import argparse
import sys
from pathlib import Path

from irec_jax.cli.words import clock, one_line, shorten
from irec_jax.errors import UserError

HOW_TO_TRAIN = (
    "separate needs --workdir DIR, the folder of a trained separator; train one with: "
    "python -m irec_jax.main --config=configs/ligtenberg_unet.py --workdir=DIR"
)


def add_separate(commands) -> None:
    separate = commands.add_parser(
        "separate",
        allow_abbrev=False,
        help="some stems of music, such as vocals and other, and the rest",
        description="Separates music: wav, flac, ogg, mp3, m4a, mp4 of any rate, channels and "
        "length. Folders are searched for audio files. For each file FOLDER/NAME/ gets two 24-bit "
        "wav files of its length, rate and channels, what the system keeps (vocals_other.wav) and "
        "remainder.wav, which add up to the input, and spectrograms.png. Bad files are reported "
        "and the others still done; the exit code is 1 when none was.",
    )
    separate.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    separate.add_argument("--workdir", metavar="DIR", help="of a trained separator")
    separate.add_argument("--out", required=True, metavar="FOLDER", help="for the stems")
    separate.add_argument(
        "--post",
        action="store_true",
        help="remove what is faint in the spectrogram of what is kept (below the system's "
        "post_db, -60 dB unless it was trained with another)",
    )
    separate.add_argument(
        "--phase",
        default="mixture",
        help="mixture (default), that of the input; or griffin-lim, the source's, which is slower "
        "and leaves what differs in the remainder",
    )
    separate.add_argument("--overwrite", action="store_true", help="replace files in FOLDER/NAME/")
    separate.set_defaults(run=separate_files)


def separate_files(arguments: argparse.Namespace) -> int:
    """`irec separate`: one bad file is reported and the others are still done."""
    if not arguments.workdir:
        raise UserError(HOW_TO_TRAIN)
    if not arguments.out:
        raise UserError("--out: an empty name; name a folder for the stems")
    # Late, so that a mistyped argument is answered at once.
    from irec_jax import registry, systems
    from irec_jax.systems import separator_files

    if arguments.phase not in systems.PHASES:
        raise registry.unknown("--phase", arguments.phase, systems.PHASES)
    out = Path(arguments.out).expanduser()
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder for the stems")
    files = separator_files.find_mixtures(arguments.files, out)
    separator = systems.load_separator(arguments.workdir)
    options = dict(post=arguments.post, phase=arguments.phase, overwrite=arguments.overwrite)
    num_bad = 0
    width = min(48, max(len(one_line(file)) for file in files))
    for file, name in zip(files, separator_files.folder_names(files), strict=True):
        try:
            done = separator_files.separate_file(
                file, separator, out / name, inputs=files, **options
            )
        except UserError as error:
            num_bad += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        shown = shorten(one_line(file), width)
        print(f"{shown:<{width}}  {clock(done.duration_s):>8}  {_told(done, out / name)}")
    if num_bad:
        print(f"{num_bad} of {len(files)} files could not be separated", file=sys.stderr)
    return 1 if num_bad == len(files) else 0


def _told(done, folder: Path) -> str:
    """Where the stems are, how fast it went, and what a listener should know."""
    notes = [f"{done.speed:.1f} x real time"]
    if done.silent:
        notes.append("silent")
    clipped = [f"{num} samples of {stem}" for stem, num in done.num_clipped.items() if num]
    if clipped:
        notes.append(f"{' and '.join(clipped)} clipped: turn the input down")
    return f"in {one_line(folder)} ({', '.join(notes)})"
