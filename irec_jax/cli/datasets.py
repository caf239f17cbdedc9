"""`irec build` and `irec gallery`: what is learned from."""

import argparse
from pathlib import Path

from irec_jax.cli.words import check_place, one_line, plot_path

#: Options of datasets of clips.
_CLIP_OPTIONS = ("format", "size", "soundfont", "path")


def add_build(commands) -> None:
    import data_builders

    build = commands.add_parser(
        "build",
        allow_abbrev=False,
        help="prepare a dataset",
        description="Prepares a dataset: renders it, or reads files that were downloaded.",
    )
    build.add_argument("name", help=f"one of {', '.join(data_builders.DATASETS)}")
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


def add_gallery(commands) -> None:
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
    plot_path(str(path), "--out")
    check_place(path)
    settings = {
        option: getattr(arguments, option)
        for option in _CLIP_OPTIONS
        if getattr(arguments, option) is not None
    }
    places = dict(dir=arguments.data_dir or "", manual_dir=arguments.manual_dir or "")
    # Late, so that a mistyped argument is answered at once.
    from irec_jax.reports import figures, gallery

    figure = gallery.draw(
        dict(name=arguments.dataset) | places | settings,
        image=arguments.image,
        classes=[name.strip() for name in arguments.classes.split(",") if name.strip()],
        num_per_class=arguments.num_per_class,
        seed=arguments.seed,
    )
    figures.save(figure, path)
    print(f"gallery in {one_line(path)}")
    return 0
