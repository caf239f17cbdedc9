"""`irec label`: find out when each track of a recording plays."""

from collections.abc import Sequence

from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments
from irec_jax.text import printable


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec label",
        description="Find out when each track of a recording plays. Every audio file in the "
        "folder is treated as the track of one microphone, except mixes (files named mix, mixture, "
        "mixdown, master ...). All tracks must have the same length and sample rate. Crosstalk is "
        "reduced as in irec debleed. A track counts as playing where its level, in 23 ms frames, "
        "reaches the threshold. The command writes segments.csv (track,start_s,end_s) and "
        "labels.txt, a label track for Audacity, to --out.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder with one file per track")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a separate output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace files in --out")
    parser.add_argument(
        "--threshold-db",
        type=float,
        metavar="DB",
        help="minimum level in dB at which a track counts as playing, relative to its loudest "
        "frame (default: -20)",
    )
    parser.add_argument(
        "--no-reduction", action="store_true", help="use the tracks as they are, with crosstalk"
    )
    parser.add_argument(
        "--plot", action="store_true", help="draw the tracks over time in label.png"
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec label`."""
    arguments = _parser().parse_args(words)
    options = dict(overwrite=arguments.overwrite, plot=arguments.plot)
    if arguments.threshold_db is not None:
        options["threshold_db"] = arguments.threshold_db
    # Imported here, so that argument errors are reported immediately.
    from irec_jax.systems import labeller

    with named_arguments({"threshold_db": "--threshold-db"}):
        result = labeller.label(
            arguments.folder, arguments.out, reduction=not arguments.no_reduction, **options
        )
    _print(result, arguments.out)
    return 0


def _print(result, out: str) -> None:
    """Print the fraction of time during which each track plays, and its number of segments."""
    from irec_jax.text import clock, plural, shorten

    width = min(48, max(len(name) for name in ("track", *result.names)))
    print(f"{'track':<{width}}  plays  segments")
    for name in result.names:
        segments = result.segments_of(name)
        share = sum(end_s - start_s for _, start_s, end_s in segments) / result.duration_s
        print(f"{shorten(name, width):<{width}}  {share:5.0%}  {len(segments):8}")
    silent = [
        name for name, levels in zip(result.names, result.activity, strict=True) if not levels.any()
    ]
    for description, texts in (
        ("silent throughout", silent),
        ("ignored", result.ignored),
        ("crosstalk was not reduced", [result.note] if result.note else []),
    ):
        if texts:
            print(f"{description}: {', '.join(texts)}")
    print(
        f"{plural(len(result.names), 'track')} of {clock(result.duration_s)} in {printable(out)}: "
        f"{', '.join(path.name for path in result.paths)} ({result.speed:.1f} x real time)"
    )
