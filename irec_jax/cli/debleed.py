"""`irec debleed`."""

import argparse
import sys

from irec_jax.cli.words import clock, one_line, shorten
from irec_jax.errors import UserError

_SUSPICIOUS_DB = 20.0


def add_debleed(commands) -> None:
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
        from irec_jax.reports.debleed_tables import crosstalk_tables
        from irec_jax.systems import debleeder

        done = debleeder.debleed(arguments.folder, arguments.out, **options, **settings)
    except KeyboardInterrupt:
        print("interrupted; run it again, from the start", file=sys.stderr)
        return 130
    print(crosstalk_tables(done.names, done.crosstalk, done.settings, done.sample_rate_hz))
    print()
    width = min(48, max(len(path.name) for path in done.paths))
    for path, loss_db, num_clipped in zip(
        done.paths, done.losses_db, done.num_clipped, strict=True
    ):
        clipped = f"  ({num_clipped} samples clipped)" if num_clipped else ""
        name = shorten(one_line(path.name), width)
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
        f"{len(done.paths)} tracks of {clock(done.duration_s)} in {one_line(arguments.out)} "
        f"({done.speed:.1f} x real time)" + (f", report in {done.report}" if done.report else "")
    )
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas, please") from None
