"""`irec export`: export a trained recogniser to a folder for sharing."""

from collections.abc import Sequence

from irec_jax.cli import CommandParser
from irec_jax.errors import UserError
from irec_jax.text import printable


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec export",
        description="Export a trained recogniser to a folder for sharing, with system.json, the "
        "parameters in float16 without the training state (parameters.npz), a model card "
        "(README.md) and checksums.json. irec recognize --workdir accepts this folder in place of "
        "a workdir.",
    )
    parser.add_argument("workdir", metavar="WORKDIR", help="workdir of a trained recogniser")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--card",
        metavar="FILE.md",
        help="file with text to append to the model card, such as the licence and remarks",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="calibrate the probabilities on the validation clips, so that 70 %% of the classes "
        "with a score of 0.7 are present",
    )
    parser.add_argument(
        "--threshold",
        metavar="NAME",
        default="fixed",
        help="threshold that the exported recogniser applies by default: fixed (default), "
        "validation or validation_per_class; the last two were tuned on the validation clips",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in DIR")
    return parser


def main(words: Sequence[str]) -> None:
    """Run `irec export`."""
    arguments = _parser().parse_args(words)
    for option in ("workdir", "out"):
        if not getattr(arguments, option):
            raise UserError(f"{option}: empty name; specify a folder")
    # Imported here, so that argument errors are reported immediately.
    from irec_jax.systems.export import export

    exported = export(
        arguments.workdir,
        arguments.out,
        card=arguments.card,
        calibrate=arguments.calibrate,
        threshold=arguments.threshold,
        overwrite=arguments.overwrite,
    )
    print(
        f"{exported.num_parameters:,} parameters in {printable(exported.folder)} "
        f"({exported.num_bytes / 1e6:.1f} MB): see README.md there"
    )
