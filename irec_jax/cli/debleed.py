"""`irec debleed`: reduce the crosstalk between the tracks of a recording."""

import argparse
from collections.abc import Sequence

from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments
from irec_jax.errors import UserError
from irec_jax.text import printable

_SUSPICIOUS_LOSS_DB = 20.0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec debleed",
        description="Reduce the crosstalk in every track of a recording. Every audio file in the "
        "folder is treated as the track of one microphone, except mixes (files named mix, mixture, "
        "mixdown, master ...). All tracks must have the same length and sample rate. Tracks with "
        "the same names, length and encoding are written to --out (mp3, ogg, m4a ... become 24-bit "
        "wav, 8 bits become 16). The command prints the estimated crosstalk: the direct sound, "
        "its delays, and weights for the remaining crosstalk.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder with one file per track")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a separate output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace files in --out")
    parser.add_argument(
        "--report",
        action="store_true",
        help="write debleed.html, a page with the estimated crosstalk and spectrograms, to --out",
    )
    parser.add_argument(
        "--strength",
        type=float,
        help="strength of the reduction (does not affect direct sound): 1 (default) removes all "
        "of the estimated crosstalk; lower values are gentler",
    )
    parser.add_argument(
        "--method",
        help="mask (default); mmse, the Ephraim-Malah suppression rule, which leaves less "
        "musical noise but more crosstalk in pauses; or subtraction, as in Seipel (2018)",
    )
    parser.add_argument(
        "--smoothing-s",
        type=float,
        metavar="S",
        help="average gains over time with this time constant in seconds, such as 0.1, to reduce "
        "musical noise (default: 0)",
    )
    parser.add_argument(
        "--prior-s",
        type=float,
        metavar="S",
        help="time constant for --method mmse in seconds; higher values leave less musical noise, "
        "but blur onsets (default: 0.4)",
    )
    parser.add_argument("--solver", help="nnls (default), which is exact, or momentum")
    parser.add_argument(
        "--floor",
        type=float,
        metavar="DB",
        help="maximum attenuation in dB, such as -40 (does not affect direct sound)",
    )
    parser.add_argument(
        "--no-align", action="store_true", help="skip the phase-aligned removal of direct sound"
    )
    parser.add_argument(
        "--band-edges-hz",
        type=_numbers,
        metavar="HZ,HZ",
        help="estimate separate weights for the bands between these edges",
    )
    parser.add_argument(
        "--frame-length", type=int, help="STFT frame length in samples (default: 4096)"
    )
    parser.add_argument(
        "--hop-length",
        type=int,
        help="STFT hop length in samples, at most half a frame (default: 2048)",
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec debleed`."""
    arguments = _parser().parse_args(words)
    names = (
        *("strength", "method", "smoothing_s", "prior_s", "solver"),
        *("band_edges_hz", "frame_length", "hop_length"),
    )
    settings = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }
    if arguments.floor is not None:
        if not arguments.floor <= 0:
            raise UserError(f"--floor {arguments.floor:g}: expected 0 dB or less, such as -40")
        settings["floor"] = 10 ** (arguments.floor / 20)
    if arguments.prior_s is not None and arguments.method != "mmse":
        raise UserError("--prior-s: only applies to --method mmse; omit it or set both")
    if arguments.no_align:
        settings["align"] = False
    options = dict(overwrite=arguments.overwrite, report=arguments.report)
    # Imported here, so that argument errors are reported immediately.
    from irec_jax.systems import debleeder

    with named_arguments({name: f"--{name.replace('_', '-')}" for name in names}):
        result = debleeder.debleed(arguments.folder, arguments.out, **options, **settings)
    _print(result, arguments.out)
    return 0


def _print(result, out: str) -> None:
    """Print the estimated crosstalk, and the change in each track's energy."""
    from irec_jax.reports.debleed_tables import crosstalk_tables
    from irec_jax.text import clock, difference, plural, shorten

    print(crosstalk_tables(result.names, result.crosstalk, result.settings, result.sample_rate_hz))
    print()
    width = min(48, max(len(path.name) for path in result.paths))
    for path, loss_db, num_clipped, is_silent in zip(
        result.paths, result.losses_db, result.num_clipped, result.silent, strict=True
    ):
        clipped = f"  ({plural(num_clipped, 'sample')} clipped)" if num_clipped else ""
        change = "silent" if is_silent else f"{difference(-loss_db, 1):>6} dB"
        print(f"{shorten(printable(path.name), width):<{width}}  {change}{clipped}")
    if max(result.losses_db) > _SUSPICIOUS_LOSS_DB:
        print(
            "a track that loses this much may be a copy of another one, or one channel of a "
            "stereo pair: combine the two channels of a pair in one file"
        )
    for description, file_names in (
        ("ignored", result.ignored),
        ("written in a better encoding", result.converted),
    ):
        if file_names:
            print(f"{description}: {', '.join(file_names)}")
    print(
        f"{plural(len(result.paths), 'track')} of {clock(result.duration_s)} in {printable(out)} "
        f"({result.speed:.1f} x real time)"
        + (f", report in {printable(result.report)}" if result.report else "")
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected comma-separated numbers") from None
