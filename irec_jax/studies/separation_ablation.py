"""Ablations in the separation study: figure 4.1 of Ligtenberg (2022) and rejected experiments."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from irec_jax.reports import separation_figures
from irec_jax.reports.page import measured_table, picture
from irec_jax.studies import pages
from irec_jax.text import mean_sd, number

#: `ablation` argument of `configs/ligtenberg_unet.py` -> label.
ABLATIONS = {
    "base": "no regularisation",
    "augmented": "augmentation",
    "dropout": "augmentation, dropout 50 %",
    "l2": "augmentation, L2 0.0001",
    "truncated_normal": "augmentation, L2, truncated-normal kernels",
    "dilation": "augmentation, L2, truncated-normal kernels, dilation 2",
    "mean_squared_error": "augmentation, L2, truncated-normal kernels, mean squared error",
}
#: Panel in figure 4.1 -> the ablations that it compares.
PANELS = {
    "(a) augmentation": ("base", "augmented"),
    "(b) dropout 50 %": ("augmented", "dropout"),
    "(c) L2 0.0001": ("augmented", "l2"),
    "(d) truncated-normal kernels": ("l2", "truncated_normal"),
}
#: The ablations in figure 4.1.
FIGURE = tuple(dict.fromkeys(name for panel in PANELS.values() for name in panel))
#: The final model and the experiments in sections 3.2 and 3.2.1 that modify it. The paper has no
#: figure for these experiments.
EXPERIMENTS = ("truncated_normal", "dilation", "mean_squared_error")
#: Figure file -> caption.
CAPTIONS = {
    "ablations.png": "Figure 4.1: training (dotted) and validation loss with each regularisation",
    "experiments.png": "Training (dotted) and validation loss with dilation and squared error",
}


def draw(trained: Mapping[str, Mapping]) -> dict[str, Figure]:
    """Draw the loss curves of the ablations.

    Args:
        trained: ablation name -> report of its run.

    Returns:
        File name -> figure.
    """
    figures = {}
    panels = {
        title: {ABLATIONS[name]: trained[name]["history"] for name in names if name in trained}
        for title, names in PANELS.items()
    }
    if any(panels.values()):
        title = "The paper's separator with each regularisation (figure 4.1)"
        figures["ablations.png"] = separation_figures.loss_panels(panels, title=title)
    experiments = {ABLATIONS[name]: trained[name] for name in EXPERIMENTS if name in trained}
    if len(experiments) > 1:
        figures["experiments.png"] = separation_figures.learning_curves(
            {label: run["history"] for label, run in experiments.items()},
            kept={label: run["best_epoch"]["epoch"] for label, run in experiments.items()},
            title="Dilation and squared error",
        )
    return figures


def sections(trained: Mapping[str, Mapping]) -> list[str]:
    """Return the page sections about the ablations, given the report of each ablation."""
    parts = []
    for heading, names, caption, file in (
        (
            "## Regularisation of the separator (figure 4.1)",
            FIGURE,
            "The paper's separator with each regularisation. The last row is the paper's final "
            "model, which keeps all of them except dropout.",
            "ablations.png",
        ),
        (
            "## Dilation and squared error",
            EXPERIMENTS,
            "Experiments that sections 3.2 and 3.2.1 describe and reject: dilated convolutions "
            "in the encoder, and the mean squared error (the scales of the losses differ).",
            "experiments.png",
        ),
    ):
        present = {ABLATIONS[name]: trained[name] for name in names if name in trained}
        if present and {*present} != {ABLATIONS[EXPERIMENTS[0]]}:
            drawn = CAPTIONS if file in draw(trained) else {}
            parts += [heading, _table(present, caption), *picture(drawn, file)]
    return parts


def _table(trained: Mapping[str, Mapping], caption: str) -> str:
    rows = []
    for label, run in trained.items():
        best = run["best_epoch"]
        losses = [number(best["train_loss"], 4), number(best["valid_loss"], 4)]
        validation = number(best.get("valid_amplitude_sdr"), 2)
        test = mean_sd(run["summary"]["raw"]["amplitude_sdr_db"])
        rows.append([label, pages.kept_epoch(run), *losses, validation, test])
    header = ["separator", "epoch", "training loss", "validation loss"]
    header += ["validation SDR of segments, dB", "test amplitude SDR, dB"]
    run = next(iter(trained.values()))  # all runs share the same data and command
    return measured_table(run, caption, header, rows)
