"""`irec export`: write a trained recogniser as a folder to share."""

from collections.abc import Sequence

from irec_jax.cli import CommandParser
from irec_jax.errors import UserError
from irec_jax.text import printable


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec export",
        description="Write a trained recogniser as a folder to share: system.json, the parameters "
        "in float16 without the state of the training (parameters.npz), a model card (README.md) "
        "and checksums.json. irec recognize --workdir takes this folder as it takes a workdir.",
    )
    parser.add_argument("workdir", metavar="WORKDIR", help="workdir of a trained recogniser")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--card",
        metavar="FILE.md",
        help="text for the end of the model card: licence, remarks",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="make the probabilities agree with the validation clips: of all scores of 0.7, 70 %% "
        "shall be right",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in DIR")
    return parser


def main(words: Sequence[str]) -> None:
    """Run `irec export`."""
    arguments = _parser().parse_args(words)
    for option in ("workdir", "out"):
        if not getattr(arguments, option):
            raise UserError(f"{option}: empty name; name a folder")
    # Imported late, so that a mistyped argument is reported at once.
    from irec_jax.systems.export import export

    exported = export(
        arguments.workdir,
        arguments.out,
        card=arguments.card,
        calibrate=arguments.calibrate,
        overwrite=arguments.overwrite,
    )
    print(
        f"{exported.num_parameters:,} parameters in {printable(exported.folder)} "
        f"({exported.num_bytes / 1e6:.1f} MB): see README.md there"
    )
