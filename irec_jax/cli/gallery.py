"""`irec gallery`: draw training clips of every class in a dataset."""

from collections.abc import Sequence

import data_builders
from irec_jax import registry
from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments
from irec_jax.cli.output import FIGURES, check_outputs, output_path
from irec_jax.files import expand_home
from irec_jax.text import printable

#: Options for datasets of labelled clips.
_CLIP_OPTIONS = ("format", "size", "soundfont", "path")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="irec gallery",
        description="Draw training clips of every class in a dataset as the images that a network "
        "is trained on: stacked images and recurrence plots (Goel), log-mel spectrograms, or "
        "spectrograms in dB (Ligtenberg).",
    )
    parser.add_argument(
        "--dataset", default="gm_irmas", help="dataset of labelled clips (default: gm_irmas)"
    )
    parser.add_argument(
        "--image",
        default="stacked",
        help="stacked (default), recurrence, log_mel or spectrogram_db",
    )
    parser.add_argument("--classes", metavar="A,B", help="classes to draw, in this order")
    parser.add_argument("--num-per-class", type=int, default=4, help="clips per class (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed for selecting clips (default: 0)")
    parser.add_argument(
        "--out",
        default=".",
        metavar="FOLDER_OR_FILE.png",
        help="folder for gallery-DATASET-IMAGE.png (default: the current folder), or a .png, .pdf "
        "or .svg file",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--data-dir", help="folder of prepared data (default: the TFDS data folder)"
    )
    parser.add_argument("--manual-dir", help="folder of manually downloaded files")
    for option in _CLIP_OPTIONS:
        parser.add_argument(f"--{option}", help=data_builders.OPTIONS[option])
    return parser


def main(words: Sequence[str]) -> int:
    """Run `irec gallery`."""
    arguments = _parser().parse_args(words)
    names = arguments.classes
    classes = [] if names is None else registry.split_names(names, "--classes")
    path = expand_home(arguments.out)
    if path.is_dir() or not path.suffix:
        path = path / f"gallery-{arguments.dataset}-{arguments.image}.png"
    check_outputs([output_path(str(path), "--out", FIGURES)], overwrite=arguments.overwrite)
    options = {
        option: getattr(arguments, option)
        for option in _CLIP_OPTIONS
        if getattr(arguments, option) is not None
    }
    folders = dict(dir=arguments.data_dir or "", manual_dir=arguments.manual_dir or "")
    # Imported here, so that argument errors are reported immediately.
    from irec_jax.reports import figures, gallery

    with named_arguments({name: f"--{name.replace('_', '-')}" for name in vars(arguments)}):
        figure = gallery.draw(
            dict(name=arguments.dataset) | folders | options,
            image=arguments.image,
            classes=classes,
            num_per_class=arguments.num_per_class,
            seed=arguments.seed,
        )
    figures.save(figure, path)
    print(f"gallery in {printable(path)}")
    return 0
